"""How connections end, against a scripted server: GOAWAY, loss, other protocols, closing (R45 to R54, R67)."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest
from anyio.lowlevel import checkpoint

from boxd.transport import (
    Call,
    Cancelled,
    Channel,
    ChannelClosed,
    ConnectionLost,
    ConnectionOptions,
    NotHttp2,
    ProtocolViolation,
    RpcError,
    StatusCode,
)
from tests.fixtures import echo_server as e
from tests.fixtures import frames as f
from tests.fixtures.fault_server import FaultServer, Peer
from tests.transport.test_faults import serve_echo, still_fine, wait_until

pytestmark = pytest.mark.anyio
Connect = Callable[..., Channel]
IMPATIENT = ConnectionOptions(settings_timeout=0.1)


async def test_r51_goaway_in_the_middle_of_a_stream(connect: Connect) -> None:
    """The stream runs on; new calls take a new connection; the old one is closed when the stream is over."""
    first_closed = anyio.Event()

    async def old(peer: Peer) -> None:
        request = await peer.expect_headers()
        await peer.send(peer.head(request.stream), f.data(request.stream, f.message(b"before")))
        await peer.send(f.goaway((1 << 31) - 1, f.NO_ERROR, b"max_age"))
        await peer.round_trip()
        await peer.send(f.goaway(request.stream))
        body = await peer.expect_body(request.stream)
        await peer.send(f.data(request.stream, f.message(b"after") + body), peer.trailers(request.stream))
        await peer.expect_eof()
        first_closed.set()

    async with FaultServer(old, serve_echo) as server:
        channel = connect(server.target)
        async with channel.call(e.CHAT) as call:
            await call.send(b"one")
            assert await call.receive() == b"before"
            await wait_until(lambda: channel._pool._free() is None)
            await still_fine(channel)
            assert len(server.peers) == 2
            await call.send(b"two", end=True)
            assert [message async for message in call] == [b"after", b"two"]
        with anyio.fail_after(5):
            await first_closed.wait()
        await still_fine(channel)
        assert len(server.peers) == 2


async def test_r51_goaway_that_leaves_a_call_out(connect: Connect) -> None:
    """It is sent again, on a new connection."""

    async def script(peer: Peer) -> None:
        await peer.expect_headers()
        await peer.send(f.goaway(0))
        await peer.expect_eof()

    async with FaultServer(script, serve_echo) as server:
        await still_fine(connect(server.target))
        assert len(server.peers) == 2


async def test_r52_goaway_and_fin_together(connect: Connect) -> None:
    async def script(peer: Peer) -> None:
        await peer.expect_headers()
        await peer.send(f.goaway(0))
        await peer.close()

    async with FaultServer(script, serve_echo) as server:
        await still_fine(connect(server.target))


@pytest.mark.parametrize("abort", [False, True], ids=["fin", "rst"])
@pytest.mark.parametrize("after", ["headers", "message", "half a message", "half a frame"])
async def test_r54_connection_lost(connect: Connect, abort: bool, after: str) -> None:
    async def script(peer: Peer) -> None:
        request = await peer.expect(f.HEADERS)
        await peer.expect(f.DATA)
        peer.request(request)
        if after != "headers":
            await peer.send(peer.head(request.stream), f.data(request.stream, f.message(b"one")))
            await peer.round_trip()
        if after == "half a message":
            await peer.send(f.data(request.stream, f.message(b"x" * 100)[:50]))
        if after == "half a frame":
            await peer.send(f.data(request.stream, f.message(b"x" * 100))[:50])
        await (peer.abort() if abort else peer.close())

    async with FaultServer(script, serve_echo) as server:
        channel = connect(server.target)
        async with channel.call(e.COUNT) as call:
            await call.send(b"", end=True)
            if after != "headers":
                assert await call.receive() == b"one"
            with pytest.raises(ConnectionLost) as caught, anyio.fail_after(5):
                await call.receive()
        assert caught.value.code == StatusCode.UNAVAILABLE
        assert not caught.value.unprocessed
        await still_fine(channel)


async def test_idle_connection_closed_by_the_server(connect: Connect) -> None:
    closed = anyio.Event()

    async def script(peer: Peer) -> None:
        request = await peer.expect_headers()
        await peer.send(peer.answer(request.stream, b"x"))
        await peer.close()
        closed.set()

    async with FaultServer(script, serve_echo) as server:
        channel = connect(server.target)
        assert await channel.unary(e.ECHO, b"") == b"x"
        await closed.wait()
        await wait_until(lambda: channel._pool.connections == 0)
        await still_fine(channel)


async def test_r62_http1_server_is_told_at_once(connect: Connect) -> None:
    async def script(peer: Peer) -> None:
        await peer.frame()
        await peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await peer.expect_eof()

    async with FaultServer(script, greet=False) as server:
        channel = connect(server.target)
        with pytest.raises(NotHttp2, match="400 Bad Request") as caught, anyio.fail_after(2):
            await channel.unary(e.ECHO, b"")
        assert caught.value.code == StatusCode.UNAVAILABLE


@pytest.mark.parametrize("noise", [b"SSH-2.0-OpenSSH_9.6\r\n", bytes(100), f.ping()], ids=["ssh", "zeros", "ping"])
async def test_r45_not_http2_at_all(connect: Connect, noise: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.frame()
        await peer.send(noise)
        await peer.expect_eof()

    async with FaultServer(script, greet=False) as server:
        with pytest.raises(RpcError) as caught, anyio.fail_after(2):
            await connect(server.target).unary(e.ECHO, b"")
        assert isinstance(caught.value, (ProtocolViolation, NotHttp2))


async def test_connection_fault_is_told_to_the_server(connect: Connect) -> None:
    codes = []

    async def script(peer: Peer) -> None:
        await peer.expect_headers()
        await peer.send(f.frame(f.PING, 0, 0, b"short"))
        codes.append(await peer.expect_goaway())
        await peer.expect_eof()

    async with FaultServer(script, serve_echo) as server:
        channel = connect(server.target)
        with pytest.raises(ProtocolViolation):
            await channel.unary(e.ECHO, b"")
        await still_fine(channel)
    assert codes == [f.FRAME_SIZE_ERROR]


async def test_r47_settings_timeout(connect: Connect) -> None:
    """A server that accepts and says nothing."""

    async def script(peer: Peer) -> None:
        await peer.expect_eof()

    async with FaultServer(script, greet=False) as server:
        with pytest.raises(ConnectionLost, match="SETTINGS") as caught, anyio.fail_after(5):
            await connect(server.target, connection_options=IMPATIENT).unary(e.ECHO, b"")
        assert caught.value.code == StatusCode.UNAVAILABLE


# -- closing


async def test_r67_close_fails_open_calls_with_cancelled(connect: Connect) -> None:
    opened = anyio.Event()
    codes = []

    async def script(peer: Peer) -> None:
        await peer.expect_headers()
        opened.set()
        codes.append(await peer.expect_goaway())
        await peer.expect_eof()

    async with FaultServer(script) as server:
        channel = connect(server.target)
        errors: list[RpcError] = []

        async def one() -> None:
            with pytest.raises(Cancelled) as caught:
                await channel.unary(e.ECHO, b"")
            errors.append(caught.value)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one)
            await opened.wait()
            await channel.aclose()
        await channel.aclose()
        with pytest.raises(ChannelClosed):
            await channel.unary(e.ECHO, b"")
    assert [error.code for error in errors] == [StatusCode.CANCELLED]
    assert codes == [f.NO_ERROR]


async def test_r67_two_tasks_close_at_once(connect: Connect) -> None:
    async with FaultServer(serve_echo) as server:
        channel = connect(server.target)
        await still_fine(channel)
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(channel.aclose)


async def test_r67_close_with_a_server_that_reads_nothing(connect: Connect) -> None:
    """The last words have a second; then the socket goes."""

    async def script(peer: Peer) -> None:
        await peer.expect_headers()
        await peer.send(f.settings({f.INITIAL_WINDOW_SIZE: (1 << 31) - 1}), f.window_update(0, 1 << 30))
        await anyio.sleep_forever()

    async with FaultServer(script) as server:
        channel = connect(server.target)
        async with channel.call(e.CHAT) as call, anyio.create_task_group() as tasks:
            await call.send(b"first")
            tasks.start_soon(expect_cancelled, call)
            await wait_until(lambda: channel._pool._connections[0].engine.outbound.window > 1 << 29)
            await checkpoint()
            with anyio.fail_after(4):
                await channel.aclose()


async def expect_cancelled(call: Call[bytes, bytes]) -> None:
    with pytest.raises(Cancelled):
        await send_forever(call)


async def send_forever(call: Call[bytes, bytes]) -> None:
    while True:
        await call.send(bytes(1 << 20))
