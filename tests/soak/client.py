"""The soak's calls: what each sends, what has to come of it, and the count of what did."""

from __future__ import annotations

import random
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import anyio

from boxd.transport import (
    Channel,
    ConnectionLost,
    DeadlineExceeded,
    RpcError,
    StatusCode,
    StreamRefused,
    StreamReset,
)
from tests.fixtures import echo_server as e
from tests.soak.faults import CUTS, Fault, pack

#: Seconds after which an answer is lost. Only SILENCE may take longer than its own time.
PATIENCE = 60.0
SHORT = 0.03
RESETS = {
    0: StatusCode.INTERNAL,
    1: StatusCode.INTERNAL,
    2: StatusCode.INTERNAL,
    8: StatusCode.CANCELLED,
    11: StatusCode.RESOURCE_EXHAUSTED,
    12: StatusCode.PERMISSION_DENIED,
    99: StatusCode.INTERNAL,
}
#: How often which fault is, of those calls that have one.
WEIGHTS = {
    Fault.STATUS: 12,
    Fault.RESET: 12,
    Fault.REFUSED: 12,
    Fault.REFUSED_ALWAYS: 2,
    Fault.GOAWAY: 3,
    Fault.GOAWAY_BELOW: 3,
    Fault.CUT: 1,
    Fault.GOAWAY_CUT: 1,
    Fault.LATENCY: 12,
    Fault.SILENCE: 6,
    Fault.PIECES: 12,
    Fault.STALL: 3,
    Fault.CANCEL: 12,
}


class Wrong(Exception):
    """A call had another result than it must have."""


@dataclass
class Tally:
    """What came of the calls."""

    right: int = 0
    """Answered as they must be."""
    failed: Counter[str] = field(default_factory=Counter)
    """Failed as their fault demands, by fault and error."""
    collateral: int = 0
    """Lost with a connection that another call had cut."""
    cancelled: int = 0
    wrong: list[str] = field(default_factory=list)
    """All others."""

    @property
    def total(self) -> int:
        return self.right + sum(self.failed.values()) + self.collateral + self.cancelled + len(self.wrong)


class Soak:
    """Calls over one channel, with a fault in so many of a thousand."""

    def __init__(self, channel: Channel, *, seed: int, faults: int) -> None:
        self.channel = channel
        self.tally = Tally()
        self._seed = seed
        self._faults = faults
        # Cuts that are under way, and how many there ever were: whether a call saw one beside it.
        self._cutting = 0
        self._cuts = 0

    async def unary_calls(self, numbers: Iterator[int]) -> None:
        """One worker's share of the unary calls."""
        for number in numbers:
            await self._call(number, unary=True)

    async def streams(self, numbers: Iterator[int]) -> None:
        """One worker's share of the streams."""
        for number in numbers:
            await self._call(number, unary=False)

    async def _call(self, number: int, *, unary: bool) -> None:
        # Each call's own, so that a call's number and the seed say all about it.
        chance = random.Random(self._seed << 32 | number)
        fault, argument = self._fault(chance, unary)
        cuts, beside = self._cuts, self._cutting > 0
        if fault in CUTS:
            self._cuts += 1
            self._cutting += 1
        run = self._unary if unary else self._stream
        scope = anyio.CancelScope(deadline=anyio.current_time() + chance.random() * 0.01)
        if fault != Fault.CANCEL:
            scope.deadline = float("inf")
        try:
            with scope:
                await run(number, fault, argument, chance)
            if scope.cancelled_caught:
                self.tally.cancelled += 1
            elif fault in (Fault.STATUS, Fault.RESET, Fault.REFUSED_ALWAYS, Fault.SILENCE, *CUTS):
                raise Wrong("an answer in spite of its fault")
            else:
                self.tally.right += 1
        except (RpcError, Wrong) as error:
            beside = beside or self._cuts > cuts + (fault in CUTS)
            self._failed(number, fault, argument, error, beside)
        finally:
            if fault in CUTS:
                self._cutting -= 1

    def _fault(self, chance: random.Random, unary: bool) -> tuple[Fault, int]:
        if chance.randrange(1_000) >= self._faults:
            return Fault.NONE, 0
        (fault,) = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))
        value = {
            Fault.STATUS: chance.randrange(1, 17),
            Fault.RESET: chance.choice(list(RESETS)),
        }.get(fault, chance.randrange(1, 20))
        return fault, value | (0 if unary else chance.randrange(0, 3) << 8)

    def _failed(self, number: int, fault: Fault, argument: int, error: Exception, beside: bool) -> None:
        value = argument & 255
        kind = type(error)
        code = error.code if isinstance(error, RpcError) else None
        expected: dict[Fault, tuple[type[Exception], StatusCode]] = {
            Fault.STATUS: (RpcError, StatusCode(value if value < 17 else 0)),
            Fault.RESET: (StreamReset, RESETS.get(value, StatusCode.INTERNAL)),
            Fault.REFUSED_ALWAYS: (StreamRefused, StatusCode.UNAVAILABLE),
            Fault.CUT: (ConnectionLost, StatusCode.UNAVAILABLE),
            Fault.GOAWAY_CUT: (ConnectionLost, StatusCode.UNAVAILABLE),
            Fault.SILENCE: (DeadlineExceeded, StatusCode.DEADLINE_EXCEEDED),
        }
        if expected.get(fault) == (kind, code) and (fault != Fault.STATUS or "as asked" in str(error)):
            self.tally.failed[f"{fault.name} {kind.__name__}"] += 1
        elif kind is ConnectionLost and beside:
            self.tally.collateral += 1
        else:
            self.tally.wrong.append(f"call {number}, {fault.name} {argument}: {kind.__name__} {error}")

    async def _unary(self, number: int, fault: Fault, argument: int, chance: random.Random) -> None:
        request = pack(number, fault, argument, chance.randbytes(_size(chance, 500)))
        timeout = SHORT if fault == Fault.SILENCE else PATIENCE
        if await self.channel.unary(e.ECHO, request, timeout=timeout) != request:
            raise Wrong("another answer than what was sent")

    async def _stream(self, number: int, fault: Fault, argument: int, chance: random.Random) -> None:
        """Like a command: input in pieces, output while more input is on its way, and a result at the end. Every eighth
        is bulk, as files are."""
        first = pack(number, fault, argument, b"")
        pieces = [first] + [chance.randbytes(_size(chance, 8_000)) for _ in range(chance.randrange(2, 6))]
        timeout = SHORT if fault == Fault.SILENCE else PATIENCE
        async with self.channel.call(e.CHAT, timeout=timeout, bulk=number % 8 == 0) as call:
            if chance.random() < 0.5:  # In turns, as at a prompt.
                for piece in pieces:
                    await call.send(piece)
                    if await call.receive() != piece:
                        raise Wrong("another output than the input")
                await call.end()
            else:
                for piece in pieces:
                    await call.send(piece)
                await call.end()
                for piece in pieces:
                    if await call.receive() != piece:
                        raise Wrong("another output than the input")
            if await call.receive() != struct.pack(">I", zlib.crc32(b"".join(pieces))):
                raise Wrong("another result")
            if await call.receive() is not None:
                raise Wrong("more than the result")


def _size(chance: random.Random, usual: int) -> int:
    """Mostly small, sometimes more than a window."""
    return chance.randrange(100_000) if chance.randrange(100) == 0 else chance.randrange(usual)
