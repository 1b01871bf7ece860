"""Making a call again without being asked. Two reasons are kept apart: the server certainly did not act on the call
(gRPC's "transparent retry", proposal A6), or the call may be repeated even if it did (proposal A6's policy)."""

from __future__ import annotations

import random

from boxd.transport.counters import Counters
from boxd.transport.deadline import Deadline
from boxd.transport.errors import ConnectFailed, ConnectionLost, RpcError, StreamRefused
from boxd.transport.options import RetryPolicy
from boxd.transport.status import StatusCode

#: How often a call is sent again that the server did not see.
TRANSPARENT_RETRIES = 6
#: Seconds before the second repetition, doubled for each further one. A server at its limit of streams refuses a new
#: one for some moments after it has answered the last: it has not yet put that away.
_DELAY = 0.01
#: Bytes of a stream's messages that are kept in case they must be sent again.
REPLAY_LIMIT = 1 << 20
#: The trailer in which a server says how many milliseconds to wait; what is no such number forbids the attempt.
PUSHBACK = "grpc-retry-pushback-ms"


def retry_delay(error: RpcError, attempt: int) -> float | None:
    """How many seconds to wait before a call is sent again that the server cannot have seen; None where it may have,
    and where no connection was there at all: a failed dial has been all that can be tried."""
    if not error.unprocessed or not isinstance(error, (ConnectionLost, StreamRefused)) or attempt > TRANSPARENT_RETRIES:
        return None
    return 0.0 if attempt == 1 else _DELAY * 2 ** (attempt - 2) * random.uniform(0.8, 1.2)


class RetryBudget:
    """A channel's tokens: when many of its calls fail, repeating them would only add to the server's load."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._most = policy.max_tokens
        self._ratio = policy.token_ratio
        self.tokens: float = policy.max_tokens

    def succeeded(self) -> None:
        """An attempt succeeded."""
        self.tokens = min(self.tokens + self._ratio, self._most)

    def failed(self) -> bool:
        """An attempt failed. Returns True while another may be made."""
        self.tokens = max(self.tokens - 1, 0)
        return self.tokens > self._most / 2


class Retries:
    """Whether, and when, one call is made again. Made when it first fails."""

    __slots__ = ("_budget", "_counters", "_idempotent", "_policy", "_transparent", "attempts")

    def __init__(self, policy: RetryPolicy, budget: RetryBudget, idempotent: bool, counters: Counters) -> None:
        self._policy = policy
        self._budget = budget
        self._idempotent = idempotent
        self._counters = counters
        self._transparent = 0
        #: Attempts that failed and that the server may have seen.
        self.attempts: int = 0

    def delay(self, error: RpcError, committed: bool, reconnect: float, deadline: Deadline | None) -> float | None:
        """Seconds until the next attempt; None when there is none. `committed`: the response had begun. `reconnect` is
        when the next attempt to connect is due, in seconds."""
        self._transparent += 1
        delay = retry_delay(error, self._transparent)
        if delay is not None:
            self._counters.transparent_retries += 1
            return delay if deadline is None else min(delay, max(deadline.remaining(), 0))
        if committed or not self._idempotent or error.code is not StatusCode.UNAVAILABLE:
            return None
        delay = self._by_policy(error, reconnect)
        if delay is None or (deadline is not None and delay >= deadline.remaining()):
            return None
        self._counters.policy_retries += 1
        return delay

    def _by_policy(self, error: RpcError, reconnect: float) -> float | None:
        policy = self._policy
        if isinstance(error, ConnectFailed):
            # A server that is not there is reported at once; one that goes while calls run may come back.
            if not self.attempts or type(error) is not ConnectFailed:
                return None
        else:
            reconnect = 0.0
        self.attempts += 1
        if not self._budget.failed() or self.attempts >= policy.max_attempts:
            return None
        pushback = [value for name, value in error.trailers if name == PUSHBACK]
        if pushback:
            return _seconds(pushback[-1])
        delay = min(policy.initial_backoff * policy.multiplier ** (self.attempts - 1), policy.max_backoff)
        return max(delay * random.uniform(0.8, 1.2), reconnect)


def _seconds(pushback: str | bytes) -> float | None:
    """What a server's `grpc-retry-pushback-ms` means: None forbids the attempt."""
    text = pushback if isinstance(pushback, str) else ""
    return int(text) / 1_000 if text.isascii() and text.isdigit() and len(text) < 10 else None


class Replay:
    """What a call has sent so far, as long as it may have to be sent again: until the response begins, or it is more
    than `REPLAY_LIMIT`."""

    __slots__ = ("_pieces", "_size")

    def __init__(self) -> None:
        self._pieces: list[tuple[bytes, bool]] | None = []
        self._size = 0

    def add(self, payload: bytes, end: bool) -> None:
        """A piece of the request's body was queued; with `end` it was the last."""
        if self._pieces is not None:
            self._pieces.append((payload, end))
            self._size += len(payload)
            if self._size > REPLAY_LIMIT:
                self._pieces = None

    def withdraw(self) -> None:
        """The last piece was taken back."""
        if self._pieces:
            self._size -= len(self._pieces.pop()[0])

    def drop(self) -> None:
        """The response has begun."""
        self._pieces = None

    @property
    def possible(self) -> bool:
        """True while everything is at hand."""
        return self._pieces is not None

    @property
    def pieces(self) -> list[tuple[bytes, bool]]:
        """All that was sent."""
        return self._pieces or []
