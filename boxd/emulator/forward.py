"""An HTTP/1.1 server that passes each request on to the box that its Host header names (RFC 9112, RFC 9110 7.6).

Bodies stream both ways while they arrive, and after `101 Switching Protocols` bytes pass as they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

import h11

from .listener import Listener, reset

_IDLE_SECONDS = 75.0
_READ_BYTES = 256 * 1024
_LONGEST_HEAD = 64 * 1024
# What concerns one connection only (RFC 9110, section 7.6.1), and is therefore not passed on.
_OF_ONE_CONNECTION = (b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization")

Connect = Callable[[str], contextlib.AbstractAsyncContextManager[socket.socket]]
"""Opens a connection to what a host name means, for as long as the context lasts. Raises `Refusal`."""

Headers = list[tuple[bytes, bytes]]


class Refusal(Exception):
    """A request is answered here, with an HTTP status and a text for people."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class _End:
    """One connection: h11's view of it and its two streams."""

    def __init__(self, role: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.http = h11.Connection(role, max_incomplete_event_size=_LONGEST_HEAD)
        self.reader = reader
        self.writer = writer
        self.head_only = False

    async def receive(self) -> object:
        while True:
            event = self.http.next_event()
            if event is not h11.NEED_DATA:
                return event
            self.http.receive_data(await self.reader.read(_READ_BYTES))

    async def send(self, event: h11.Event) -> None:
        data = self.http.send(event)
        if data:
            self.writer.write(data)
            await self.writer.drain()


class Forwarder:
    """Serves the boxes' pages. `connect` finds the box for a host name."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._listener = Listener(self._serve, (h11.RemoteProtocolError,))
        self.start = self._listener.start
        self.close = self._listener.close

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = _End(h11.SERVER, reader, writer)
        while True:
            try:
                request = await asyncio.wait_for(client.receive(), _IDLE_SECONDS)
                if not isinstance(request, h11.Request):
                    return
                client.head_only = request.method == b"HEAD"
                await self._handle(client, request)
            except h11.RemoteProtocolError as error:
                await _answer(client, Refusal(error.error_status_hint, f"this is no HTTP/1.1 request: {error}"))
                return
            if client.http.our_state is not h11.DONE or client.http.their_state is not h11.DONE:
                return
            client.http.start_next_cycle()

    async def _handle(self, client: _End, request: h11.Request) -> None:
        try:
            target, host = _target(request)
            async with self._connect(host) as sock:
                await self._pass_on(client, request, target, host, sock)
        except Refusal as refusal:
            await _answer(client, refusal)

    async def _pass_on(self, client: _End, request: h11.Request, target: bytes, host: str, sock: socket.socket) -> None:
        upstream = _End(h11.CLIENT, *await asyncio.open_connection(sock=sock))
        try:
            peer = client.writer.get_extra_info("peername")
            headers = _forwarded(request, host, str(peer[0]) if peer else "")
            await upstream.send(h11.Request(method=request.method, target=target, headers=headers))
            await _exchange(client, upstream)
        finally:
            upstream.writer.close()


async def _exchange(client: _End, upstream: _End) -> None:
    """Pass the request's body and the response, both at once."""
    body = asyncio.get_running_loop().create_task(_pass_request(client, upstream))
    try:
        switched = await _pass_response(client, upstream)
    finally:
        body.cancel()
        await asyncio.wait([body])
    if switched:
        await _tunnel(client, upstream)


async def _pass_request(client: _End, upstream: _End) -> None:
    """Pass the body on, then watch for a client that goes away, which ends the request."""
    with contextlib.suppress(ConnectionError, h11.RemoteProtocolError, h11.LocalProtocolError):
        while True:
            event = await client.receive()
            if isinstance(event, (h11.Data, h11.EndOfMessage)):
                await upstream.send(event)
            if not isinstance(event, h11.Data):
                break
        rest = await client.reader.read(_READ_BYTES)
        if rest:
            # The beginning of the next request.
            client.http.receive_data(rest)
            return
    upstream.writer.transport.abort()


async def _pass_response(client: _End, upstream: _End) -> bool:
    """Pass the response on; True when both sides have switched to another protocol."""
    started = False
    while True:
        try:
            event = await upstream.receive()
        except (ConnectionError, h11.RemoteProtocolError) as error:
            if started:
                # The client must see that the body is cut short: RST, not an end.
                reset(client.writer)
                raise ConnectionResetError("the box broke off its answer") from error
            await _answer(client, Refusal(502, f"the program in the box did not answer in HTTP: {error}"))
            return False
        if isinstance(event, h11.InformationalResponse):
            switching = event.status_code == 101
            headers = event.headers if switching else _for_all(event.headers)
            await client.send(h11.InformationalResponse(status_code=event.status_code, headers=headers))
            if switching:
                return True
        elif isinstance(event, h11.Response):
            started = True
            headers = _for_all(event.headers)
            await client.send(h11.Response(status_code=event.status_code, reason=event.reason, headers=headers))
        elif isinstance(event, (h11.Data, h11.EndOfMessage)):
            await client.send(event)
            if isinstance(event, h11.EndOfMessage):
                return False
        else:
            await _answer(client, Refusal(502, "the program in the box closed the connection without an answer"))
            return False


async def _tunnel(client: _End, upstream: _End) -> None:
    """Bytes both ways until both sides have ended theirs."""
    for source, target in ((upstream, client), (client, upstream)):
        target.writer.write(source.http.trailing_data[0])
    await join((client.reader, client.writer), (upstream.reader, upstream.writer))


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def join(one: Streams, other: Streams) -> None:
    """Pass bytes both ways between two connections; an end of one direction is passed on, an error ends both."""
    pumps = [asyncio.get_running_loop().create_task(_pump(a[0], b[1])) for a, b in ((one, other), (other, one))]
    try:
        done, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.wait(pumps)
    if any(pump.exception() is not None for pump in done):
        # The other side must see the error too, not an orderly end.
        for _, writer in (one, other):
            reset(writer)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_READ_BYTES):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def _answer(client: _End, refusal: Refusal) -> None:
    """Answer in place of a box; nothing when an answer has begun."""
    if client.http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
        return
    content = f"boxd emulator: {refusal.text}\n".encode()
    headers = [
        ("content-type", "text/plain; charset=utf-8"),
        ("content-length", str(len(content))),
        # The rest of the request's body is not read.
        ("connection", "close"),
    ]
    await client.send(h11.Response(status_code=refusal.status, headers=headers))
    if not client.head_only:
        await client.send(h11.Data(data=content))
    await client.send(h11.EndOfMessage())


def _target(request: h11.Request) -> tuple[bytes, str]:
    """The target in origin form, and the host. An absolute target says the host itself (RFC 9112, section 3.2.2)."""
    if request.method == b"CONNECT":
        raise Refusal(405, "this is no forward proxy: CONNECT is not possible")
    hosts = [value for name, value in request.headers if name == b"host"]
    target = request.target
    if target.lower().startswith(b"http://"):
        authority, slash, path = target[7:].partition(b"/")
        return slash + path or b"/", authority.decode("latin-1")
    if not hosts:
        raise Refusal(400, "the request has no Host header, which would name the box")
    return target, hosts[0].decode("latin-1")


def _is_upgrade(headers: h11._headers.Headers | Headers) -> bool:
    return any(name == b"upgrade" for name, _ in headers)


def _for_all(headers: h11._headers.Headers) -> Headers:
    return [(name, value) for name, value in headers.raw_items() if name.lower() not in _OF_ONE_CONNECTION]


def _forwarded(request: h11.Request, host: str, peer: str) -> Headers:
    """The headers for the box: the client's, and who the client is."""
    headers = _for_all(request.headers)
    headers.append((b"Connection", b"Upgrade" if _is_upgrade(request.headers) else b"close"))
    headers.append((b"X-Forwarded-For", peer.encode()))
    headers.append((b"X-Forwarded-Host", host.encode("latin-1")))
    headers.append((b"X-Forwarded-Proto", b"http"))
    return headers
