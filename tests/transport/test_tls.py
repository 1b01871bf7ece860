"""TLS with ALPN (R61), against grpcio and against scripts."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

import anyio
import pytest
import trustme

from boxd.transport import Channel, ConnectFailed, NotHttp2, Target, TlsFailed
from boxd.transport.dial import DialOptions
from tests.fixtures import echo_server as e
from tests.fixtures.fault_server import FaultServer, Peer
from tests.transport.test_faults import serve_echo, still_fine

pytestmark = pytest.mark.anyio
Connect = Callable[..., Channel]
ServerTls = Callable[..., ssl.SSLContext]


async def nothing(peer: Peer) -> None:
    await peer.expect_eof()


async def test_calls_over_tls(connect: Connect, secure_echo: e.Running, client_tls: ssl.SSLContext) -> None:
    channel = connect(secure_echo.target, dial_options=DialOptions(ssl_context=client_tls), max_receive_bytes=None)
    body = bytes(range(256)) * 20_000
    assert await channel.unary(e.ECHO, body) == body
    async with channel.call(e.CHAT) as call:
        for number in range(20):
            await call.send(b"%d" % number + bytes(50_000))
            assert await call.receive() == b"%d" % number + bytes(50_000)
    async with channel.call(e.JOIN) as call:
        for _ in range(20):
            await call.send(bytes(300_000))
        await call.end()
        assert await call.receive() == b"20 6000000"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_r61_versions(
    connect: Connect, server_tls: ServerTls, client_tls: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    context = server_tls()
    context.minimum_version = context.maximum_version = version
    async with FaultServer(serve_echo, tls=context) as server:
        channel = connect(server.target, dial_options=DialOptions(ssl_context=client_tls))
        await still_fine(channel)
        assert dict(server.peers[0].decoder.header_table.dynamic_entries)[b":authority"] == b"localhost:%d" % (
            server.target.port
        )


@pytest.mark.row(8)
@pytest.mark.parametrize("alpn", [(), ("http/1.1",)], ids=["none", "http1"])
async def test_r61_server_without_h2(
    connect: Connect, server_tls: ServerTls, client_tls: ssl.SSLContext, alpn: tuple[str, ...]
) -> None:
    async with FaultServer(nothing, tls=server_tls(alpn=alpn), greet=False) as server:
        with pytest.raises((NotHttp2, TlsFailed)) as caught, anyio.fail_after(5):
            await connect(server.target, dial_options=DialOptions(ssl_context=client_tls)).unary(e.ECHO, b"")
        assert caught.value.unprocessed


@pytest.mark.row(5)
async def test_r61_unknown_authority(connect: Connect, server_tls: ServerTls) -> None:
    """With the system's authorities."""
    async with FaultServer(nothing, tls=server_tls(), greet=False) as server:
        with pytest.raises(TlsFailed, match="certificate"), anyio.fail_after(5):
            await connect(server.target).unary(e.ECHO, b"")


@pytest.mark.row(5)
async def test_r61_wrong_name(connect: Connect, server_tls: ServerTls, client_tls: ssl.SSLContext) -> None:
    async with FaultServer(nothing, tls=server_tls("elsewhere.example"), greet=False) as server:
        with pytest.raises(TlsFailed, match="localhost"), anyio.fail_after(5):
            await connect(server.target, dial_options=DialOptions(ssl_context=client_tls)).unary(e.ECHO, b"")


async def test_r61_client_certificate(connect: Connect, server_tls: ServerTls, authority: trustme.CA) -> None:
    context = server_tls()
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    mine = ssl.create_default_context()
    authority.configure_trust(mine)
    mine.set_alpn_protocols(["h2"])
    authority.issue_cert("client@example.org").configure_cert(mine)
    async with FaultServer(serve_echo, tls=context) as server:
        await still_fine(connect(server.target, dial_options=DialOptions(ssl_context=mine)))


@pytest.mark.row(7)
async def test_plaintext_server_behind_https(connect: Connect, client_tls: ssl.SSLContext) -> None:
    async def script(peer: Peer) -> None:
        await peer.stream.receive()
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with FaultServer(script, greet=False) as server:
        target = Target("https", "localhost", server.target.port)
        with pytest.raises(TlsFailed), anyio.fail_after(5):
            await connect(target, dial_options=DialOptions(ssl_context=client_tls)).unary(e.ECHO, b"")


@pytest.mark.row(7)
async def test_handshake_that_stalls(connect: Connect, client_tls: ssl.SSLContext) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        target = Target("https", "localhost", listener.getsockname()[1])
        options = DialOptions(ssl_context=client_tls, connect_timeout=0.2)
        with pytest.raises(ConnectFailed, match=r"0\.2 s"), anyio.fail_after(5):
            await connect(target, dial_options=options).unary(e.ECHO, b"")


@pytest.mark.row(7)
async def test_server_that_hangs_up_in_the_handshake(connect: Connect, client_tls: ssl.SSLContext) -> None:
    async def script(peer: Peer) -> None:
        await peer.stream.receive()

    async with FaultServer(script, greet=False) as server:
        target = Target("https", "localhost", server.target.port)
        with pytest.raises(TlsFailed), anyio.fail_after(5):
            await connect(target, dial_options=DialOptions(ssl_context=client_tls)).unary(e.ECHO, b"")
