"""What a connection does when nothing happens: one timer finds the peer that is gone, the handshake that hangs, and the
connection that nobody uses."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from boxd.transport.http2.codes import ErrorCode
from boxd.transport.http2.engine import ClientEngine
from boxd.transport.options import ConnectionOptions
from boxd.transport.runtime import Handle, Runtime

#: The payload of every PING: at most one is under way, and any byte counts as its answer.
PAYLOAD = b"boxdping"
#: Seconds by which the timer may be late. When it is more, the whole event loop stood still: what the peer has said
#: meanwhile may still wait to be read.
LATE = 0.5


class Watched(Protocol):
    """What is watched."""

    engine: ClientEngine

    def ping(self, payload: bytes) -> None:
        """Queue a PING."""

    def flush(self) -> None:
        """Have what was queued written."""

    def give_up(self, kind: str, code: int, message: str) -> None:
        """End the connection."""


class Watch:
    """The times of one connection. What happens often costs an assignment here; the rest is the timer's."""

    __slots__ = (
        "_clock",
        "_connection",
        "_idle_since",
        "_next",
        "_options",
        "_pinged",
        "_read_before_ping",
        "_runtime",
        "_started",
        "_timer",
        "last_read",
    )

    def __init__(
        self,
        connection: Watched,
        runtime: Runtime,
        options: ConnectionOptions,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection
        self._runtime = runtime
        self._options = options
        self._clock = clock
        now = clock()
        self._started = now
        self._idle_since = now
        #: When bytes came last; set by the connection.
        self.last_read = now
        # When the PING under way was sent, and `last_read` at that time: it is answered once that has changed.
        self._pinged: float | None = None
        self._read_before_ping = now
        self._timer: Handle | None = None
        self._next = now
        self._schedule(now)

    def stop(self) -> None:
        """The connection is over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def opening(self) -> None:
        """A stream is about to be opened. After a long silence a PING goes ahead of it: whether the peer is there is
        known sooner then."""
        time_ = self._options.keepalive_time
        if time_ is not None and self._clock() - self.last_read > time_ and not self._waits:
            self._ping(self._clock())
            self._reschedule()

    def idle(self) -> None:
        """The last stream has ended."""
        self._idle_since = self._clock()

    # -- inside

    @property
    def _waits(self) -> bool:
        """True while a PING is unanswered."""
        return self._pinged is not None and self.last_read == self._read_before_ping

    def _ping(self, now: float) -> None:
        self._pinged = now
        self._read_before_ping = self.last_read
        self._connection.ping(PAYLOAD)

    def _reschedule(self) -> None:
        self.stop()
        self._schedule(self._clock())

    def _schedule(self, now: float) -> None:
        due = self._due(now)
        if due is not None:
            self._next = due
            self._timer = self._runtime.call_later(max(due - now, 0), self._tick)

    def _due(self, now: float) -> float | None:
        """When there may be something to do: never too late, perhaps for nothing."""
        options, engine = self._options, self._connection.engine
        times: list[float] = []
        if not engine.settings_acknowledged:
            times.append(self._started + options.settings_timeout)
        if self._waits and self._pinged is not None:
            times.append(self._pinged + options.keepalive_timeout)
        if options.keepalive_time is not None:
            # Streams come and go without a word to the timer, so it looks without them too.
            due = self.last_read + options.keepalive_time
            times.append(due if due > now else now + options.keepalive_time)
        if options.idle_timeout is not None:
            due = self._idle_since + options.idle_timeout
            times.append(due if due > now else now + options.idle_timeout)
        return min(times, default=None)

    def _tick(self) -> None:
        self._timer = None
        connection, options = self._connection, self._options
        engine, now = connection.engine, self._clock()
        if engine.failure is not None:
            return
        if not engine.settings_acknowledged and now >= self._started + options.settings_timeout:
            missing = "acknowledgement of our SETTINGS" if engine.established else "HTTP/2 SETTINGS"
            text = f"the server sent no {missing} within {options.settings_timeout:g} s"
            connection.give_up("lost", ErrorCode.SETTINGS_TIMEOUT, text)
            return
        if self._idle_due(now):
            connection.give_up("closed", ErrorCode.NO_ERROR, "the connection was idle")
            return
        if self._waits:
            if not self._answer_due(now):
                return
        elif self._ping_due(now):
            self._ping(now)
            connection.flush()
        self._schedule(now)

    def _ping_due(self, now: float) -> bool:
        limit = self._options.keepalive_time
        if limit is None or now < self.last_read + limit:
            return False
        return self._options.keepalive_without_calls or self._connection.engine.open_streams > 0

    def _idle_due(self, now: float) -> bool:
        limit = self._options.idle_timeout
        return limit is not None and now >= self._idle_since + limit and not self._connection.engine.open_streams

    def _answer_due(self, now: float) -> bool:
        """A PING is unanswered. False: it has been so for too long, and the connection is over."""
        assert self._pinged is not None
        limit = self._options.keepalive_timeout
        if now < self._pinged + limit:
            return True
        if now > self._next + LATE:
            self._pinged = now + min(limit, 2 * LATE) - limit
            return True
        silence = now - self.last_read
        text = f"nothing came from the server for {silence:.3g} s, and no answer to a PING within {limit:g} s"
        self._connection.give_up("keepalive", ErrorCode.NO_ERROR, text)
        return False
