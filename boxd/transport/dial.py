"""Making a connection's byte stream: name resolution, TCP or a Unix socket, and TLS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from boxd.transport.errors import ConnectFailed, NotHttp2, TlsFailed
from boxd.transport.options import ConnectionOptions
from boxd.transport.runtime import in_trio
from boxd.transport.sockets import keep_alive
from boxd.transport.target import Target
from boxd.transport.wire import SocketWire, Wire

if TYPE_CHECKING:
    import ssl

    from boxd.transport.asyncio_wire import AsyncioWire

DEFAULT_SILENCE = ConnectionOptions().keepalive_timeout


@dataclass(frozen=True)
class DialOptions:
    """How to connect."""

    connect_timeout: float = 20.0
    """Seconds for name resolution, TCP and the TLS handshake together."""
    ssl_context: ssl.SSLContext | None = None
    """TLS settings for `https` targets; None takes the system's certificate authorities."""


async def dial(target: Target, options: DialOptions, silence: float = DEFAULT_SILENCE) -> Wire:
    """Connect to a target. `silence` is for how many seconds the peer may leave what is sent unacknowledged. Raises
    `ConnectFailed` or a subclass; nothing was sent then, so any call may be repeated."""
    try:
        with anyio.fail_after(options.connect_timeout):
            return await _dial(target, options, silence)
    except TimeoutError as exc:
        message = f"cannot connect to {target}: no connection within {options.connect_timeout:g} s"
        raise ConnectFailed(message, unprocessed=True) from exc


async def _dial(target: Target, options: DialOptions, silence: float) -> Wire:
    try:
        wire = await _connect(target)
        keep_alive(wire.socket, silence)
    except OSError as exc:
        raise ConnectFailed(f"cannot connect to {target}: {_reasons(exc)}", unprocessed=True) from exc
    if target.scheme != "https":
        return wire
    try:
        return await _start_tls(wire, target, options)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await wire.aclose()
        raise


async def _connect(target: Target) -> SocketWire | AsyncioWire:
    """The socket: asyncio's own transport there, anyio's stream on trio."""
    unix = target.scheme == "unix"
    if in_trio():
        if unix:
            return SocketWire(await anyio.connect_unix(target.host))
        return SocketWire(await anyio.connect_tcp(target.host, target.port))
    from boxd.transport import asyncio_wire

    if unix:
        return await asyncio_wire.connect_unix(target.host)
    return await asyncio_wire.connect_tcp(target.host, target.port)


async def _start_tls(wire: Wire, target: Target, options: DialOptions) -> Wire:
    import ssl

    from boxd.transport.tls import TlsWire

    context = options.ssl_context or default_ssl_context()
    try:
        tls = TlsWire(wire, context, target.host)
        await tls.handshake()
    except ssl.SSLCertVerificationError as exc:
        reason = f"its certificate is not accepted: {exc.verify_message}"
        raise TlsFailed(f"cannot connect to {target}: {reason}", unprocessed=True) from exc
    except OSError as exc:
        raise TlsFailed(f"cannot connect to {target}: TLS handshake failed: {exc}", unprocessed=True) from exc
    if tls.alpn != "h2":
        spoken = tls.alpn or "nothing"
        raise NotHttp2(f"the server at {target} does not speak HTTP/2: it chose {spoken} by ALPN", unprocessed=True)
    return tls


def default_ssl_context() -> ssl.SSLContext:
    """TLS 1.2 or newer with the system's certificate authorities, for HTTP/2 (RFC 9113 section 9.2)."""
    import ssl

    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    return context


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
