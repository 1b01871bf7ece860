"""How the connections of a channel live: settings, with their defaults and bounds."""

from __future__ import annotations

from dataclasses import dataclass

#: Seconds between PINGs at least. Servers end connections that are pinged more often.
MIN_KEEPALIVE_TIME = 10.0
#: Seconds that a time-out has at least; 0 would be none.
MIN_TIME = 0.001
#: How often a call is made at most where it may be repeated, the first time included.
MAX_ATTEMPTS = 5


def _check(options: object, name: str, low: float, high: float | None = None) -> None:
    value = getattr(options, name)
    if not isinstance(value, (int, float)) or not low <= value <= (float("inf") if high is None else high):
        bounds = f"at least {low:g}" if high is None else f"{low:g} to {high:g}"
        raise ValueError(f"{name} of {value!r}: use {bounds}")


@dataclass(frozen=True)
class RetryPolicy:
    """When a call that a server may have seen is made again: only calls of methods that are safe to repeat, only for
    UNAVAILABLE, only before the response has begun, and while all of the request is still at hand.

    The wait before attempt n+1 is `initial_backoff * multiplier ** (n - 1)` seconds, at most `max_backoff`, times a
    random factor from 0.8 to 1.2. A server may set it with `grpc-retry-pushback-ms`, or forbid the attempt."""

    max_attempts: int = 4
    """Attempts in all, 1 to 5. With 1 nothing is repeated."""
    initial_backoff: float = 0.2
    """Seconds."""
    max_backoff: float = 5.0
    """Seconds."""
    multiplier: float = 2.0
    """By how much a wait is longer than the one before, at least 1."""
    max_tokens: float = 10.0
    """Each failed attempt takes a token from the channel; at half of them or less, nothing is repeated."""
    token_ratio: float = 0.1
    """How much of a token a call that succeeds gives back."""

    def __post_init__(self) -> None:
        _check(self, "max_attempts", 1, MAX_ATTEMPTS)
        _check(self, "initial_backoff", 0)
        _check(self, "max_backoff", 0)
        _check(self, "multiplier", 1)
        _check(self, "max_tokens", 1)
        _check(self, "token_ratio", 0)


@dataclass(frozen=True, kw_only=True)
class ConnectionOptions:
    """How connections are kept, watched, and made again. Times are seconds."""

    keepalive_time: float | None = 300.0
    """A connection with calls under way on which nothing came for so long is sent a PING; at least 10, None: never.
    gRPC servers accept one in 300 s unless they are set up for more, and end the connection of who exceeds that; the
    time is doubled for the channel's further connections then."""
    keepalive_timeout: float = 20.0
    """How long after a PING, or while sent bytes stay unacknowledged, a connection may be silent until it is given up
    and its calls fail with `KeepaliveTimeout`. Any byte counts as an answer."""
    keepalive_without_calls: bool = False
    """PINGs also while no call is under way. Few servers like that: gRPC's accept one in two hours."""
    idle_timeout: float | None = 300.0
    """A connection without a call for so long is closed; None: never."""
    max_connections: int = 10
    """Connections to the server at most, 1 to 100. Another is made when a call finds all streams taken that the server
    allows on those there are. Calls beyond that wait, in their order and within their deadlines."""
    settings_timeout: float = 10.0
    """For the server's SETTINGS and its acknowledgement of ours (RFC 9113 section 6.5.3)."""
    backoff_initial: float = 1.0
    """After a connection could not be made, another attempt is made so much later at the earliest, by the next call
    then. Calls that wait for a connection when an attempt fails, fail with it."""
    backoff_multiplier: float = 1.6
    """By how much the time is longer after each further failure, at least 1."""
    backoff_max: float = 120.0
    """The longest such time."""
    backoff_jitter: float = 0.2
    """Each is made shorter or longer at random, by up to this part of it, 0 to 1."""
    backoff_wait: float = 5.0
    """A call that comes before the next attempt is due waits for it, if that is no longer than this; else it fails at
    once, with the reason of the last attempt. One with `wait_for_ready` waits in any case."""
    retry: RetryPolicy = RetryPolicy()
    """When a call is made again that a server may have seen."""

    def __post_init__(self) -> None:
        if self.keepalive_time is not None:
            _check(self, "keepalive_time", MIN_KEEPALIVE_TIME)
        if self.idle_timeout is not None:
            _check(self, "idle_timeout", MIN_TIME)
        _check(self, "keepalive_timeout", MIN_TIME)
        _check(self, "max_connections", 1, 100)
        _check(self, "settings_timeout", MIN_TIME)
        _check(self, "backoff_initial", 0)
        _check(self, "backoff_multiplier", 1)
        _check(self, "backoff_max", 0)
        _check(self, "backoff_jitter", 0, 1)
        _check(self, "backoff_wait", 0)
