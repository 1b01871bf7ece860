"""The HTTP/2 engine as a transport of httpx: `httpx.AsyncClient(transport=HTTP2Transport())`.

Unlike httpx's own, it sends the request while the response is read (full duplex), gives the trailers, keeps streams
alive through a graceful GOAWAY, and resets a stream whose response is left early."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import anyio
import httpx

from boxd.transport.connection import CLOSE_TIMEOUT, Connection
from boxd.transport.deadline import Deadline
from boxd.transport.dial import dial
from boxd.transport.dial_options import DialOptions
from boxd.transport.errors import ConnectFailed, DeadlineExceeded, RpcError
from boxd.transport.failures import error_from_failure
from boxd.transport.http2.codes import ErrorCode
from boxd.transport.http2.errors import StreamFailure
from boxd.transport.http2.options import EngineOptions
from boxd.transport.http2.stream import Headers, Stream
from boxd.transport.journal import Journal
from boxd.transport.options import ConnectionOptions
from boxd.transport.pool import Pool
from boxd.transport.runtime import Handle, Runtime, Signal, shielded
from boxd.transport.target import Target
from boxd.transport.wire import Wire

if TYPE_CHECKING:
    import ssl

    from boxd.transport.stats import Stats

logger = logging.getLogger("boxd.transport")

# RFC 9113 section 8.2.2: these belong to a connection of HTTP/1.1.
_DROPPED = frozenset((b"connection", b"host", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))


class HTTP2Transport(httpx.AsyncBaseTransport):
    """HTTP/2 for `httpx.AsyncClient`, on asyncio and trio: with prior knowledge for `http://` URLs (h2c), with ALPN
    for `https://`.

    A response's trailers are in `response.extensions["trailers"]`, a list of name and value pairs that is filled when
    the body has been read. httpx's timeouts for connect, pool, read and write are obeyed. Failures are httpx's own:
    `ConnectError`, `ConnectTimeout`, `PoolTimeout`, `ReadTimeout`, `WriteTimeout`, `RemoteProtocolError`.
    """

    def __init__(
        self,
        *,
        ssl_context: ssl.SSLContext | None = None,
        dial_options: DialOptions | None = None,
        engine_options: EngineOptions | None = None,
        connection_options: ConnectionOptions | None = None,
        trace: str | None = None,
    ) -> None:
        """`dial_options` say how to connect, with TLS and proxies; those of the environment are used without. An
        `ssl_context` alone is short for `DialOptions(ssl_context=...)`. `connection_options` say how connections live;
        nothing is sent twice here, so that their `retry` has no meaning. `trace` names a file to which a record of
        every HTTP/2 frame is added, a line of JSON each, without bodies and secrets."""
        self._trace = trace
        self._dial_options = dial_options or DialOptions(ssl_context=ssl_context)
        self._engine_options = engine_options or EngineOptions()
        self._options = connection_options or ConnectionOptions()
        self._pools: dict[Target, Pool] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; returns with the response's head, while the request's body may still be on its way."""
        timeouts: dict[str, float | None] = request.extensions.get("timeout", {})
        pool = self._pool(_target(request.url))
        connection = await _acquire(pool, timeouts)
        exchange = _Exchange(pool.runtime(), connection, timeouts)
        exchange.start(request)
        try:
            await exchange.wait_headers()
        except BaseException:
            exchange.abandon()
            raise
        return httpx.Response(
            exchange.status,
            headers=exchange.headers,
            stream=_Body(exchange),
            extensions={"http_version": b"HTTP/2", "stream_id": exchange.stream_id, "trailers": exchange.trailers},
        )

    def _pool(self, target: Target) -> Pool:
        pool = self._pools.get(target)
        if pool is None:
            pool = self._pools[target] = Pool(
                lambda: self._dial(target),
                self._engine_options,
                self._options,
                journal=Journal(str(target), self._trace),
            )
        return pool

    def stats(self) -> Stats:
        """What was done so far, and what is open now."""
        from boxd.transport.stats import Stats

        totals = Stats()
        for pool in self._pools.values():
            totals += pool.journal.counters.stats(connections_open=pool.connections, streams_open=pool.open_streams)
        return totals

    async def _dial(self, target: Target) -> Wire:
        options = self._dial_options
        return await dial(target, options, self._options.keepalive_timeout, server_name=options.server_name)

    async def aclose(self) -> None:
        """Close all connections; open responses fail. Idempotent."""
        closing = [connection for pool in self._pools.values() for connection in pool.close()]
        async with shielded(2 * CLOSE_TIMEOUT):
            for connection in closing:
                await connection.wait_closed()


def _target(url: httpx.URL) -> Target:
    if url.scheme not in ("http", "https"):
        raise httpx.UnsupportedProtocol(f"the URL scheme {url.scheme!r} is not http or https")
    return Target(url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80))


async def _acquire(pool: Pool, timeouts: dict[str, float | None]) -> Connection:
    connected = pool.connections > 0
    limit = timeouts.get("pool" if connected else "connect")
    try:
        return await pool.acquire(None if limit is None else Deadline(limit))
    except DeadlineExceeded as exc:
        raise (httpx.PoolTimeout if connected else httpx.ConnectTimeout)(exc.message) from exc
    except ConnectFailed as exc:
        raise httpx.ConnectError(exc.message) from exc
    except RpcError as exc:
        raise httpx.RemoteProtocolError(exc.message) from exc


def _request_headers(request: httpx.Request) -> Headers:
    headers: Headers = [
        (b":method", request.method.encode()),
        (b":scheme", request.url.scheme.encode()),
        (b":path", request.url.raw_path),
        (b":authority", request.headers.get("host", "").encode() or request.url.netloc),
    ]
    for name, value in request.headers.raw:
        name = name.lower()
        if name not in _DROPPED and (name != b"te" or value == b"trailers"):
            headers.append((name, value))
    return headers


async def _close(body: object) -> None:
    """Let a request's body go, or the iterator over it: it is the caller's, so nothing is certain of it."""
    close = getattr(body, "aclose", None)
    if close is None:
        return
    async with shielded(CLOSE_TIMEOUT):
        try:
            await close()
        except Exception:
            logger.exception("a request's body cannot be closed")


class _Exchange:
    """One request and its response: the stream's events, turned into things to wait for."""

    def __init__(self, runtime: Runtime, connection: Connection, timeouts: dict[str, float | None]) -> None:
        self._runtime = runtime
        self._connection = connection
        self._timeouts = timeouts
        self._stream: Stream | None = None
        self._chunks: deque[bytes] = deque()
        self._ended = False
        self._error: Exception | None = None
        self._reader: Signal | None = None
        self._writer: Signal | None = None
        # The task that sends the request's body, as long as anybody wants more of it.
        self._sender: Handle | None = None
        self.status = 0
        self.headers: Headers = []
        self.trailers: Headers = []

    @property
    def stream_id(self) -> int:
        return 0 if self._stream is None else self._stream.id

    def start(self, request: httpx.Request) -> None:
        """Open the stream. A body at hand goes with the headers, any other is sent by a task of its own."""
        self._stream = self._connection.open(_request_headers(request), self)
        body = request.stream
        if isinstance(body, httpx.ByteStream):
            self._stream.send(b"".join(body), end=True)
        else:
            assert isinstance(body, httpx.AsyncByteStream)
            self._sender = self._runtime.spawn(lambda: self._send(body), "boxd request body")
        self._connection.flush()

    async def _send(self, body: httpx.AsyncByteStream) -> None:
        assert self._stream is not None
        pieces = body.__aiter__()
        try:
            async for chunk in pieces:
                self._stream.send(chunk)
                self._connection.flush()
                await self._drained()
                if self._ended:
                    return
            self._stream.send(b"", end=True)
            self._connection.flush()
        except Exception as exc:
            # The caller's own iterator failed, or a write took too long: the reader of the response gets to know.
            self._sender = None
            self._fail(exc)
            self.abandon()
        finally:
            self._sender = None
            await _close(pieces)
            await _close(body)

    async def _drained(self) -> None:
        stream = self._stream
        if stream is None or stream.drained or self._ended:
            return
        self._writer = self._runtime.signal()
        with anyio.move_on_after(self._timeouts.get("write")) as scope:
            await self._writer.wait()
        if scope.cancelled_caught:
            raise httpx.WriteTimeout("the server took no more of the request's body in time")

    async def wait_headers(self) -> None:
        while not self.status:
            if self._error is not None:
                raise self._error
            await self._wait()

    async def chunk(self) -> bytes:
        """The next piece of the body; empty at its end."""
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self._ended:
                return b""
            await self._wait()
        data = b"".join(self._chunks)
        self._chunks.clear()
        if self._stream is not None and not self._stream.done:
            self._stream.consumed(len(data))
            self._connection.flush()
        return data

    async def _wait(self) -> None:
        self._reader = self._runtime.signal()
        with anyio.move_on_after(self._timeouts.get("read")) as scope:
            await self._reader.wait()
        self._reader = None
        if scope.cancelled_caught:
            raise httpx.ReadTimeout("the server sent nothing in time")

    def abandon(self) -> None:
        """Nobody reads on: tell the server."""
        if self._stream is not None and not self._stream.done:
            self._stream.reset(ErrorCode.CANCEL)
            self._connection.flush()
        self._end()

    def _end(self) -> None:
        """Nothing more comes, and nothing more of the request is wanted, also where its iterator is waiting."""
        self._ended = True
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.cancel()
        self._wake()

    def _fail(self, error: Exception) -> None:
        if self._error is None and not self._ended:
            self._error = error

    def _wake(self) -> None:
        for signal in (self._reader, self._writer):
            if signal is not None:
                signal.set()

    # -- StreamEvents

    def on_headers(self, status: int, headers: Headers, end_stream: bool) -> None:
        self.status, self.headers = status, headers
        self._wake()

    def on_data(self, data: bytes) -> None:
        self._chunks.append(data)
        self._wake()

    def on_end(self, trailers: Headers) -> None:
        self.trailers.extend(trailers)
        self._end()

    def on_failure(self, failure: StreamFailure) -> None:
        error = error_from_failure(failure)
        mapped: type[httpx.TransportError] = httpx.RemoteProtocolError
        if failure.kind in ("lost", "keepalive", "closed"):
            mapped = httpx.ReadError
        self._fail(mapped(error.message))
        self._end()

    def on_drained(self) -> None:
        if self._writer is not None:
            self._writer.set()


class _Body(httpx.AsyncByteStream):
    """A response's body."""

    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange

    # No async generator: one that is left early is not closed by who iterates, and trio warns of that.
    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        data = await self._exchange.chunk()
        if not data:
            raise StopAsyncIteration
        return data

    async def aclose(self) -> None:
        self._exchange.abandon()
