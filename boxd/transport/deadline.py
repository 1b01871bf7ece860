"""A call's deadline: one instant on the monotonic clock, made once and asked wherever the call waits."""

from __future__ import annotations

import math
import time

_MAX_DIGITS = 99_999_999
# The finest unit whose number fits in eight digits is used (`PROTOCOL-HTTP2.md`, "Timeout").
_UNITS = ((10**9, "n"), (10**6, "u"), (10**3, "m"), (1, "S"))


class Deadline:
    """The instant by which a call must be over."""

    __slots__ = ("at", "timeout")

    def __init__(self, timeout: float) -> None:
        """`timeout` is in seconds from now."""
        if math.isnan(timeout):
            raise ValueError("timeout must be a number of seconds, not NaN")
        self.timeout: float = timeout
        self.at: float = time.monotonic() + timeout

    def remaining(self) -> float:
        """Seconds left; zero or less when it has passed."""
        return self.at - time.monotonic()

    def __repr__(self) -> str:
        return f"<Deadline in {self.remaining():.3f} s>"


def grpc_timeout(seconds: float) -> bytes:
    """A positive time as the `grpc-timeout` header gives it: rounded up, never 0, at most eight digits."""
    if seconds == math.inf:
        return b"%dH" % _MAX_DIGITS
    for per_second, unit in _UNITS:
        amount = math.ceil(seconds * per_second)
        if amount <= _MAX_DIGITS:
            return b"%d%s" % (max(amount, 1), unit.encode())
    for seconds_per, unit in ((60, "M"), (3600, "H")):
        amount = math.ceil(seconds / seconds_per)
        if amount <= _MAX_DIGITS:
            return b"%d%s" % (amount, unit.encode())
    return b"%dH" % _MAX_DIGITS
