"""Calls through a transport of httpx: HTTP/1.1 for gRPC-Web and Connect, on networks that let nothing else pass, and
transports of the user's own.

A connection of HTTP/1.1 carries one call at a time, and the response is read only after the whole request has been
sent: a call that waits for an answer before its half-close waits for ever. Bodies are taken as they come, never
decompressed by httpx."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncIterator

import anyio
import httpx

from boxd.transport.deadline import Deadline
from boxd.transport.dial_options import DialOptions
from boxd.transport.errors import ChannelClosed, ConnectFailed, TlsFailed
from boxd.transport.home import LoopBound
from boxd.transport.http1_transport import HTTP11Transport
from boxd.transport.http2.codes import ErrorCode
from boxd.transport.http2.errors import StreamFailure
from boxd.transport.http2.stream import Headers, StreamEvents
from boxd.transport.journal import Journal
from boxd.transport.runtime import Runtime, Signal
from boxd.transport.target import Target

_FORGOTTEN: list[object] = []


class Http1Connector(LoopBound):
    """Opens streams as requests of their own. httpx keeps the connections."""

    #: HTTP/1.1 has no way to say.
    max_header_list_size: int | None = None

    def __init__(
        self,
        target: Target,
        options: DialOptions,
        window: int,
        journal: Journal,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`window` is how many bytes of a response may wait to be read. A `transport` given is used, and closed with
        the rest, in place of one for HTTP/1.1."""
        super().__init__()
        self._given = transport
        self._target = target
        self._options = options
        self._window = window
        self._counters = journal.counters
        self._transport: httpx.AsyncBaseTransport | None = None
        self._streams: set[Http1Stream] = set()

    @property
    def connections(self) -> int:
        """How many are in use."""
        return len(self._streams)

    #: A connection carries one at a time.
    open_streams = connections

    def forget(self) -> None:
        """See `LoopBound.forget`."""
        if self._transport is not None:
            # Never collected: an event loop's objects complain, or write, when they go without having been closed.
            _FORGOTTEN.append((self._runtime, self._transport, list(self._streams)))
        self._transport = None
        self._streams.clear()
        self._runtime = None

    @property
    def ready(self) -> bool:
        """True: `acquire` never waits."""
        return True

    async def acquire(self, deadline: Deadline | None, *, patient: bool = False) -> Http1Connector:
        """The connection itself is made, or found, by the stream."""
        self.runtime()
        if self._closed:
            raise ChannelClosed("this client is closed; make a new one")
        return self

    def open(self, headers: Headers, events: StreamEvents) -> Http1Stream:
        """Start a request."""
        runtime = self.runtime()
        if self._transport is None:
            self._transport = self._given or HTTP11Transport(self._target, self._options, self._options.server_name)
        stream = Http1Stream(runtime, headers, events, self._window)
        self._streams.add(stream)
        self._counters.streams_opened += 1
        transport = self._transport
        timeouts = {"connect": self._options.connect_timeout}

        async def run() -> None:
            try:
                await stream.run(transport, timeouts)
            finally:
                self._streams.discard(stream)

        runtime.spawn(run, "boxd request")
        return stream

    def flush(self) -> None:
        """Streams write by themselves."""

    def close(self) -> list[Http1Connector]:
        """Fail what runs and refuse new calls; `wait_closed` closes the connections."""
        self._closed = True
        if self._runtime is None or not self._runtime.is_current():
            return []
        for stream in list(self._streams):
            stream.fail(StreamFailure("closed", ErrorCode.CANCEL, "the client was closed"))
            stream.reset(ErrorCode.CANCEL)
        return [self]

    async def wait_closed(self) -> None:
        """Wait for the requests to end, and close the connections."""
        for stream in list(self._streams):
            await stream.wait_ended()
        transport, self._transport = self._transport or self._given, None
        if transport is not None:
            await transport.aclose()


class Http1Stream:
    """One request and its response; to a call the same as a stream of HTTP/2."""

    #: See `RequestStream`: nothing here waits for a flush.
    wants_flush = False

    def __init__(self, runtime: Runtime, headers: Headers, events: StreamEvents, window: int) -> None:
        self._runtime = runtime
        self._headers = headers
        self._events = events
        self._window = window
        self._scope = anyio.CancelScope()
        self._ended = anyio.Event()
        self._outbox: deque[bytes] = deque()
        #: Bytes queued or being written, and bytes that came and are not consumed.
        self._unwritten = 0
        self._unread = 0
        self._writing = 0
        self._body_waits: Signal | None = None
        self._room_waits: Signal | None = None
        # True once the request's headers are made.
        self._begun = False
        self.end_queued = False
        self.done = False

    # -- for the call

    @property
    def drained(self) -> bool:
        """True when no body bytes wait to be written."""
        return self._unwritten == 0

    def send(self, data: bytes, *, end: bool = False) -> None:
        """Queue a piece of the request's body; `end` half-closes after it."""
        if self.done:
            return
        if data:
            self._outbox.append(data)
            self._unwritten += len(data)
        self.end_queued = self.end_queued or end
        if self._body_waits is not None:
            self._body_waits.set()

    def withdraw(self, size: int) -> bool:
        """Take back what is queued, if it is the whole of a message of `size` bytes. A request whose headers say how
        long its body is keeps it."""
        if self.done or not size or self._writing or self._unwritten != size or (self._begun and self.end_queued):
            return False
        self._outbox.clear()
        self._unwritten = 0
        self.end_queued = False
        return True

    def consumed(self, size: int) -> None:
        """Make room for `size` more bytes of the response."""
        self._unread -= size
        if self._room_waits is not None:
            self._room_waits.set()

    def reset(self, code: int) -> None:
        """Leave: the connection is closed, since HTTP/1.1 knows no other way. `code` goes nowhere."""
        if not self.done:
            self.done = True
            self._scope.cancel()

    # -- for the connector

    def fail(self, failure: StreamFailure) -> None:
        """Tell the call that nothing more comes."""
        if not self.done:
            self.done = True
            self._events.on_failure(failure)
            self._scope.cancel()

    async def wait_ended(self) -> None:
        """Wait until the connection is given back or closed."""
        await self._ended.wait()

    async def run(self, transport: httpx.AsyncBaseTransport, timeouts: dict[str, float]) -> None:
        """Make the request and read the response."""
        try:
            with self._scope:
                await self._exchange(transport, timeouts)
        except Exception as exc:
            self.fail(_failure(exc))
        finally:
            self._ended.set()

    # -- inside

    async def _exchange(self, transport: httpx.AsyncBaseTransport, timeouts: dict[str, float]) -> None:
        response = await transport.handle_async_request(self._request(timeouts))
        assert isinstance(response.stream, httpx.AsyncByteStream)
        body = response.stream.__aiter__()
        bare = True
        try:
            headers = [(name.lower(), value) for name, value in response.headers.raw]
            self._events.on_headers(response.status_code, headers, False)
            while not self.done:
                await self._room()
                data = await body.__anext__()
                bare = False
                self._unread += len(data)
                self._events.on_data(data)
        except StopAsyncIteration:
            if not self.done:
                self.done = True
                self._end(headers, response.extensions.get("trailers"), bare)
        finally:
            await _leave(body, response.stream)

    def _end(self, headers: Headers, trailers: Headers | None, bare: bool) -> None:
        """The response is over; `bare`: without a body. Not every transport of httpx shows trailers."""
        if bare and not trailers and (b"te", b"trailers") in self._headers:
            # gRPC's "Trailers-Only": httpx does not tell that the header block was the last.
            trailers = [one for one in headers if one[0].startswith(b"grpc-")] or trailers
        if trailers is None and (b"te", b"trailers") in self._headers:
            text = "the httpx transport gives no trailers, which gRPC needs: use protocol 'connect' or 'grpc-web'"
            self._events.on_failure(StreamFailure("protocol", ErrorCode.NO_ERROR, text))
        else:
            self._events.on_end([(name.lower(), value) for name, value in trailers or []])

    def _request(self, timeouts: dict[str, float]) -> httpx.Request:
        """The request, as far as it is known: a body that is complete has a length, any other is sent in chunks."""
        self._begun = True
        pseudo = {name: value.decode() for name, value in self._headers if name.startswith(b":")}
        headers = [(b"host", pseudo[b":authority"].encode())]
        headers += [one for one in self._headers if not one[0].startswith(b":")]
        method = pseudo[b":method"]
        if not self.end_queued:
            headers.append((b"transfer-encoding", b"chunked"))
        elif method != "GET":
            headers.append((b"content-length", b"%d" % self._unwritten))
        url = f"{pseudo[b':scheme']}://{pseudo[b':authority']}{pseudo[b':path']}"
        return httpx.Request(method, url, headers=headers, stream=_RequestBody(self), extensions={"timeout": timeouts})

    async def _room(self) -> None:
        """Wait until the call has consumed enough of what it got."""
        while self._unread >= self._window:
            self._room_waits = self._runtime.signal()
            await self._room_waits.wait()
        self._room_waits = None

    async def next_piece(self) -> bytes:
        """The next piece of the request's body. Asking for it says that the one before has been written."""
        self._unwritten -= self._writing
        self._writing = 0
        if not self._unwritten and not self.done:
            self._events.on_drained()
        while not self._outbox:
            if self.end_queued:
                raise StopAsyncIteration
            self._body_waits = self._runtime.signal()
            await self._body_waits.wait()
        self._body_waits = None
        data = b"".join(self._outbox)
        self._outbox.clear()
        self._writing = len(data)
        return data


class _RequestBody(httpx.AsyncByteStream):
    """A request's body, while it is being written."""

    def __init__(self, stream: Http1Stream) -> None:
        self._stream = stream

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return await self._stream.next_piece()


async def _leave(body: AsyncIterator[bytes], stream: httpx.AsyncByteStream) -> None:
    """Give the connection back, or close it when the response is not over. The generators inside httpx are cancelled
    where they wait, rather than left: only so do they end in order."""
    with anyio.CancelScope(shield=True):
        with anyio.CancelScope() as scope, contextlib.suppress(StopAsyncIteration, httpx.HTTPError):
            scope.cancel()
            while True:
                await body.__anext__()
        await stream.aclose()


def _failure(exc: Exception) -> StreamFailure:
    """The errors of httpx and of dialing as those of a stream."""
    text = str(exc) or type(exc).__name__
    if isinstance(exc, ConnectFailed):
        kind = "tls" if isinstance(exc, TlsFailed) else "connect"
        return StreamFailure(kind, ErrorCode.NO_ERROR, exc.message, unprocessed=True, cause=exc)
    if isinstance(exc, (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)):
        message = f"cannot connect: {text if str(exc) else 'no connection in time'}"
        return StreamFailure("connect", ErrorCode.NO_ERROR, message, unprocessed=True, cause=exc)
    if isinstance(exc, httpx.TransportError) and not isinstance(exc, httpx.LocalProtocolError):
        return StreamFailure("lost", ErrorCode.NO_ERROR, f"the connection broke: {text}", cause=exc)
    return StreamFailure("protocol", ErrorCode.INTERNAL_ERROR, f"the request could not be made: {text}", cause=exc)
