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
