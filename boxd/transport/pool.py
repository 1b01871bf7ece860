"""The connections of a channel: which one a call gets, and when another is made."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from copy import copy
from dataclasses import replace

import anyio

from boxd.transport.backoff import Backoff
from boxd.transport.connection import Connection
from boxd.transport.deadline import Deadline
from boxd.transport.errors import ChannelClosed, ConnectFailed, DeadlineExceeded, NoHttp2Agreed, NotHttp2, RpcError
from boxd.transport.failures import error_from_failure
from boxd.transport.home import LoopBound
from boxd.transport.http2.errors import StreamFailure
from boxd.transport.http2.options import EngineOptions
from boxd.transport.journal import Journal
from boxd.transport.options import ConnectionOptions
from boxd.transport.runtime import Handle, Runtime, Signal
from boxd.transport.status import StatusCode
from boxd.transport.wire import Wire

logger = logging.getLogger("boxd.transport")

_FORGOTTEN: list[object] = []


class _Waiter:
    """A call that waits for a connection with a free slot; a patient one also while the server is not reached."""

    __slots__ = ("error", "patient", "signal")

    def __init__(self, signal: Signal, patient: bool) -> None:
        self.signal = signal
        self.patient = patient
        self.error: RpcError | None = None


class Pool(LoopBound):
    """Decisions are made synchronously, so that no other task can come between; only dialing and waiting is async."""

    def __init__(
        self,
        dial: Callable[[], Awaitable[Wire]],
        engine: EngineOptions,
        options: ConnectionOptions | None = None,
        backoff: Backoff | None = None,
        journal: Journal | None = None,
    ) -> None:
        """`backoff` and `journal` are given where pools share them, because their server is the same."""
        super().__init__()
        self._dial = dial
        self._engine = engine
        self._options = options or ConnectionOptions()
        self.journal = journal or Journal()
        self._connections: list[Connection] = []
        self._waiters: deque[_Waiter] = deque()
        self._dialing: Handle | None = None
        self._backoff = backoff or Backoff(self._options)
        self._backoff_timer: Handle | None = None
        # Connections whose server has not been heard of yet.
        self._unproven: set[Connection] = set()

    @property
    def connections(self) -> int:
        """How many connections there are now, draining ones included."""
        return len(self._connections)

    @property
    def open_streams(self) -> int:
        """How many streams run now."""
        return sum(connection.engine.open_streams for connection in self._connections)

    def forget(self) -> None:
        """Drop the loop and every connection without touching a socket: the loop is over, or this is a child process
        that only inherited them."""
        if self._connections:
            # Never collected: an event loop's objects complain, or write, when they go without having been closed.
            _FORGOTTEN.append((self._runtime, list(self._connections)))
        self._connections.clear()
        self._waiters.clear()
        self._unproven.clear()
        self._dialing = None
        self._backoff_timer = None
        self._runtime = None

    @property
    def ready(self) -> bool:
        """True when `acquire` has nothing to wait for."""
        return not self._waiters and not self._closed and self.bound_here and self._free() is not None

    async def acquire(self, deadline: Deadline | None, *, patient: bool = False) -> Connection:
        """A connection with a free slot, in the order of asking. The caller opens its stream without awaiting first.
        Raises `ConnectFailed` and its like, or `DeadlineExceeded`. A `patient` call waits for as many attempts to
        connect as it takes, another for the next."""
        runtime = self.runtime()
        if self._closed:
            raise ChannelClosed("this client is closed; make a new one")
        if not self._waiters:
            connection = self._free()
            if connection is not None:
                return connection
        waiter = _Waiter(runtime.signal(), patient)
        self._waiters.append(waiter)
        return await self._wait(waiter, runtime, deadline)

    async def _wait(self, waiter: _Waiter, runtime: Runtime, deadline: Deadline | None) -> Connection:
        try:
            while True:
                self._grow()
                late = await _wait_until(waiter.signal, deadline)
                if waiter.error is not None:
                    raise copy(waiter.error) from waiter.error.__cause__
                connection = self._free()
                if connection is not None:
                    return connection
                if late and deadline is not None:
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
        closing = list(self._connections) if self.bound_here else []
        for connection in closing:
            connection.close()
        if self.bound_here:
            for handle in (self._dialing, self._backoff_timer):
                if handle is not None:
                    handle.cancel()
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
        engine = connection.engine
        if self._unproven and engine.established and connection in self._unproven:
            self._unproven.remove(connection)
            self._backoff.succeeded()
        if engine.failure is not None and connection in self._connections:
            self._connections.remove(connection)
            if connection in self._unproven:
                self._unproven.remove(connection)
                if engine.failure.kind != "closed":
                    self._not_connected(_never_there(engine.failure))
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
        if len(usable) >= self._options.max_connections:
            return
        if any(connection.has_slot or not connection.engine.established for connection in usable):
            return
        if self._backoff.remaining:
            self._hold_back(usable)
        else:
            self._dialing = self._runtime.spawn(self._connect, "boxd dial")

    def _hold_back(self, usable: list[Connection]) -> None:
        """The next attempt to connect is not due yet. The calls that wait go on with it then, or with the slots that
        become free on the connections there are; where there are none and it is long until then, they fail."""
        remaining, error = self._backoff.remaining, self._backoff.error
        # What TLS agreed on does not change in a few seconds, and the caller may have another way.
        late = remaining > self._options.backoff_wait or isinstance(error, NoHttp2Agreed)
        if not usable and error is not None and late:
            error = _said_again(error, remaining)
            self._fail_waiters(error, impatient_only=True)
        if self._waiters and self._backoff_timer is None and self._runtime is not None:
            self._backoff_timer = self._runtime.call_later(remaining, self._backoff_over)

    def _backoff_over(self) -> None:
        self._backoff_timer = None
        self._wake()

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
        connection = Connection(runtime, wire, self._engine, self._options, self, self.journal)
        self._connections.append(connection)
        self._unproven.add(connection)
        self._wake()

    def _not_connected(self, exc: Exception) -> None:
        """An attempt to connect failed."""
        error = exc if isinstance(exc, RpcError) else ConnectFailed(f"cannot connect: {exc}", unprocessed=True)
        if error is not exc:  # A host name that is none, for example, is found out only here.
            error.__cause__ = exc
        self.journal.not_connected(error)
        self._backoff.failed(error)
        if not self._usable():
            # A server of another protocol will not become one of HTTP/2.
            self._fail_waiters(error, impatient_only=not isinstance(error, NotHttp2))
        self._grow()

    def _fail_waiters(self, error: RpcError, *, impatient_only: bool = False) -> None:
        waiters, self._waiters = self._waiters, deque()
        for waiter in waiters:
            if waiter.patient and impatient_only:
                self._waiters.append(waiter)
            else:
                waiter.error = error
                waiter.signal.set()


def _said_again(error: RpcError, remaining: float) -> RpcError:
    """The error of the last attempt, for a call that made none."""
    error = copy(error)
    error.message += f" (just now; the next attempt may be made in {remaining:.2g} s)"
    error.args = (error.message,)
    return error


def _never_there(failure: StreamFailure) -> RpcError:
    """The error of calls that waited for a connection that ended before the server's SETTINGS."""
    error = error_from_failure(failure._replace(unprocessed=True))
    if not isinstance(error, ConnectFailed):
        error = ConnectFailed(f"cannot connect: {failure.message}", unprocessed=True)
    error.__cause__ = failure.cause
    return error


async def _wait_until(signal: Signal, deadline: Deadline | None) -> bool:
    """Wait for a signal; True if the deadline came first."""
    if deadline is None:
        await signal.wait()
        return False
    with anyio.move_on_after(max(deadline.remaining(), 0)) as scope:
        await signal.wait()
    return scope.cancelled_caught
