"""Calls that are sent again without being asked, and those that must not be (R54, R55)."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest
from anyio.lowlevel import checkpoint

from boxd.transport import Cancelled, Channel, ConnectionLost, DeadlineExceeded, StreamRefused
from boxd.transport.errors import ConnectFailed, RpcError
from boxd.transport.retry import REPLAY_LIMIT, TRANSPARENT_RETRIES, Replay, retry_delay
from tests.fixtures import echo_server as e
from tests.fixtures import frames as f
from tests.fixtures.fault_server import FaultServer, Peer
from tests.transport.test_faults import serve_echo, still_fine

Connect = Callable[..., Channel]


def test_r55_only_what_was_not_processed() -> None:
    assert retry_delay(StreamRefused("", unprocessed=True), 1) == 0
    assert retry_delay(ConnectionLost("", unprocessed=True), 1) == 0
    for error in (StreamRefused(""), ConnectionLost(""), ConnectFailed("", unprocessed=True), RpcError("")):
        assert retry_delay(error, 1) is None


def test_r55_no_hot_loop() -> None:
    error = StreamRefused("", unprocessed=True)
    delays = [retry_delay(error, attempt) or 0 for attempt in range(1, TRANSPARENT_RETRIES + 1)]
    assert delays == sorted(delays)
    assert 0.2 < sum(delays) < 1
    assert retry_delay(error, TRANSPARENT_RETRIES + 1) is None


def test_replay_is_bounded() -> None:
    replay = Replay()
    replay.add(bytes(REPLAY_LIMIT), False)
    assert len(replay.pieces) == 1
    replay.add(b"x", False)
    assert replay.pieces == []
    assert not replay.possible


async def refuse_first(peer: Peer) -> None:
    """Refuses the first stream when its body is complete, and serves all others."""
    request = await peer.expect_headers()
    while not (await peer.expect(f.DATA)).flags & f.END_STREAM:
        pass
    await peer.send(f.rst(request.stream, f.REFUSED_STREAM))
    await serve_echo(peer)


@pytest.mark.anyio
async def test_r55_a_refused_stream_is_replayed(connect: Connect) -> None:
    async with FaultServer(refuse_first) as server:
        channel = connect(server.target)
        async with channel.call(e.CHAT, timeout=5) as call:
            for number in range(5):
                await call.send(b"%d" % number)
            await call.end()
            assert [one async for one in call] == [b"0", b"1", b"2", b"3", b"4"]
        assert len(f.of_kind(server.peers[0].frames, f.HEADERS)) == 2


@pytest.mark.anyio
async def test_r55_a_stream_left_out_by_goaway_is_replayed_elsewhere(connect: Connect) -> None:
    async def script(peer: Peer) -> None:
        await peer.expect_headers()
        await peer.expect(f.DATA)
        await peer.send(f.goaway(0))
        await peer.expect_eof()

    async with FaultServer(script, serve_echo) as server, connect(server.target).call(e.CHAT) as call:
        await call.send(b"before")
        async with anyio.create_task_group() as tasks:
            received: list[bytes] = []

            async def read() -> None:
                received.extend([one async for one in call])

            tasks.start_soon(read)
            await checkpoint()
            await call.send(b"after")
            await call.end()
        assert received == [b"before", b"after"]


@pytest.mark.anyio
async def test_r55_not_after_the_response_began(connect: Connect) -> None:
    async def script(peer: Peer) -> None:
        request = await peer.expect_headers()
        await peer.send(peer.head(request.stream), f.rst(request.stream, f.REFUSED_STREAM))
        await serve_echo(peer)

    async with FaultServer(script) as server:
        channel = connect(server.target)
        async with channel.call(e.CHAT) as call:
            await call.send(b"x")
            with pytest.raises(StreamRefused) as caught:
                await call.receive()
        assert not caught.value.unprocessed
        await still_fine(channel)
        assert len(f.of_kind(server.peers[0].frames, f.HEADERS)) == 2


@pytest.mark.anyio
async def test_r54_not_when_the_server_may_have_seen_it(connect: Connect) -> None:
    async def script(peer: Peer) -> None:
        await peer.expect_headers()
        await peer.close()

    async with FaultServer(script, serve_echo) as server:
        channel = connect(server.target)
        with pytest.raises(ConnectionLost):
            await channel.unary(e.ECHO, b"")
        async with channel.call(e.CHAT) as call:
            await call.send(b"x", end=True)
            assert await call.receive() == b"x"
        assert len(server.peers) == 2


async def always_refuse(peer: Peer) -> None:
    while True:
        request = await peer.expect_headers()
        await peer.send(f.rst(request.stream, f.REFUSED_STREAM))


@pytest.mark.anyio
@pytest.mark.parametrize("how", ["give up", "deadline", "cancel"])
async def test_r55_refused_for_ever(connect: Connect, how: str) -> None:
    """The end comes in time whichever way, also in the middle of a repetition."""
    async with FaultServer(always_refuse) as server:
        channel = connect(server.target)
        async with channel.call(e.CHAT, timeout=0.05 if how == "deadline" else None) as call:
            expected = {"give up": StreamRefused, "deadline": DeadlineExceeded, "cancel": Cancelled}[how]
            async with anyio.create_task_group() as tasks:

                async def receive() -> None:
                    with pytest.raises(expected):
                        await call.receive()

                with anyio.fail_after(5):
                    await call.send(b"x")
                    tasks.start_soon(receive)
                    if how == "cancel":
                        await anyio.sleep(0.03)
                        call.cancel()
        assert len(f.of_kind(server.peers[0].frames, f.HEADERS)) <= 1 + TRANSPARENT_RETRIES
