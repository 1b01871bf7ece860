"""Connections whose peer is gone without a word, or that nobody uses, on real sockets (R47, R51, R53, R58, R59)."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest

from boxd.transport import (
    Channel,
    ConnectionLost,
    ConnectionOptions,
    KeepaliveTimeout,
    StatusCode,
)
from boxd.transport.httpx_transport import HTTP2Transport
from tests.fixtures import echo_server as e
from tests.fixtures import frames as f
from tests.fixtures.fault_server import FaultServer, Peer
from tests.transport.test_faults import serve_echo, still_fine, wait_until
from tests.transport.test_faults_connection import send_forever

pytestmark = pytest.mark.anyio
Connect = Callable[..., Channel]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ConnectionOptions]:
    """Options with shorter times than users may have."""
    monkeypatch.setattr("boxd.transport.options.MIN_KEEPALIVE_TIME", 0.01)
    return ConnectionOptions


async def silent(peer: Peer) -> None:
    """Takes a request, and reads and says nothing more."""
    await peer.expect_headers()
    await anyio.sleep_forever()


@pytest.mark.row(43)
async def test_r58_a_peer_that_is_gone(connect: Connect, quick: Callable[..., ConnectionOptions]) -> None:
    """Found while nobody reads; what waits fails, and the next call is made elsewhere."""
    options = quick(keepalive_time=0.05, keepalive_timeout=0.1)
    async with FaultServer(silent, serve_echo) as server:
        channel = connect(server.target, connection_options=options)
        async with channel.call(e.CHAT) as call:
            await call.send(b"x")
            await wait_until(lambda: channel._pool.connections == 0)
            with pytest.raises(KeepaliveTimeout) as caught:
                await call.receive()
        assert isinstance(caught.value, ConnectionLost)
        assert caught.value.code == StatusCode.UNAVAILABLE
        assert not caught.value.unprocessed
        await still_fine(channel)
        assert len(server.peers) == 2


@pytest.mark.row(43)
async def test_r58_a_peer_that_reads_nothing(connect: Connect, quick: Callable[..., ConnectionOptions]) -> None:
    """The PING cannot even be written: the writer is stuck in the kernel."""

    async def script(peer: Peer) -> None:
        await peer.expect_headers()
        await peer.send(f.settings({f.INITIAL_WINDOW_SIZE: (1 << 31) - 1}), f.window_update(0, 1 << 30))
        await anyio.sleep_forever()

    options = quick(keepalive_time=0.1, keepalive_timeout=0.1)
    async with FaultServer(script, serve_echo) as server:
        channel = connect(server.target, connection_options=options)
        async with channel.call(e.CHAT) as call:
            with pytest.raises(KeepaliveTimeout), anyio.fail_after(10):
                await send_forever(call)
        await still_fine(channel)


async def test_r58_a_slow_server_that_answers_pings_lives(
    connect: Connect, quick: Callable[..., ConnectionOptions]
) -> None:
    async def script(peer: Peer) -> None:
        request = await peer.expect_headers()
        for _ in range(3):
            await peer.send(f.frame(f.PING, f.ACK, 0, (await peer.expect(f.PING)).payload))
        await peer.send(peer.answer(request.stream, b"late"))
        await serve_echo(peer)

    async with FaultServer(script) as server:
        channel = connect(server.target, connection_options=quick(keepalive_time=0.05, keepalive_timeout=5))
        assert await channel.unary(e.ECHO, b"") == b"late"
        await still_fine(channel)
        assert len(server.peers) == 1


async def test_r58_grpcio_answers_pings(connect: Connect, echo: Any, quick: Callable[..., ConnectionOptions]) -> None:
    channel = connect(echo.target, connection_options=quick(keepalive_time=0.1, keepalive_timeout=0.1))
    async with channel.call(e.CHAT) as call:
        await call.send(b"x")
        assert await call.receive() == b"x"
        first = channel._pool._connections[0]
        await anyio.sleep(0.25)
        assert first._watch._pinged is not None
        assert first.usable
        await call.send(b"y")
        assert await call.receive() == b"y"
    await still_fine(channel)


@pytest.mark.row(33)
async def test_r53_too_many_pings(
    connect: Connect, quick: Callable[..., ConnectionOptions], caplog: pytest.LogCaptureFixture
) -> None:
    async def script(peer: Peer) -> None:
        await peer.expect_headers()
        await peer.expect(f.PING)
        goaway = f.goaway((1 << 31) - 1, f.ENHANCE_YOUR_CALM, b"too_many_pings")
        await peer.send(goaway, goaway)
        await peer.close()

    async with FaultServer(script, serve_echo) as server:
        channel = connect(server.target, connection_options=quick(keepalive_time=0.05, keepalive_timeout=5))
        with caplog.at_level(logging.WARNING, "boxd.transport"), pytest.raises(ConnectionLost) as caught:
            await channel.unary(e.ECHO, b"")
        assert caught.value.code == StatusCode.UNAVAILABLE
        assert [(one.levelname, "0.1 s" in one.message) for one in caplog.records] == [("WARNING", True)]
        await still_fine(channel)
        assert channel._pool._connections[0]._watch._options.keepalive_time == 0.1


async def test_idle_connection_is_closed_in_order(connect: Connect) -> None:
    """With a GOAWAY; the next call makes another. Calls in a row find the connection open, or make one: none fails."""
    codes = []

    async def script(peer: Peer) -> None:
        request = await peer.expect_headers()
        await peer.send(peer.answer(request.stream, b"x"))
        codes.append(await peer.expect_goaway())
        await peer.expect_eof()

    async with FaultServer(script, serve_echo) as server:
        channel = connect(server.target, connection_options=ConnectionOptions(idle_timeout=0.05))
        assert await channel.unary(e.ECHO, b"") == b"x"
        await wait_until(lambda: channel._pool.connections == 0)
        await still_fine(channel)
        assert len(server.peers) == 2
    assert codes == [f.NO_ERROR]


async def test_idle_close_in_the_moment_of_a_call(connect: Connect) -> None:
    async with FaultServer(serve_echo) as server:
        channel = connect(server.target, connection_options=ConnectionOptions(idle_timeout=0.001))
        for number in range(40):
            await still_fine(channel)
            await anyio.sleep(0.0005 * (number % 5))
        assert len(server.peers) > 1


async def test_a_long_call_is_not_idle(connect: Connect) -> None:
    async with FaultServer(serve_echo) as server:
        channel = connect(server.target, connection_options=ConnectionOptions(idle_timeout=0.02))
        async with channel.call(e.CHAT) as call:
            await call.send(b"x")
            await anyio.sleep(0.1)
            await call.end()
            assert await call.receive() == b"x"
        assert len(server.peers) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="options of Linux")
@pytest.mark.row(43)
async def test_r59_the_kernel_watches_too(connect: Connect, anyio_backend: str) -> None:
    async with FaultServer(serve_echo) as server:
        channel = connect(server.target, connection_options=ConnectionOptions(keepalive_timeout=7.5))
        await still_fine(channel)
        sock = channel._pool._connections[0]._wire.socket
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7500
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) < 60


async def test_a_kernel_that_does_not_know_the_options(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not watch then, and the calls work."""
    monkeypatch.setattr(socket, "TCP_USER_TIMEOUT", 9999, raising=False)
    monkeypatch.setattr(socket, "SO_KEEPALIVE", 9999)
    async with FaultServer(serve_echo) as server:
        await still_fine(connect(server.target))


async def test_r58_the_transport_of_httpx_too(anyio_backend: str, quick: Callable[..., ConnectionOptions]) -> None:
    options = quick(keepalive_time=0.05, keepalive_timeout=0.05)
    async with FaultServer(silent) as server:
        transport = HTTP2Transport(connection_options=options)
        async with httpx.AsyncClient(transport=transport, timeout=5) as client:
            with pytest.raises(httpx.ReadError, match="PING"):
                await client.get(f"http://127.0.0.1:{server.target.port}/")
