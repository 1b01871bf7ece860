"""Making a connection's byte stream: name resolution, TCP or a Unix socket, a proxy's tunnel, and TLS."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

import anyio

from boxd.transport.addresses import connect_tcp
from boxd.transport.dial_options import DialOptions
from boxd.transport.errors import ConnectFailed, NoHttp2Agreed, TlsFailed
from boxd.transport.options import ConnectionOptions
from boxd.transport.runtime import fail_after, in_trio, shielded
from boxd.transport.sockets import keep_alive
from boxd.transport.target import Target
from boxd.transport.wire import EarlyBytes, SocketWire, Wire

if TYPE_CHECKING:
    from boxd.transport.asyncio_wire import AsyncioWire
    from boxd.transport.proxy import Proxy
    from boxd.transport.tls import TlsWire

#: Seconds that a peer may leave what is sent unacknowledged, where nothing else is said.
DEFAULT_SILENCE = ConnectionOptions().keepalive_timeout

__all__ = ["DialOptions", "dial"]

#: What is offered by ALPN (RFC 7301) where only HTTP/2 will do.
HTTP2_ONLY = ("h2",)


async def dial(
    target: Target,
    options: DialOptions,
    silence: float = DEFAULT_SILENCE,
    alpn: Sequence[str] = HTTP2_ONLY,
    server_name: str | None = None,
) -> Wire:
    """Connect to a target, through the proxy that leads to it. `silence` is for how many seconds the peer may leave
    what is sent unacknowledged; `alpn` are the protocols to offer over TLS, of which the server must choose `h2` where
    it is offered; `server_name` is the name that its certificate must have, by default the target's host. Raises
    `ConnectFailed` or a subclass; nothing was sent then, so any call may be repeated."""
    attempt = _Attempt(target, options, silence, alpn, server_name)
    try:
        async with fail_after(options.connect_timeout):
            return await attempt.run()
    except TimeoutError as exc:
        within = f"within {options.connect_timeout:g} s"
        if attempt.step == "TLS":
            raise attempt.failed(f"TLS handshake failed: it did not end {within}", TlsFailed) from exc
        raise attempt.failed(f"no {attempt.step} {within}") from exc


class _Attempt:
    """One attempt to connect, and how far it has come."""

    def __init__(
        self, target: Target, options: DialOptions, silence: float, alpn: Sequence[str], server_name: str | None
    ) -> None:
        self._target = target
        self._options = options
        self._silence = silence
        self._alpn = alpn
        self._server_name = server_name or target.host
        self._proxy = options.proxy_for(target)
        self.step = "connection"

    def failed(self, reason: str, kind: type[ConnectFailed] = ConnectFailed) -> ConnectFailed:
        """The error for a reason; it names the server and the proxy."""
        through = "" if self._proxy is None else f" through the proxy {self._proxy}"
        return kind(f"cannot connect to {self._target}{through}: {reason}", unprocessed=True)

    async def run(self) -> Wire:
        """Every step in turn. What is there of a connection is closed when one fails."""
        target, proxy = self._target, self._proxy
        hop = target if proxy is None else proxy.target
        try:
            opened = await _connect(hop)
        except OSError as exc:
            raise self.failed(_reasons(exc)) from exc
        keep_alive(opened.socket, self._silence)
        wire: Wire = opened
        try:
            if proxy is not None:
                if proxy.scheme == "https":
                    wire = await self._start_tls(wire, proxy.host, ("http/1.1",), "the proxy: ")
                wire = await self._tunnel(wire, proxy)
            if target.scheme != "https":
                return wire
            tls = await self._start_tls(wire, self._server_name, self._alpn)
            if "h2" in self._alpn and tls.alpn != "h2":
                raise self._no_http2(tls.alpn)
            return tls
        except BaseException:
            async with shielded():
                await wire.aclose()
            raise

    async def _tunnel(self, wire: Wire, proxy: Proxy) -> Wire:
        """Have the proxy connect to the target."""
        from boxd.transport.tunnel import ConnectReply, NotAProxy, connect_request

        self.step = "answer from the proxy"
        target, reply = self._target, ConnectReply()
        try:
            await wire.send(connect_request(target.host, target.port, proxy.authorization))
            complete = False
            while not complete:
                data = await wire.receive()
                if not data:
                    raise self.failed("the proxy closed the connection without an answer")
                complete = reply.feed(data)
        except NotAProxy as exc:
            raise self.failed(f"the proxy is no HTTP proxy: {exc}") from exc
        except OSError as exc:
            raise self.failed(f"the connection to the proxy broke: {exc}") from exc
        if not reply.accepted:
            raise self.failed(f"the proxy refuses: {reply.refusal(proxy.authorization is not None)}")
        return EarlyBytes(wire, reply.rest) if reply.rest else wire

    async def _start_tls(self, wire: Wire, name: str, alpn: Sequence[str], whose: str = "") -> TlsWire:
        from boxd.transport.tls import TlsWire, tls_failure, tls_reason

        self.step = "TLS"
        try:
            context = self._options.context
        except OSError as exc:
            raise self.failed(str(exc), TlsFailed) from exc
        try:
            tls = TlsWire(wire, context, name, alpn)
            await tls.handshake()
        except (OSError, ValueError) as exc:  # ValueError: a name that no certificate can have.
            if tls_reason(exc).endswith("ALERT_NO_APPLICATION_PROTOCOL") and not whose:
                raise self._no_http2(None) from exc
            reason = tls_failure(exc) if isinstance(exc, OSError) else f"TLS handshake failed: {exc}"
            raise self.failed(whose + reason, TlsFailed) from exc
        return tls

    def _no_http2(self, chosen: str | None) -> NoHttp2Agreed:
        spoken = chosen or "nothing"
        error = NoHttp2Agreed(
            f"the server at {self._target} does not speak HTTP/2: it chose {spoken} by ALPN", unprocessed=True
        )
        error.alpn = chosen
        return error


async def _connect(target: Target) -> SocketWire | AsyncioWire:
    """The socket: asyncio's own transport there, anyio's stream on trio."""
    if target.scheme != "unix":
        return await connect_tcp(target.host, target.port)
    if not hasattr(socket, "AF_UNIX"):
        raise OSError("this Python has no Unix sockets: use 'http://host:port'")
    if in_trio():
        return SocketWire(await anyio.connect_unix(target.host))
    from boxd.transport import asyncio_wire

    return await asyncio_wire.connect_unix(target.host)


def _reasons(exc: BaseException) -> str:
    """The message of every address that was tried."""
    causes: list[BaseException] = []
    _leaves(exc, causes)
    return "; ".join(dict.fromkeys(str(cause) or type(cause).__name__ for cause in causes))


def _leaves(exc: BaseException, found: list[BaseException]) -> None:
    """anyio hides the errors of several addresses in a group, as the cause of one that says nothing."""
    inner = getattr(exc, "exceptions", None)
    if inner is not None:
        for one in inner:
            _leaves(one, found)
    elif isinstance(exc.__cause__, BaseException) and not getattr(exc, "errno", None):
        _leaves(exc.__cause__, found)
    else:
        found.append(exc)
