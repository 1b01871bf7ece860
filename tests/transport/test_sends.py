"""Several tasks that send, sends that are cancelled, and calls that are dropped (R34, R41)."""

from __future__ import annotations

import gc
from collections.abc import Callable

import anyio
import pytest
from anyio.lowlevel import checkpoint

from boxd.transport import Channel
from tests.fixtures import echo_server as e
from tests.fixtures import frames as f
from tests.fixtures.fault_server import FaultServer, Peer
from tests.transport.test_faults import serve_echo, still_fine, wait_until

pytestmark = pytest.mark.anyio
Connect = Callable[..., Channel]
CLOSED = {f.INITIAL_WINDOW_SIZE: 0}


async def serve_rest(peer: Peer, stream: int) -> None:
    """Answer a request with the body that is still to come, and then all others."""
    body = b""
    while True:
        frame = await peer.expect(f.DATA)
        body += frame.payload
        if frame.flags & f.END_STREAM:
            await peer.send(peer.head(stream), f.data(stream, body), peer.trailers(stream))
            await serve_echo(peer)


async def test_r34_a_cancelled_send_is_taken_back(connect: Connect) -> None:
    """However often: nothing piles up, and what is sent later is all that is sent."""
    opened = anyio.Event()

    async def script(peer: Peer) -> None:
        request = await peer.expect_headers()
        await opened.wait()
        await peer.send(f.window_update(request.stream, 1 << 20))
        await serve_rest(peer, request.stream)

    async with FaultServer(script, settings=CLOSED) as server:
        channel = connect(server.target)
        await wait_for_settings(channel)
        async with channel.call(e.CHAT) as call:
            for _ in range(100):
                with anyio.move_on_after(0.001) as scope:
                    await call.send(bytes(100_000), end=True)
                assert scope.cancelled_caught
                stream = call._exchange.stream
                assert stream is not None
                assert stream.drained
                assert not stream.end_queued
            assert call._exchange._replay is not None
            assert call._exchange._replay.pieces == []
            opened.set()
            await call.send(b"one")
            await call.send(b"two", end=True)
            assert [one async for one in call] == [b"one", b"two"]


async def wait_for_settings(channel: Channel) -> None:
    """Have a connection whose server has spoken: before that a stream is given the default window."""
    connection = await channel._pool.acquire(None)
    await wait_until(lambda: connection.engine.established)  # type: ignore[attr-defined]


async def test_r34_a_message_of_which_a_part_has_left_goes_on(connect: Connect) -> None:
    opened = anyio.Event()

    async def script(peer: Peer) -> None:
        request = await peer.expect_headers()
        await peer.send(f.window_update(request.stream, 50))
        await opened.wait()
        await peer.send(f.window_update(request.stream, 1 << 20))
        await serve_rest(peer, request.stream)

    async with FaultServer(script, settings=CLOSED) as server:
        channel = connect(server.target)
        await wait_for_settings(channel)
        async with channel.call(e.CHAT) as call:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(call.send, b"a" * 100)
                    await wait_until(lambda: bool(server.peers) and half_sent(call))
                    scope.cancel()
            with anyio.move_on_after(0.001):
                await call.send(b"never")
            opened.set()
            await call.send(b"b", end=True)
            assert [one async for one in call] == [b"a" * 100, b"b"]


def half_sent(call: object) -> bool:
    stream = call._exchange.stream  # type: ignore[attr-defined]
    return stream is not None and stream.outbox_size == 55


async def test_r41_senders_have_their_turns_in_order(connect: Connect) -> None:
    """Also the one that half-closes, and one that gives up in between."""
    opened = anyio.Event()

    async def script(peer: Peer) -> None:
        request = await peer.expect_headers()
        await opened.wait()
        await peer.send(f.window_update(request.stream, 1 << 20))
        await serve_rest(peer, request.stream)

    async with FaultServer(script, settings=CLOSED) as server:
        channel = connect(server.target)
        await wait_for_settings(channel)
        call = channel.call(e.CHAT)
        gone = anyio.CancelScope()

        async def give_up() -> None:
            with gone:
                await call.send(b"no")

        async with call, anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(call.send, b"%d" % number)
                await let_it_run()
            tasks.start_soon(give_up)
            await let_it_run()
            tasks.start_soon(call.end)
            await let_it_run()
            gone.cancel()
            opened.set()
            assert [one async for one in call] == [b"0", b"1", b"2", b"3", b"4"]


async def let_it_run() -> None:
    for _ in range(5):
        await checkpoint()


async def test_r34_a_dropped_call_is_cancelled_with_a_warning(connect: Connect) -> None:
    codes = []

    async def script(peer: Peer) -> None:
        request = await peer.expect_headers()
        codes.append(await peer.expect_rst(request.stream))
        await serve_echo(peer)

    async with FaultServer(script) as server:
        channel = connect(server.target)
        call = channel.call(e.CHAT)
        await call.send(b"x")
        with pytest.warns(ResourceWarning, match="Chat was left open and is cancelled now"):
            del call
        gc.collect()
        await wait_until(lambda: codes == [f.CANCEL])
        await still_fine(channel)


async def test_r34_no_warning_for_a_call_that_is_over_or_never_began(
    connect: Connect, recwarn: pytest.WarningsRecorder
) -> None:
    async with FaultServer(serve_echo) as server:
        channel = connect(server.target)
        channel.call(e.CHAT)
        call = channel.call(e.CHAT)
        await call.send(b"x", end=True)
        assert [one async for one in call] == [b"x"]
        del call
        async with channel.call(e.CHAT) as left:
            await left.send(b"x")
        del left
        gc.collect()
    assert [one for one in recwarn if issubclass(one.category, ResourceWarning)] == []
