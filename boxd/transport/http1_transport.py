"""HTTP/1.1 to one server as a transport of httpx. httpx's own pool keeps the connections, and `dial` makes them: TLS,
proxies and errors are the same as for HTTP/2."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from typing import Any

import anyio
import httpcore
import httpx

from boxd.transport.dial import dial
from boxd.transport.dial_options import DialOptions
from boxd.transport.target import Target
from boxd.transport.wire import Wire

#: Idle connections that are kept for further calls.
KEPT_CONNECTIONS = 20
#: Seconds for which they are kept.
KEPT_SECONDS = 5.0
_ALPN = ("http/1.1",)
# The errors of httpcore that may come, and what httpx calls them.
_ERRORS: dict[type[Exception], type[httpx.TransportError]] = {
    httpcore.ReadTimeout: httpx.ReadTimeout,
    httpcore.WriteTimeout: httpx.WriteTimeout,
    httpcore.PoolTimeout: httpx.PoolTimeout,
    httpcore.ReadError: httpx.ReadError,
    httpcore.WriteError: httpx.WriteError,
    httpcore.LocalProtocolError: httpx.LocalProtocolError,
    httpcore.RemoteProtocolError: httpx.RemoteProtocolError,
    httpcore.ConnectionNotAvailable: httpx.ConnectError,
}


class HTTP11Transport(httpx.AsyncBaseTransport):
    """Requests to `target`, whatever host their URLs have. Besides httpx's errors it raises `ConnectFailed` and its
    like where there is no connection."""

    def __init__(self, target: Target, options: DialOptions, server_name: str | None = None) -> None:
        # For the pool the server is a plaintext one: the backend hands over connections that have their TLS.
        self._pool = httpcore.AsyncConnectionPool(
            max_connections=None,
            max_keepalive_connections=KEPT_CONNECTIONS,
            keepalive_expiry=KEPT_SECONDS,
            network_backend=_Backend(target, options, server_name),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Make a request; the body of the response is for the caller to read and close."""
        assert isinstance(request.stream, httpx.AsyncByteStream)
        url = httpcore.URL(scheme=b"http", host=b"server", port=80, target=request.url.raw_path)
        with _renamed():
            response = await self._pool.handle_async_request(
                httpcore.Request(
                    request.method,
                    url,
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        return httpx.Response(
            response.status, headers=response.headers, stream=_Body(response), extensions=response.extensions
        )

    async def aclose(self) -> None:
        """Close all connections."""
        with _renamed():
            await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        assert isinstance(self._response.stream, AsyncIterable)
        with _renamed():
            async for part in self._response.stream:
                yield part

    async def aclose(self) -> None:
        with _renamed():
            await self._response.aclose()


class _Backend(httpcore.AsyncNetworkBackend):
    """Makes connections to one server."""

    def __init__(self, target: Target, options: DialOptions, server_name: str | None) -> None:
        self._target = target
        self._options = options
        self._server_name = server_name

    async def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.AsyncNetworkStream:
        return _Stream(await dial(self._target, self._options, alpn=_ALPN, server_name=self._server_name))

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


class _Stream(httpcore.AsyncNetworkStream):
    """A wire as httpcore wants it."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._unread = b""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if not self._unread:
            with _bounded(timeout, httpcore.ReadTimeout, httpcore.ReadError):
                self._unread = await self._wire.receive()
        data, self._unread = self._unread[:max_bytes], self._unread[max_bytes:]
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        with _bounded(timeout, httpcore.WriteTimeout, httpcore.WriteError):
            await self._wire.send(buffer)

    async def aclose(self) -> None:
        await self._wire.aclose()

    def get_extra_info(self, info: str) -> Any:
        # The pool drops an idle connection on which something has come: it is the end, or what nobody asked for.
        return self._wire.stirs if info == "is_readable" else None


@contextlib.contextmanager
def _bounded(timeout: float | None, late: type[Exception], broken: type[Exception]) -> Iterator[None]:
    try:
        with anyio.fail_after(timeout):
            yield
    except TimeoutError as exc:
        raise late("it took too long") from exc
    except OSError as exc:
        raise broken(str(exc) or type(exc).__name__) from exc


@contextlib.contextmanager
def _renamed() -> Iterator[None]:
    """httpcore's errors as httpx's."""
    try:
        yield
    except tuple(_ERRORS) as exc:
        kind = next(mapped for known, mapped in _ERRORS.items() if isinstance(exc, known))
        raise kind(str(exc)) from exc
