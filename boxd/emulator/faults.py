"""Faults on demand, so that users can try how their programs take them."""

from __future__ import annotations

import fnmatch
import random
import threading
from dataclasses import dataclass, field

from .errors import Code

LATENCY, SLOW_BOOT, GOAWAY, RESET, STREAM_RESET = "latency", "slow-boot", "goaway", "reset", "stream-reset"

_CODES = {code.name.lower().replace("_", "-"): code for code in Code} | {"quota": Code.RESOURCE_EXHAUSTED}

KINDS = (LATENCY, SLOW_BOOT, GOAWAY, RESET, STREAM_RESET, *_CODES)
"""What can go wrong: see `Faults.add`."""


@dataclass(eq=False)
class Fault:
    """Something that goes wrong; made by `Faults.add`, which describes the fields."""

    kind: str
    method: str = "*"
    times: int = 0
    probability: float = 1.0
    seconds: float = 0.0
    after: int = 0
    message: str = ""
    struck: int = field(default=0, init=False)
    """How often it has happened."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"there is no fault {self.kind!r}: use one of {', '.join(KINDS)}")
        if not 0 <= self.probability <= 1:
            raise ValueError(f"the probability {self.probability} of a fault is not in 0..1")
        if min(self.times, self.after, self.seconds) < 0:
            raise ValueError("`times`, `after` and `seconds` of a fault are not negative")
        if self.kind in (LATENCY, SLOW_BOOT) and not self.seconds:
            raise ValueError(f"a fault of the kind {self.kind!r} needs `seconds`")

    @property
    def code(self) -> Code | None:
        """The status with which the call ends; None for a kind that is no status."""
        return _CODES.get(self.kind)


class Faults:
    """The faults of one emulator. Its methods may be called from any thread, while the emulator runs."""

    def __init__(self, texts: tuple[str, ...] = (), seed: int | None = None) -> None:
        self._lock = threading.Lock()
        self._random = random.Random(seed)
        self._texts = texts
        self._faults: list[Fault] = [parse(text) for text in texts]

    def __repr__(self) -> str:
        return f"Faults({self._faults!r})"

    def add(
        self,
        kind: str,
        method: str = "*",
        *,
        times: int = 0,
        probability: float = 1.0,
        seconds: float = 0.0,
        after: int = 0,
        message: str = "",
    ) -> Fault:
        """Let something go wrong from now on.

        `kind` is what: `latency` (the call waits `seconds`), `slow-boot` (a machine takes `seconds` longer to boot),
        `goaway` (GOAWAY on the HTTP/2 connection: the call is not processed and belongs on another one; others go
        on), `reset` (the TCP connection ends with RST), `stream-reset` (RST_STREAM for this call), `quota`
        (RESOURCE_EXHAUSTED), or a gRPC status such as `unavailable` or `internal`, with `message`.

        `method` is the name of an RPC or a pattern such as `*Vm`. It happens to each matching call with
        `probability`, `times` times at most (0: without end), and after that many responses of a stream as `after`
        says: then `goaway` lets the call go on. Raises `ValueError`.
        """
        fault = Fault(kind, method, times, probability, seconds, after, message)
        with self._lock:
            self._faults.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        """Let it no longer happen. Does nothing for one that is removed."""
        with self._lock:
            self._faults = [other for other in self._faults if other is not fault]

    def clear(self) -> None:
        """Remove all."""
        with self._lock:
            self._faults = []

    def reset(self) -> None:
        """Have those of the emulator's start again and no others, as if none had happened yet."""
        with self._lock:
            self._faults = [parse(text) for text in self._texts]

    def take(self, method: str, *, booting: bool = False) -> list[Fault]:
        """The faults that happen to a call of `method`, or to a machine that boots. They are counted."""
        if not self._faults:
            return []
        with self._lock:
            struck = [
                fault
                for fault in self._faults
                if (fault.kind == SLOW_BOOT) is booting
                and fnmatch.fnmatchcase(method, fault.method)
                and not 0 < fault.times <= fault.struck
                and (fault.probability == 1 or self._random.random() < fault.probability)
            ]
            for fault in struck:
                fault.struck += 1
        return struck


def parse(text: str) -> Fault:
    """A fault written as `METHOD:KIND` with `:NAME=VALUE` for more of `Faults.add`'s arguments. Raises `ValueError`.

    For example `Exec:reset:after=1:times=2` or `*:latency:seconds=0.2`.
    """
    method, _, rest = text.partition(":")
    kind, *settings = rest.split(":")
    types = {"times": int, "after": int, "probability": float, "seconds": float, "message": str}
    values = {}
    for setting in settings:
        name, separator, value = setting.partition("=")
        if name not in types or not separator:
            raise ValueError(f"{setting!r} in the fault {text!r} is none of {', '.join(types)} with =VALUE")
        values[name] = types[name](value)
    return Fault(kind, method, **values)
