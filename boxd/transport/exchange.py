"""The inside of a call: one request and its response, as often as it takes to make it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import anyio

from boxd.transport.deadline import Deadline
from boxd.transport.errors import Cancelled, RpcError
from boxd.transport.failures import at_deadline, error_from_failure, too_late
from boxd.transport.http2.codes import ErrorCode
from boxd.transport.http2.errors import StreamFailure
from boxd.transport.http2.stream import Headers
from boxd.transport.incoming import Incoming
from boxd.transport.metadata import Metadata
from boxd.transport.method import Method
from boxd.transport.retry import Replay, Retries
from boxd.transport.turns import Turns

if TYPE_CHECKING:
    from boxd.transport.channel import Channel
    from boxd.transport.connector import StreamSource
    from boxd.transport.runtime import Handle, Signal

Req = TypeVar("Req")
Res = TypeVar("Res")


class Exchange(Incoming[Req, Res]):
    """What a connection tells of one call, and what the call's user does to it. A connection keeps it as long as it
    runs, the user has a `Call`."""

    def __init__(
        self,
        channel: Channel,
        method: Method[Req, Res],
        deadline: Deadline | None,
        metadata: Metadata,
        *,
        whole: bool = False,
        attempts: int = 0,
        patient: bool = False,
        bulk: bool = False,
    ):
        """`whole`: a unary call, which the channel repeats as a whole; `attempts` were made before then. See
        `Channel.call` for the rest."""
        super().__init__(channel, method, whole)
        self._deadline = deadline
        self._metadata = metadata
        self._patient = patient
        self._bulk = bulk
        self._connection: StreamSource | None = None
        # Around the waits before the stream is open, so that `cancel` ends them.
        self._opener: anyio.CancelScope | None = None
        self._timer: Handle | None = None
        # The task that sends, while it waits for the opening or for its message to leave; the others wait their turn.
        self._sender: Signal | None = None
        self._turns: Turns | None = None
        self._drains = 0
        # To make the call again.
        self._head: tuple[Headers, Headers] = ([], [])
        self._attempts = attempts
        self._replay: Replay | None = None if whole else Replay()
        self._retries: Retries | None = None

    # -- for the channel and the call

    @property
    def running(self) -> bool:
        """True from the opening of the call to its end, while its event loop runs."""
        return self._runtime is not None and not self.ended and self._runtime.alive

    def cancel(self) -> None:
        """See `Call.cancel`."""
        if not self.ended:
            self._inbox.clear()
            self._finish(Cancelled("the call was cancelled"))

    def abandon(self) -> None:
        """See `Call.abandon`."""
        if self._runtime is not None:
            self._runtime.post(self.cancel)

    async def unary(self, request: Req) -> Res:
        """Send one message and return the one that answers it: the whole of a unary call."""
        try:
            await self._open(self._plan.encode(request), True)
            if not self.ended:
                await self._wait_signal()
        except BaseException:
            self.cancel()
            raise
        if self._error is not None:
            raise self._error
        return self._take()

    async def send(self, message: Req | None, end: bool) -> None:
        """See `Call.send`, and `Call.end` where there is no message."""
        self._check_home()
        data = None if message is None else self._plan.encode(message)
        turns = self._turns
        if turns is None:
            turns = self._turns = Turns(self._channel.runtime)
        if not turns.take():
            await turns.wait()
        try:
            await self._send(data, end)
        finally:
            turns.give()

    # -- sending: one task at a time

    async def _send(self, message: bytes | None, end: bool) -> None:
        while not self.ended and (self._opening or (self.stream is not None and not self.stream.drained)):
            await self._park()
        if self.ended:
            self._raise_error()
        if self.stream is not None and self.stream.end_queued:
            if message is not None:
                raise RuntimeError("the call is half-closed: nothing can be sent after end()")
            return
        if self.ended:
            return
        if self.stream is None:
            size = await self._open(message, end)
        else:
            payload = b"" if message is None else self._plan.format.encode(message)
            size = len(payload)
            if self._replay is not None:
                self._replay.add(payload, end)
            self.stream.send(payload, end=end)
            self._flush()
        await self._leave(size)

    async def _leave(self, size: int) -> None:
        """Wait until the message of `size` bytes that was queued has left. When the wait is cancelled the message is
        taken back, unless its first bytes have left."""
        stream = self.stream
        if stream is None or stream.drained or self.ended:
            return
        drains = self._drains
        try:
            await self._park()
        except BaseException:
            if stream is self.stream and stream.withdraw(size) and self._replay is not None:
                self._replay.withdraw()
            raise
        if self._drains == drains:  # Else it has left, and what came of it is the receiver's to see.
            self._raise_error()

    async def _park(self) -> None:
        """Wait until what was sent has left, the call has opened, or it is over."""
        self._sender = self._channel.runtime.signal()
        try:
            await self._sender.wait()
        finally:
            self._sender = None

    # -- opening

    async def _open(self, message: bytes | None, end: bool) -> int:
        """Start the stream, its headers and first message in one write where they fit. Returns the message's size as
        it was queued."""
        self._opening = True
        try:
            before, after, payload = self._plan.format.open(message)
            self._head = before, after
            await self._start()
        except RpcError as error:
            self._finish(error)
            raise
        finally:
            # Whoever waits for the opening goes on, or tries it in turn.
            self._opening = False
            self._wake()
        if self._deadline is not None:
            self._timer = self._channel.runtime.call_later(max(self._deadline.remaining(), 0), self._expire)
        if (payload or end) and self.stream is not None:
            if self._replay is not None:
                self._replay.add(payload, end)
            self.stream.send(payload, end=end)
        self._flush()
        return len(payload)

    async def _start(self) -> None:
        """Open the stream; raises `Cancelled` when `cancel` comes in the meantime."""
        before, after = self._head
        if self._attempts:
            after = after + self._channel.protocol.attempts_header(self._attempts)
        start = self._channel.start(
            before, after, self._metadata, self._deadline, patient=self._patient, bulk=self._bulk
        )
        # Nobody has a unary call to cancel it but the task that waits here. A scope where there is nothing to wait for
        # would cost 5 us, and a program's first command 20 ms, in which anyio's backend is loaded.
        if self._whole or self._channel.ready(bulk=self._bulk):
            headers, connection = await start
        else:
            try:
                with anyio.CancelScope() as self._opener:
                    headers, connection = await start
            finally:
                self._opener = None
        if self.ended:
            self._raise_error()
        self._connection = connection
        self._runtime = self._channel.runtime
        self.stream = connection.open(headers, self)

    def _flush(self) -> None:
        if self._connection is not None:
            self._connection.flush()

    # -- making the call again

    def _end_or_repeat(self, error: RpcError) -> None:
        """The call failed, which may not be the last word."""
        delay = self._repetition(error)
        runtime = self._runtime
        if delay is None or runtime is None:
            self._finish(at_deadline(error, self.method.name, self._deadline))
        else:
            self.stream = None
            self._opening = True
            self._read_afresh()
            runtime.spawn(lambda: self._repeat(delay), "boxd retry")

    def _repetition(self, error: RpcError) -> float | None:
        if self.ended or self._replay is None or not self._replay.possible:
            return None
        if self._retries is None:
            self._retries = self._channel.retries(self.method)
        delay = self._retries.delay(error, self.committed, self._channel.reconnect_in, self._deadline)
        self._attempts = self._retries.attempts
        return delay

    async def _repeat(self, delay: float) -> None:
        """Send all of the call again, on another stream."""
        try:
            await self._start_again(delay)
            if self._replay is not None and self.stream is not None:
                for payload, end in self._replay.pieces:
                    self.stream.send(payload, end=end)
            self._flush()
        except RpcError as error:
            self._finish(error)
        except Exception as exc:  # The credentials' own, for example.
            self._finish(RpcError(f"the call cannot be sent again: {exc}"))
        finally:
            self._opening = False
            self._wake()

    async def _start_again(self, delay: float | None) -> None:
        while delay is not None:
            try:
                with anyio.CancelScope() as self._opener:
                    await self._channel.pause(delay)
            finally:
                self._opener = None
            try:
                await self._start()
                return
            except RpcError as error:
                delay = self._repetition(error)
                if delay is None:
                    raise

    # -- StreamEvents, as far as they are not about the response

    def on_failure(self, failure: StreamFailure) -> None:
        error = error_from_failure(failure)
        error.__cause__ = failure.cause
        self._end_or_repeat(error)

    def on_drained(self) -> None:
        self._drains += 1
        if self._sender is not None:
            self._sender.set()

    # -- the end

    def _begun(self) -> None:
        if self._replay is not None:
            self._replay.drop()

    def _expire(self) -> None:
        if self._deadline is not None:
            self._finish(too_late(self.method.name, self._deadline))

    def _finish(self, error: RpcError | None) -> None:
        """The call is over: reset the stream if it is not, stop the timer, wake everybody."""
        if self.ended:
            return
        self.ended = True
        self._error = error
        if error is None and self.method.idempotent:
            self._channel.budget.succeeded()
        if self._timer is not None:
            self._timer.cancel()
        if self._opener is not None:
            self._opener.cancel()
        if self.stream is not None and not self.stream.done:
            self.stream.reset(ErrorCode.CANCEL)
            self._flush()
        self._wake()

    def _wake(self) -> None:
        """Let the tasks that wait look again."""
        if self._receiver is not None:
            self._receiver.set()
        if self._sender is not None:
            self._sender.set()
