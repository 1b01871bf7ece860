"""One RPC: messages out, messages in, a status at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import anyio

from boxd.transport.deadline import Deadline
from boxd.transport.errors import Cancelled, RpcError, WrongLoop
from boxd.transport.failures import at_deadline, error_from_failure, too_late, undecodable, wrong_count
from boxd.transport.http2.codes import ErrorCode
from boxd.transport.http2.errors import StreamFailure
from boxd.transport.http2.stream import Headers
from boxd.transport.inbox import Inbox
from boxd.transport.metadata import Metadata, decode_metadata
from boxd.transport.method import Kind, Method
from boxd.transport.retry import Replay

if TYPE_CHECKING:
    from boxd.transport.channel import Channel
    from boxd.transport.connector import RequestStream, StreamSource
    from boxd.transport.runtime import Handle, Runtime, Signal

Req = TypeVar("Req")
Res = TypeVar("Res")


class Call(Generic[Req, Res]):
    """A call in progress. It opens with the first `send`, `end` or `receive`; use it as an async context manager, or
    end it with `aclose`, so that a call that is left early is cancelled on the server too.

    One task may receive while others send. Every method raises the call's own error (`RpcError`) once it has ended
    with one, after the messages that came before it.
    """

    def __init__(self, channel: Channel, method: Method[Req, Res], deadline: Deadline | None, metadata: Metadata):
        self._channel = channel
        self._method = method
        self._deadline = deadline
        self._metadata = metadata
        self._plan = plan = channel.plan(method)
        self._reader = plan.format.reader(channel.max_receive_bytes)
        self._connection: StreamSource | None = None
        self._stream: RequestStream | None = None
        self._runtime: Runtime | None = None
        self._opening = False
        # Around the wait for a connection, so that `cancel` ends it.
        self._opener: anyio.CancelScope | None = None
        self._timer: Handle | None = None
        self._inbox = Inbox()
        self._ended = False
        self._error: RpcError | None = None
        self._receiver: Signal | None = None
        self._senders: list[Signal] = []
        self._drains = 0
        self._single = method.kind in (Kind.UNARY, Kind.CLIENT_STREAM)
        self._whole = False
        # To send the call again where the server did not see it. A unary call is repeated as a whole by the channel.
        self._head: tuple[Headers, Headers] = ([], [])
        self._replay = Replay()

    # -- the caller's side

    async def send(self, message: Req, *, end: bool = False) -> None:
        """Send a message, and with `end` half-close after it. Returns when the message has left for the socket, so
        that a slow server slows the caller. When the server has already ended the call with OK, the message is
        dropped: nobody wants it. Cancelling the wait does not take the message back. Raises `RuntimeError` after a
        half-close."""
        await self._send(self._plan.encode(message), end)

    async def end(self) -> None:
        """Half-close: no more messages from this side. Idempotent."""
        await self._send(None, True)

    async def receive(self) -> Res | None:
        """The next message; None when the call ended with OK. Cancelling the wait loses nothing. The one message of a
        call without a response stream comes only when the call has ended with OK."""
        if not self._inbox or self._single:
            await self._wait()
            if not self._inbox:
                return None
        return self._take()

    async def receive_batch(self) -> list[Res]:
        """Every message that is at hand, at least one; an empty list when the call ended with OK."""
        if not self._inbox or self._single:
            await self._wait()
        out = [self._take()] if self._inbox else []
        while self._inbox:
            try:
                out.append(self._take())
            except RpcError:  # Raised again by the next call, after what came before it.
                break
        return out

    @property
    def headers(self) -> Metadata:
        """The response's leading metadata; empty before it came."""
        return decode_metadata(self._reader.headers)

    @property
    def trailers(self) -> Metadata:
        """The response's trailing metadata; empty before the end."""
        return decode_metadata(self._reader.trailers)

    @property
    def running(self) -> bool:
        """True from the opening of the call to its end; messages may still wait to be taken after it."""
        return self._runtime is not None and not self._ended and self._runtime.alive

    def cancel(self) -> None:
        """End the call from this side, on the server too (RST_STREAM with CANCEL). Messages not taken yet are dropped,
        and waiting tasks get `Cancelled`. Idempotent."""
        if not self._ended:
            self._inbox.clear()
            self._finish(Cancelled("the call was cancelled"))

    def abandon(self) -> None:
        """`cancel`, for finalizers: from any thread, and whether or not the event loop still runs."""
        if self._runtime is not None:
            self._runtime.post(self.cancel)

    async def aclose(self) -> None:
        """Like `cancel`; for `async with`."""
        self.cancel()

    def __aiter__(self) -> Call[Req, Res]:
        return self

    async def __anext__(self) -> Res:
        message = await self.receive()
        if message is None:
            raise StopAsyncIteration
        return message

    async def __aenter__(self) -> Call[Req, Res]:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.cancel()

    def __repr__(self) -> str:
        state = "ended" if self._ended else "open" if self._stream else "not started"
        return f"<Call {self._method.name} {state}>"

    async def unary(self, request: Req) -> Res:
        """Send one message and return the one that answers it: the whole of a unary call."""
        self._whole = self._single = True
        self._replay.drop()
        try:
            await self._open(self._plan.encode(request), True)
            if not self._ended:
                await self._wait_signal()
        except BaseException:
            self.cancel()
            raise
        if self._error is not None:
            raise self._error
        return self._take()

    # -- sending

    async def _send(self, message: bytes | None, end: bool) -> None:
        while self._opening and not self._ended:
            await self._park()
        if self._ended:
            self._raise_error()
            return
        if self._stream is None:
            await self._open(message, end)
        elif not self._stream.end_queued:
            self._check_home()
            payload = b"" if message is None else self._plan.format.encode(message)
            self._replay.add(payload, end)
            self._stream.send(payload, end=end)
            self._flush()
        elif message is not None:
            raise RuntimeError("the call is half-closed: nothing can be sent after end()")
        stream = self._stream
        if stream is None or stream.drained or self._ended:
            return
        drains = self._drains
        await self._park()
        if self._drains == drains:  # Else it has left, and what came of it is the receiver's to see.
            self._raise_error()

    async def _park(self) -> None:
        """Wait until what was sent has left, the call has opened, or it is over."""
        signal = self._channel.runtime.signal()
        self._senders.append(signal)
        try:
            await signal.wait()
        finally:
            if signal in self._senders:
                self._senders.remove(signal)

    async def _open(self, message: bytes | None, end: bool) -> None:
        """Start the stream, its headers and first message in one write where they fit."""
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
            self._release()
        if self._deadline is not None:
            self._timer = self._channel.runtime.call_later(max(self._deadline.remaining(), 0), self._expire)
        if (payload or end) and self._stream is not None:
            self._replay.add(payload, end)
            self._stream.send(payload, end=end)
        self._flush()

    async def _start(self) -> None:
        """Open the stream; raises `Cancelled` when `cancel` comes in the meantime."""
        start = self._channel.start(*self._head, self._metadata, self._deadline)
        if self._whole:  # Nobody has this call to cancel it but the task that waits here.
            headers, connection = await start
        else:
            try:
                with anyio.CancelScope() as self._opener:
                    headers, connection = await start
            finally:
                self._opener = None
        if self._ended:
            self._raise_error()
        self._connection = connection
        self._runtime = self._channel.runtime
        self._stream = connection.open(headers, self)

    async def _repeat(self, delay: float) -> None:
        """Send all of the call again, on another stream."""
        try:
            await anyio.sleep(delay)
            await self._start()
            assert self._stream is not None
            for payload, end in self._replay.pieces:
                self._stream.send(payload, end=end)
            self._flush()
        except RpcError as error:
            self._finish(error)
        except Exception as exc:  # The credentials' own, for example.
            self._finish(RpcError(f"the call cannot be sent again: {exc}"))
        finally:
            self._opening = False
            self._wake()
            self._release()

    def _flush(self) -> None:
        if self._connection is not None:
            self._connection.flush()

    # -- receiving

    async def _wait(self) -> None:
        """Wait for a message or the end; raises the call's error when it ended with one and nothing is left to take."""
        single = self._single
        while not self._inbox or single:
            if self._ended:
                if single or not self._inbox:
                    self._raise_error()
                return
            if self._stream is None and not self._opening:
                await self._open(None, False)
            else:
                self._check_home()
            await self._wait_signal()

    def _check_home(self) -> None:
        """A call lives on the event loop, and in the process, that opened it."""
        if self._runtime is not None and not self._runtime.is_current():
            raise WrongLoop("this call belongs to another event loop, or to the process that this one was forked from")

    async def _wait_signal(self) -> None:
        if self._receiver is not None:
            raise RuntimeError("another task is already receiving from this call")
        self._receiver = self._channel.runtime.signal()
        try:
            await self._receiver.wait()
        finally:
            self._receiver = None

    def _take(self) -> Res:
        flags, payload = self._inbox.take()
        self._credit()
        try:
            if flags:
                payload = self._reader.decode(flags, payload)
            return self._plan.decode(payload)
        except Exception as exc:
            error = exc if isinstance(exc, RpcError) else undecodable(self._method, exc)
            self._inbox.clear()
            self._finish(error)
            self._error = error
            raise error from exc.__cause__

    def _credit(self) -> None:
        """Give back to the server's window what is not held as a complete message."""
        size = self._inbox.credit()
        if size and self._stream is not None:
            self._stream.consumed(size)
            if self._stream.wants_flush:
                self._flush()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error.with_traceback(None)

    # -- StreamEvents

    def on_headers(self, status: int, headers: Headers, end_stream: bool) -> None:
        self._replay.drop()
        self._channel.observe(headers)
        try:
            self._reader.on_headers(status, headers, end_stream)
        except RpcError as error:
            self._finish(error)

    def on_data(self, data: bytes) -> None:
        messages: list[tuple[int, bytes]] = []
        error: RpcError | None = None
        try:
            self._reader.on_data(data, messages)
        except RpcError as exc:
            error = exc
        self._inbox.add(messages, len(data))
        if messages:
            if not self._whole:
                self._wake()
            if self._single and self._inbox.received > 1:
                error = error or wrong_count("more than one message")
        if error is not None:
            self._finish(error)
        else:
            self._credit()

    def on_end(self, trailers: Headers) -> None:
        messages: list[tuple[int, bytes]] = []
        try:
            self._reader.on_end(trailers, messages)
            self._inbox.add(messages, 0)
            if self._single and not self._inbox.received:
                raise wrong_count("no message")
        except RpcError as error:
            self._finish(at_deadline(error, self._method.name, self._deadline))
        else:
            self._finish(None)

    def on_failure(self, failure: StreamFailure) -> None:
        error = error_from_failure(failure)
        error.__cause__ = failure.cause
        delay = self._replay.delay(error)
        if delay is None or self._runtime is None:
            self._finish(at_deadline(error, self._method.name, self._deadline))
        else:
            self._stream = None
            self._opening = True
            self._runtime.spawn(lambda: self._repeat(delay), "boxd retry")

    def on_drained(self) -> None:
        self._drains += 1
        self._release()

    def _release(self) -> None:
        """Let the tasks that send look again."""
        for sender in self._senders:
            sender.set()
        self._senders.clear()

    # -- the end

    def _expire(self) -> None:
        if self._deadline is not None:
            self._finish(too_late(self._method.name, self._deadline))

    def _finish(self, error: RpcError | None) -> None:
        """The call is over: reset the stream if it is not, stop the timer, wake everybody."""
        if self._ended:
            return
        self._ended = True
        self._error = error
        if self._timer is not None:
            self._timer.cancel()
        if self._opener is not None:
            self._opener.cancel()
        if self._stream is not None and not self._stream.done:
            self._stream.reset(ErrorCode.CANCEL)
            self._flush()
        self._wake()
        self._release()

    def _wake(self) -> None:
        if self._receiver is not None:
            self._receiver.set()
