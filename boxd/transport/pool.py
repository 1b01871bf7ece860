"""The connections of a channel: which one a call gets, and when another is made."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from copy import copy
from dataclasses import replace

import anyio

from boxd.transport.connection import Connection
from boxd.transport.deadline import Deadline
from boxd.transport.errors import ChannelClosed, ConnectFailed, DeadlineExceeded, RpcError
from boxd.transport.home import LoopBound
from boxd.transport.http2.options import EngineOptions
from boxd.transport.options import ConnectionOptions
from boxd.transport.runtime import Handle, Runtime, Signal
from boxd.transport.status import StatusCode
from boxd.transport.wire import Wire

logger = logging.getLogger("boxd.transport")

_FORGOTTEN: list[object] = []


class _Waiter:
    """A call that waits for a connection with a free slot."""

    __slots__ = ("error", "signal")

    def __init__(self, signal: Signal) -> None:
        self.signal = signal
        self.error: RpcError | None = None


class Pool(LoopBound):
    """Decisions are made synchronously, so that no other task can come between; only dialing and waiting is async."""

    def __init__(
        self, dial: Callable[[], Awaitable[Wire]], engine: EngineOptions, options: ConnectionOptions | None = None
    ) -> None:
        super().__init__()
        self._dial = dial
        self._engine = engine
        self._options = options or ConnectionOptions()
        self._connections: list[Connection] = []
        self._waiters: deque[_Waiter] = deque()
        self._dialing: Handle | None = None
        # How many connections are worth trying: fewer once the server has refused one more.
        self._limit = self._options.max_connections

    @property
    def connections(self) -> int:
        """How many connections there are now, draining ones included."""
        return len(self._connections)

    def forget(self) -> None:
        """Drop the loop and every connection without touching a socket: the loop is over, or this is a child process
        that only inherited them."""
        if self._connections:
            # Never collected: an event loop's objects complain, or write, when they go without having been closed.
            _FORGOTTEN.append((self._runtime, list(self._connections)))
        self._connections.clear()
        self._waiters.clear()
        self._dialing = None
        self._limit = self._options.max_connections
        self._runtime = None

    async def acquire(self, deadline: Deadline | None) -> Connection:
        """A connection with a free slot, in the order of asking. The caller opens its stream without awaiting first.
        Raises `ConnectFailed` and its like, or `DeadlineExceeded`."""
        runtime = self.runtime()
        if self._closed:
            raise ChannelClosed("this client is closed; make a new one")
        if not self._waiters:
            connection = self._free()
            if connection is not None:
                return connection
        waiter = _Waiter(runtime.signal())
        self._waiters.append(waiter)
        return await self._wait(waiter, runtime, deadline)

    async def _wait(self, waiter: _Waiter, runtime: Runtime, deadline: Deadline | None) -> Connection:
        try:
            while True:
                self._grow()
                with anyio.move_on_after(None if deadline is None else max(deadline.remaining(), 0)) as scope:
                    await waiter.signal.wait()
                if waiter.error is not None:
                    raise copy(waiter.error) from waiter.error.__cause__
                connection = self._free()
                if connection is not None:
                    return connection
                if scope.cancelled_caught and deadline is not None:
                    text = f"no connection was free within the call's {deadline.timeout:g} s"
                    raise DeadlineExceeded(text, unprocessed=True)
                waiter.signal = runtime.signal()
                self._waiters.appendleft(waiter)
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            # Whether it got a slot or gave up, the next in line may have one.
            self._wake()

    def close(self) -> list[Connection]:
        """Close every connection and refuse new calls; returns those whose sockets are still closing. Idempotent."""
        self._closed = True
        closing = [] if self._runtime is None or not self._runtime.is_current() else list(self._connections)
        for connection in closing:
            connection.close()
        if self._dialing is not None and self._runtime is not None and self._runtime.is_current():
            self._dialing.cancel()
        self._fail_waiters(ChannelClosed("the client was closed"))
        return closing

    # -- inside

    def _free(self) -> Connection | None:
        for connection in self._connections:
            if connection.has_slot:
                return connection
        return None

    # -- Owner of the connections

    def changed(self, connection: Connection) -> None:
        """A connection has more or less room than before, or is over."""
        if connection.engine.failure is not None and connection in self._connections:
            self._connections.remove(connection)
            self._limit = self._options.max_connections
        if self._waiters:
            self._wake()

    def too_many_pings(self) -> None:
        """The server ends connections that send PINGs as often: further ones send half as many."""
        if self._options.keepalive_time is not None:
            time = 2 * self._options.keepalive_time
            self._options = replace(self._options, keepalive_time=time)
            logger.warning("the server gets too many PINGs; its next connections send one after %g s of silence", time)

    # -- inside

    def _wake(self) -> None:
        """Let the first in line look, and see whether another connection is due."""
        if self._waiters and self._free() is not None:
            self._waiters.popleft().signal.set()
        elif self._waiters:
            self._grow()

    def _grow(self) -> None:
        """Dial when somebody waits and the connections there are cannot help: one dial at a time for all."""
        if self._dialing is not None or self._closed or self._runtime is None or not self._waiters:
            return
        usable = self._usable()
        if len(usable) >= self._limit or any(c.has_slot or not c.engine.established for c in usable):
            return
        self._dialing = self._runtime.spawn(self._connect, "boxd dial")

    def _usable(self) -> list[Connection]:
        return [connection for connection in self._connections if connection.usable]

    async def _connect(self) -> None:
        runtime = self._runtime
        try:
            wire = await self._dial()
        except Exception as exc:
            self._dialing = None
            self._not_connected(exc)
            return
        except BaseException:
            self._dialing = None
            self._fail_waiters(RpcError("connecting was interrupted", StatusCode.UNAVAILABLE, unprocessed=True))
            raise
        self._dialing = None
        if self._closed or runtime is None or runtime is not self._runtime:
            await wire.aclose()
            return
        self._connections.append(Connection(runtime, wire, self._engine, self._options, self))
        self._wake()

    def _not_connected(self, exc: Exception) -> None:
        """A dial failed. Where connections are in use, the calls that wait get the slots that become free there."""
        error = exc if isinstance(exc, RpcError) else ConnectFailed(f"cannot connect: {exc}", unprocessed=True)
        if error is not exc:  # A host name that is none, for example, is found out only here.
            error.__cause__ = exc
        self._limit = len(self._usable())
        if self._limit:
            logger.info("no further connection: %s", error)
        else:
            self._limit = self._options.max_connections
            self._fail_waiters(error)

    def _fail_waiters(self, error: RpcError) -> None:
        waiters, self._waiters = self._waiters, deque()
        for waiter in waiters:
            waiter.error = error
            waiter.signal.set()
