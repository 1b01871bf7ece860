"""Calls that move much data have connections of their own (R43, R48)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from boxd.transport import Call, Cancelled, Channel
from boxd.transport.http2.options import EngineOptions
from tests.fixtures import echo_server as e
from tests.fixtures import frames as f
from tests.fixtures.fault_server import FaultServer, Peer
from tests.transport.test_faults import serve_echo, still_fine, wait_until

pytestmark = pytest.mark.anyio
Connect = Callable[..., Channel]


def windows(peer: Peer) -> tuple[int, int]:
    """What a client announced: a stream's window, and the connection's."""
    settings = f.of_kind(peer.frames, f.SETTINGS)[0].payload
    pairs = {settings[i : i + 2]: int.from_bytes(settings[i + 2 : i + 6], "big") for i in range(0, len(settings), 6)}
    update = next(one for one in peer.frames if one.kind == f.WINDOW_UPDATE and one.stream == 0)
    return pairs[f.INITIAL_WINDOW_SIZE.to_bytes(2, "big")], 65_535 + update.number


async def test_r43_bulk_calls_have_their_own_connection_and_larger_windows(connect: Connect) -> None:
    async with FaultServer(serve_echo) as server:
        channel = connect(server.target)
        await still_fine(channel)
        assert await channel.unary(e.ECHO, b"x" * 100, bulk=True) == b"x" * 100
        async with channel.call(e.CHAT, bulk=True) as call:
            await call.send(b"y", end=True)
            assert [one async for one in call] == [b"y"]
        await still_fine(channel)
        ordinary, bulk = server.peers
        assert windows(ordinary) == (4 << 20, 16 << 20)
        assert windows(bulk) == (16 << 20, 32 << 20)
        assert [len(f.of_kind(peer.frames, f.HEADERS)) for peer in server.peers] == [2, 2]
        assert "connections=2" in repr(channel)


async def test_r43_windows_that_are_larger_already_stay(connect: Connect) -> None:
    async with FaultServer(serve_echo) as server:
        options = EngineOptions(stream_window=64 << 20, connection_window=256 << 20)
        channel = connect(server.target, engine_options=options)
        await channel.unary(e.ECHO, b"", bulk=True)
        assert windows(server.peers[0]) == (64 << 20, 256 << 20)


async def test_r67_closing_ends_both(connect: Connect) -> None:
    async with FaultServer(serve_echo) as server:
        channel = connect(server.target)
        calls: list[Call[bytes, bytes]] = [channel.call(e.CHAT, bulk=bulk) for bulk in (False, True)]
        for call in calls:
            await call.send(b"x")
        await channel.aclose()
        for call in calls:
            with pytest.raises(Cancelled):
                await call.receive()
        await wait_until(lambda: all(f.of_kind(peer.frames, f.GOAWAY) for peer in server.peers))
        assert len(server.peers) == 2
