"""Sending a call again without being asked, where the server certainly did not act on it (gRPC's "transparent retry",
proposal A6)."""

from __future__ import annotations

import random

from boxd.transport.errors import ConnectionLost, RpcError, StreamRefused

#: How often a call is sent again.
TRANSPARENT_RETRIES = 6
#: Seconds before the second repetition, doubled for each further one. A server at its limit of streams refuses a new
#: one for some moments after it has answered the last: it has not yet put that away.
_DELAY = 0.01
#: Bytes of a stream's messages that are kept in case they must be sent again.
REPLAY_LIMIT = 1 << 20


def retry_delay(error: RpcError, attempt: int) -> float | None:
    """How many seconds to wait before a call is sent again; None where it must not be. Only what the server cannot have
    seen is repeated, and only where a connection was there at all: a failed dial has been all that can be tried."""
    if not error.unprocessed or not isinstance(error, (ConnectionLost, StreamRefused)) or attempt > TRANSPARENT_RETRIES:
        return None
    return 0.0 if attempt == 1 else _DELAY * 2 ** (attempt - 2) * random.uniform(0.8, 1.2)


class Replay:
    """What a call has sent so far, as long as it may have to be sent again: until the response begins, or it is more
    than `REPLAY_LIMIT`."""

    __slots__ = ("_pieces", "_size", "attempts")

    def __init__(self) -> None:
        self._pieces: list[tuple[bytes, bool]] | None = []
        self._size = 0
        self.attempts = 0

    def add(self, payload: bytes, end: bool) -> None:
        """A piece of the request's body was queued; with `end` it was the last."""
        if self._pieces is not None:
            self._pieces.append((payload, end))
            self._size += len(payload)
            if self._size > REPLAY_LIMIT:
                self._pieces = None

    def drop(self) -> None:
        """The response has begun."""
        self._pieces = None

    @property
    def pieces(self) -> list[tuple[bytes, bool]]:
        """All that was sent."""
        return self._pieces or []

    def delay(self, error: RpcError) -> float | None:
        """Like `retry_delay`, for the next attempt; None too where not everything is at hand any more."""
        if self._pieces is None:
            return None
        self.attempts += 1
        return retry_delay(error, self.attempts)
