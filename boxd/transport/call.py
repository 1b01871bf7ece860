"""One RPC: messages out, messages in, a status at the end."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from boxd.transport.deadline import Deadline
from boxd.transport.errors import (
    Cancelled,
    ConnectionLost,
    DeadlineExceeded,
    DecodeFailed,
    NotHttp2,
    ProtocolViolation,
    RpcError,
    StreamRefused,
    StreamReset,
)
from boxd.transport.http2.codes import ErrorCode
from boxd.transport.http2.errors import StreamFailure
from boxd.transport.http2.stream import Headers, Stream
from boxd.transport.metadata import Metadata, decode_metadata
from boxd.transport.method import Method
from boxd.transport.status import StatusCode, from_reset

if TYPE_CHECKING:
    from types import TracebackType

    from boxd.transport.channel import Channel
    from boxd.transport.connection import Connection
    from boxd.transport.runtime import Handle, Signal

Req = TypeVar("Req")
Res = TypeVar("Res")


class Call(Generic[Req, Res]):
    """A call in progress. It opens with the first `send`, `end` or `receive`; use it as an async context manager, or
    end it with `aclose`, so that a call that is left early is cancelled on the server too.

    One task may receive while others send. Every method raises the call's own error (`RpcError`) once it has ended
    with one, after the messages that came before it.
    """

    def __init__(
        self, channel: Channel, method: Method[Req, Res], deadline: Deadline | None, metadata: Metadata
    ) -> None:
        self._channel = channel
        self._method = method
        self._deadline = deadline
        self._metadata = metadata
        self._reader = channel.protocol.reader(channel.max_receive_bytes)
        self._connection: Connection | None = None
        self._stream: Stream | None = None
        self._opening = False
        self._timer: Handle | None = None
        # Complete messages, still encoded. Their bytes are given back to the server's window when they are taken,
        # all others at once: so a reader that stops stops the sender, and a message larger than the window passes.
        self._inbox: deque[bytes] = deque()
        self._held = 0
        self._uncredited = 0
        self._ended = False
        self._error: RpcError | None = None
        self._receiver: Signal | None = None
        self._senders: list[Signal] = []
        self._whole = False

    # -- the caller's side

    async def send(self, message: Req, *, end: bool = False) -> None:
        """Send a message, and with `end` half-close after it. Returns when the message has left for the socket, so
        that a slow server slows the caller. When the server has already ended the call with OK, the message is
        dropped: nobody wants it. Cancelling the wait does not take the message back."""
        payload = self._channel.protocol.encode(self._method.encode(message))
        await self._send(payload, end)

    async def end(self) -> None:
        """Half-close: no more messages from this side."""
        await self._send(b"", True)

    async def receive(self) -> Res | None:
        """The next message; None when the call ended with OK. Cancelling the wait loses nothing."""
        if not self._inbox:
            await self._wait()
            if not self._inbox:
                return None
        return self._take(self._inbox.popleft())

    async def receive_batch(self) -> list[Res]:
        """Every message that is at hand, at least one; an empty list when the call ended with OK."""
        if not self._inbox:
            await self._wait()
        out = []
        while self._inbox:
            out.append(self._take(self._inbox.popleft()))
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
    def ended(self) -> bool:
        """True once the call is over; messages may still wait to be taken."""
        return self._ended

    def cancel(self) -> None:
        """End the call from this side, on the server too (RST_STREAM with CANCEL). Messages not taken yet are dropped,
        and waiting tasks get `Cancelled`. Idempotent."""
        if not self._ended:
            self._inbox.clear()
            self._finish(Cancelled("the call was cancelled"))

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

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    def __repr__(self) -> str:
        state = "ended" if self._ended else "open" if self._stream else "not started"
        return f"<Call {self._method.name} {state}>"

    async def unary(self, request: Req) -> Res:
        """Send one message and return the one that answers it: the whole of a unary call."""
        self._whole = True
        try:
            await self._open(self._channel.protocol.encode(self._method.encode(request)), True)
            if not self._ended:
                await self._wait_signal()
        except BaseException:
            self.cancel()
            raise
        if self._error is not None:
            raise self._error
        if len(self._inbox) != 1:
            count = len(self._inbox) or "no"
            raise RpcError(f"the server sent {count} messages where one is due", StatusCode.UNIMPLEMENTED)
        return self._take(self._inbox[0])

    # -- sending

    async def _send(self, payload: bytes, end: bool) -> None:
        if self._ended:
            self._raise_error()
            return
        if self._stream is None:
            await self._open(payload, end)
        else:
            self._stream.send(payload, end=end)
            self._flush()
        stream = self._stream
        if stream is None or stream.drained or self._ended:
            return
        signal = self._channel.runtime.signal()
        self._senders.append(signal)
        try:
            await signal.wait()
        finally:
            if signal in self._senders:
                self._senders.remove(signal)
        self._raise_error()

    async def _open(self, payload: bytes, end: bool) -> None:
        """Start the stream, its headers and first message in one write where they fit."""
        if self._opening:
            raise RuntimeError("the call is being opened by another task; let the first send return before the next")
        self._opening = True
        try:
            deadline = self._deadline
            headers, connection = await self._channel.start(self._method, self._metadata, deadline)
            if self._ended:  # Cancelled in the meantime.
                self._raise_error()
            self._connection = connection
            self._stream = connection.open(headers, self)
        except RpcError as error:
            self._finish(error)
            raise
        finally:
            self._opening = False
        if deadline is not None:
            self._timer = self._channel.runtime.call_later(max(deadline.remaining(), 0), self._expire)
        if payload or end:
            self._stream.send(payload, end=end)
        connection.flush()

    def _flush(self) -> None:
        if self._connection is not None:
            self._connection.flush()

    # -- receiving

    async def _wait(self) -> None:
        """Wait for a message or the end; raises the call's error when it ended with one and nothing is left to take."""
        while not self._inbox:
            if self._ended:
                self._raise_error()
                return
            if self._stream is None:
                await self._open(b"", False)
                continue
            await self._wait_signal()

    async def _wait_signal(self) -> None:
        if self._receiver is not None:
            raise RuntimeError("another task is already receiving from this call")
        self._receiver = self._channel.runtime.signal()
        try:
            await self._receiver.wait()
        finally:
            self._receiver = None

    def _take(self, payload: bytes) -> Res:
        self._held -= len(payload)
        self._credit()
        try:
            return self._method.decode(payload)
        except Exception as exc:
            name = self._method.response.__name__
            error = DecodeFailed(f"the server's {name} cannot be decoded: {exc}", headers=self.headers)
            if not self._ended:
                self._finish(error)
            raise error from exc

    def _credit(self) -> None:
        """Give back to the server's window what is not held as a complete message."""
        size = self._uncredited - self._held
        if size > 0 and self._stream is not None and not self._stream.done:
            self._uncredited -= size
            self._stream.consumed(size)
            self._flush()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error.with_traceback(None)

    # -- StreamEvents

    def on_headers(self, status: int, headers: Headers, end_stream: bool) -> None:
        self._channel.observe(headers)
        try:
            self._reader.on_headers(status, headers, end_stream)
        except RpcError as error:
            self._finish(error)

    def on_data(self, data: bytes) -> None:
        try:
            messages = self._reader.on_data(data)
        except RpcError as error:
            self._finish(error)
            return
        self._uncredited += len(data)
        if messages:
            self._inbox.extend(messages)
            if not self._whole:
                for message in messages:
                    self._held += len(message)
                self._wake()
        self._credit()

    def on_end(self, trailers: Headers) -> None:
        try:
            self._reader.on_end(trailers)
        except RpcError as error:
            self._finish(self._reinterpret(error))
        else:
            self._finish(None)

    def on_failure(self, failure: StreamFailure) -> None:
        error = error_from_failure(failure)
        error.__cause__ = failure.cause
        self._finish(self._reinterpret(error))

    def on_drained(self) -> None:
        for sender in self._senders:
            sender.set()
        self._senders.clear()

    # -- the end

    def _reinterpret(self, error: RpcError) -> RpcError:
        """A server that cancels when the deadline passes may be faster than our own clock."""
        if error.code == StatusCode.CANCELLED and self._deadline is not None and self._deadline.remaining() <= 0:
            return self._deadline_error()
        return error

    def _expire(self) -> None:
        self._finish(self._deadline_error())

    def _deadline_error(self) -> RpcError:
        timeout = 0 if self._deadline is None else self._deadline.timeout
        return DeadlineExceeded(f"{self._method.name} did not finish within its timeout of {timeout:g} s")

    def _finish(self, error: RpcError | None) -> None:
        """The call is over: reset the stream if it is not, stop the timer, wake everybody."""
        if self._ended:
            return
        self._ended = True
        self._error = error
        if self._timer is not None:
            self._timer.cancel()
        if self._stream is not None and not self._stream.done:
            self._stream.reset(ErrorCode.CANCEL)
            self._flush()
        self._wake()
        self.on_drained()

    def _wake(self) -> None:
        if self._receiver is not None:
            self._receiver.set()


def error_from_failure(failure: StreamFailure) -> RpcError:
    """The error of a call whose stream ended without a complete response."""
    text = failure.message
    if failure.kind == "reset" and failure.code != ErrorCode.REFUSED_STREAM:
        return StreamReset(text, from_reset(failure.code), origin="server")
    if failure.kind in ("reset", "goaway"):
        return StreamRefused(text, origin="server", unprocessed=True)
    if failure.kind == "lost":
        return ConnectionLost(text, unprocessed=failure.unprocessed)
    if failure.kind == "not-http2":
        return NotHttp2(text, unprocessed=True)
    return ProtocolViolation(text)
