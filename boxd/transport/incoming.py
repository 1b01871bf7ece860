"""The receiving half of a call: what the connection tells of the response, and the messages that its user takes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic, TypeVar

from boxd.transport.errors import RpcError, WrongLoop
from boxd.transport.failures import undecodable, wrong_count
from boxd.transport.http2.stream import Headers
from boxd.transport.inbox import Inbox
from boxd.transport.method import Kind, Method

if TYPE_CHECKING:
    from boxd.transport.channel import Channel
    from boxd.transport.connector import RequestStream
    from boxd.transport.protocol import ResponseReader
    from boxd.transport.runtime import Runtime, Signal

Req = TypeVar("Req")
Res = TypeVar("Res")


class Incoming(ABC, Generic[Req, Res]):
    """Takes the response in. The sending half, and the beginning and the end of the call, are `Exchange`'s."""

    def __init__(self, channel: Channel, method: Method[Req, Res], whole: bool) -> None:
        """`whole`: a unary call, whose user wants nothing but its end."""
        self._channel = channel
        self.method = method
        self._plan = plan = channel.plan(method)
        self.reader: ResponseReader = plan.format.reader(channel.max_receive_bytes)
        self.stream: RequestStream | None = None
        self._runtime: Runtime | None = None
        self._opening = False
        self._inbox = Inbox()
        self.ended: bool = False
        self._error: RpcError | None = None
        self._receiver: Signal | None = None
        self._whole = whole
        self._single = whole or method.kind in (Kind.UNARY, Kind.CLIENT_STREAM)
        #: True once the response has begun with more than a status.
        self.committed: bool = False

    @abstractmethod
    async def _open(self, message: bytes | None, end: bool) -> int:
        """Start the stream, with a first message."""

    @abstractmethod
    def _finish(self, error: RpcError | None) -> None:
        """The call is over."""

    @abstractmethod
    def _end_or_repeat(self, error: RpcError) -> None:
        """The call is over, unless it is made again."""

    @abstractmethod
    def _begun(self) -> None:
        """The response has begun."""

    @abstractmethod
    def _flush(self) -> None:
        """Have what was queued written."""

    async def receive(self) -> Res | None:
        """See `Call.receive`."""
        if not self.ended:
            self._check_home()
        if not self._inbox or self._single:
            await self._wait()
            if not self._inbox:
                return None
        return self._take()

    async def receive_batch(self) -> list[Res]:
        """See `Call.receive_batch`."""
        if not self.ended:
            self._check_home()
        if not self._inbox or self._single:
            await self._wait()
        out = [self._take()] if self._inbox else []
        while self._inbox:
            try:
                out.append(self._take())
            except RpcError:  # Raised again by the next call, after what came before it.
                break
        return out

    # -- inside

    def _read_afresh(self) -> None:
        """Another response is to come, in place of the one that was cut short."""
        self.reader = self._plan.format.reader(self._channel.max_receive_bytes)

    async def _wait(self) -> None:
        """Wait for a message or the end; raises the call's error when it ended with one and nothing is left to take."""
        single = self._single
        while not self._inbox or single:
            if self.ended:
                if single or not self._inbox:
                    self._raise_error()
                return
            if self.stream is None and not self._opening:
                await self._open(None, False)
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
                payload = self.reader.decode(flags, payload)
            return self._plan.decode(payload)
        except Exception as exc:
            error = exc if isinstance(exc, RpcError) else undecodable(self.method, exc)
            self._inbox.clear()
            self._finish(error)
            self._error = error
            raise error from exc.__cause__

    def _credit(self) -> None:
        """Give back to the server's window what is not held as a complete message."""
        size = self._inbox.credit()
        if size and self.stream is not None:
            self.stream.consumed(size)
            if self.stream.wants_flush:
                self._flush()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error.with_traceback(None)

    # -- StreamEvents

    def on_headers(self, status: int, headers: Headers, end_stream: bool) -> None:
        if not end_stream:
            self.committed = True
            self._begun()
        self._channel.observe(headers)
        try:
            self.reader.on_headers(status, headers, end_stream)
        except RpcError as error:
            self._finish(error)

    def on_data(self, data: bytes) -> None:
        messages: list[tuple[int, bytes]] = []
        error: RpcError | None = None
        try:
            self.reader.on_data(data, messages)
        except RpcError as exc:
            error = exc
        self._inbox.add(messages, len(data))
        if messages:
            if not self._whole and self._receiver is not None:
                self._receiver.set()
            if self._single and self._inbox.received > 1:
                error = error or wrong_count("more than one message")
        if error is not None:
            self._finish(error)
        else:
            self._credit()

    def on_end(self, trailers: Headers) -> None:
        messages: list[tuple[int, bytes]] = []
        try:
            self.reader.on_end(trailers, messages)
            self._inbox.add(messages, 0)
            if self._single and not self._inbox.received:
                raise wrong_count("no message")
        except RpcError as error:
            self._end_or_repeat(error)
        else:
            self._finish(None)
