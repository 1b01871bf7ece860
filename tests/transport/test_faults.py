"""Calls against a server that follows a script, frame by frame."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest
from anyio.lowlevel import checkpoint

from boxd.transport import (
    Channel,
    ConnectionOptions,
    DeadlineExceeded,
    HeadersTooLarge,
    RpcError,
    StatusCode,
)
from tests.fixtures import echo_server as e
from tests.fixtures import frames as f
from tests.fixtures.fault_server import FaultServer, Peer

pytestmark = pytest.mark.anyio
Connect = Callable[..., Channel]


async def serve_echo(peer: Peer) -> None:
    """A well-behaved server: answers each request with its body."""
    bodies: dict[int, bytes] = {}
    while True:
        frame = await peer.expect(f.HEADERS, f.DATA)
        if frame.kind == f.HEADERS:
            peer.request(frame)
        elif frame.payload:
            size = len(frame.payload)
            await peer.send(f.window_update(0, size), f.window_update(frame.stream, size))
        bodies[frame.stream] = bodies.get(frame.stream, b"") + (frame.payload if frame.kind == f.DATA else b"")
        if frame.flags & f.END_STREAM:
            body = bodies.pop(frame.stream)
            await peer.send(peer.head(frame.stream), f.data(frame.stream, body), peer.trailers(frame.stream))


async def still_fine(channel: Channel) -> None:
    assert await channel.unary(e.ECHO, b"next", timeout=5) == b"next"


async def wait_until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(5):
        while not condition():
            await checkpoint()


# -- requests


async def test_r14_headers_over_the_servers_limit(connect: Connect) -> None:
    async with FaultServer(serve_echo, settings={f.MAX_HEADER_LIST_SIZE: 1_000}) as server:
        channel = connect(server.target)
        await still_fine(channel)
        with pytest.raises(HeadersTooLarge) as caught:
            await channel.unary(e.ECHO, b"", metadata=[("x-large", "v" * 1_000)])
        assert caught.value.code == StatusCode.RESOURCE_EXHAUSTED
        await still_fine(channel)
        assert len(f.of_kind(server.peers[0].frames, f.HEADERS)) == 2


async def test_r11_bad_metadata_fails_before_any_io(connect: Connect) -> None:
    async with FaultServer(serve_echo) as server:
        channel = connect(server.target)
        with pytest.raises(ValueError, match="x-a"):
            await channel.unary(e.ECHO, b"", metadata=[("x-a", "line\nbreak")])
        assert server.peers == []
        await still_fine(channel)


# -- responses


@pytest.mark.parametrize("size", [1, 3, 50])
async def test_r15_answer_in_small_segments(connect: Connect, size: int) -> None:
    async def script(peer: Peer) -> None:
        request = await peer.expect_headers()
        answer = peer.answer(request.stream, b"one", b"", b"three" * 20)
        for start in range(0, len(answer), size):
            await peer.send(answer[start : start + size])

    async with FaultServer(script) as server, connect(server.target).call(e.COUNT) as call:
        await call.send(b"", end=True)
        assert [message async for message in call] == [b"one", b"", b"three" * 20]


@pytest.mark.parametrize("count", [0, 2, 3])
@pytest.mark.parametrize("method", [e.ECHO, e.JOIN], ids=["unary", "client-stream"])
async def test_r21_not_exactly_one_message(connect: Connect, count: int, method: e.Method[bytes, bytes]) -> None:
    async def script(peer: Peer) -> None:
        request = await peer.expect_headers()
        await peer.send(peer.answer(request.stream, *[b"x"] * count))
        await serve_echo(peer)

    async with FaultServer(script) as server:
        channel = connect(server.target)
        with pytest.raises(RpcError) as caught:
            await one_answer(channel, method)
        assert caught.value.code == StatusCode.UNIMPLEMENTED
        await still_fine(channel)


async def one_answer(channel: Channel, method: e.Method[bytes, bytes]) -> None:
    if method is e.ECHO:
        await channel.unary(method, b"")
        return
    async with channel.call(method) as call:
        await call.send(b"", end=True)
        while await call.receive() is not None:
            pass


async def test_r21_endless_answer_to_a_unary_call(connect: Connect) -> None:
    """The second message ends it: nothing is collected."""

    async def script(peer: Peer) -> None:
        request = await peer.expect_headers()
        await peer.send(peer.head(request.stream), f.data(request.stream, f.message(b"x") * 2))
        assert await peer.expect_rst(request.stream) == f.CANCEL
        await serve_echo(peer)

    async with FaultServer(script) as server:
        channel = connect(server.target)
        with pytest.raises(RpcError) as caught, anyio.fail_after(5):
            await channel.unary(e.ECHO, b"")
        assert caught.value.code == StatusCode.UNIMPLEMENTED
        await still_fine(channel)


async def test_r32_reset_after_the_trailers_changes_nothing(connect: Connect) -> None:
    async def script(peer: Peer) -> None:
        request = await peer.expect_headers()
        await peer.send(peer.answer(request.stream, b"x"), f.rst(request.stream, f.NO_ERROR))
        await serve_echo(peer)

    async with FaultServer(script) as server:
        channel = connect(server.target)
        assert await channel.unary(e.ECHO, b"") == b"x"
        await still_fine(channel)


# -- deadlines


async def test_r33_deadline_sends_rst_stream(connect: Connect) -> None:
    codes = []

    async def script(peer: Peer) -> None:
        request = await peer.expect_headers()
        codes.append(await peer.expect_rst(request.stream))
        await serve_echo(peer)

    async with FaultServer(script) as server:
        channel = connect(server.target)
        with pytest.raises(DeadlineExceeded):
            await channel.unary(e.ECHO, b"", timeout=0.1)
        await still_fine(channel)
    assert codes == [f.CANCEL]


async def test_r32_servers_cancel_at_the_deadline(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's clock is faster than our timer: still a deadline."""
    monkeypatch.setattr("boxd.transport.deadline.Deadline.remaining", lambda self: 1.0)

    async def script(peer: Peer) -> None:
        request = await peer.expect_headers()
        monkeypatch.setattr("boxd.transport.deadline.Deadline.remaining", lambda self: -0.001)
        await peer.send(f.rst(request.stream, f.CANCEL))
        await peer.expect_eof()

    async with FaultServer(script) as server:
        with pytest.raises(DeadlineExceeded):
            await connect(server.target).unary(e.ECHO, b"", timeout=1)


async def test_r33_deadline_covers_the_wait_for_a_slot(connect: Connect) -> None:
    async with FaultServer(serve_echo, settings={f.MAX_CONCURRENT_STREAMS: 1}) as server:
        channel = connect(server.target, connection_options=ConnectionOptions(max_connections=1))
        await still_fine(channel)
        async with channel.call(e.CHAT) as call:
            await call.send(b"takes the slot")
            with pytest.raises(DeadlineExceeded) as caught, anyio.fail_after(5):
                await channel.unary(e.ECHO, b"", timeout=0.1)
            assert caught.value.unprocessed
        await still_fine(channel)
        assert len(f.of_kind(server.peers[0].frames, f.HEADERS)) == 3
