"""However a call ends, its stream, slot, timer and task are gone at once, not when its channel is closed (R38)."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from boxd.transport import Channel, RpcError
from tests.fixtures import echo_server as e
from tests.fixtures import frames as f
from tests.fixtures.fault_server import FaultServer, Peer, Request
from tests.transport.leaks import background, timers
from tests.transport.matrix.bench import FAULT, FAULT_CHAT, serve, wait_until

pytestmark = pytest.mark.anyio
Way = Callable[[Channel], Awaitable[Any]]


async def returns(channel: Channel) -> None:
    assert await channel.unary(e.ECHO, b"x", timeout=60) == b"x"


async def returns_from_a_stream(channel: Channel) -> None:
    async with channel.call(e.CHAT, timeout=60) as call:
        await call.send(b"x", end=True)
        assert [message async for message in call] == [b"x"]


async def fails(channel: Channel) -> None:
    with pytest.raises(RpcError):
        await channel.unary(FAULT, b"fail", timeout=60)


async def fails_before_it_starts(channel: Channel) -> None:
    with pytest.raises(ValueError, match="x-bad"):
        await channel.unary(e.ECHO, b"", timeout=60, metadata=[("x-bad", "\n")])


async def late(channel: Channel) -> None:
    with pytest.raises(RpcError, match="timeout"):
        await channel.unary(FAULT_CHAT, b"wait", timeout=0.02)


async def cancelled(channel: Channel) -> None:
    with anyio.move_on_after(0.02):
        await channel.unary(FAULT_CHAT, b"wait", timeout=60)


async def left(channel: Channel) -> None:
    async with channel.call(e.CHAT, timeout=60) as call:
        await call.send(b"x")
        async for _ in call:
            break


async def closed(channel: Channel) -> None:
    call = channel.call(e.CHAT, timeout=60)
    await call.send(b"x")
    await call.aclose()
    await call.aclose()


async def abandoned(channel: Channel) -> None:
    """The finalizer warns, and cancels it."""
    call = channel.call(e.CHAT, timeout=60)
    await call.send(b"x")
    with pytest.warns(ResourceWarning, match="Chat was left open"):
        del call
    gc.collect()


async def raises_inside(channel: Channel) -> None:
    with contextlib.suppress(ZeroDivisionError):
        async with channel.call(e.CHAT, timeout=60) as call:
            await call.send(b"x")
            raise ZeroDivisionError


async def fault(peer: Peer, request: Request) -> None:
    if request[b":path"].endswith(b"Fault"):
        trailers = [(b":status", b"200"), (b"content-type", b"application/grpc"), (b"grpc-status", b"5")]
        await peer.send(peer.head(request.stream, trailers, end=True))


WAYS: list[Way] = [
    returns,
    returns_from_a_stream,
    fails,
    fails_before_it_starts,
    late,
    cancelled,
    left,
    closed,
    abandoned,
    raises_inside,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_r38_nothing_is_left_of_a_call(connect: Callable[..., Channel], way: Way) -> None:
    async def script(peer: Peer) -> None:
        await serve(peer, fault)

    async with FaultServer(script) as server:
        channel = connect(server.target)
        await returns(channel)
        engine = channel._pool._connections[0].engine
        await wait_until(lambda: engine.settings_acknowledged)
        await anyio.wait_all_tasks_blocked()
        before = background(), timers()
        for _ in range(3):
            await way(channel)
        await wait_until(lambda: engine.open_streams == 0 and (background(), timers()) == before)
        assert not engine._streams
        assert not channel._pool._waiters
        await returns(channel)
        # Each stream ended once on the wire too: by its answer, or by one reset.
        resets = [one.stream for one in f.of_kind(server.peers[0].frames, f.RST_STREAM)]
        assert len(resets) == len(set(resets)) <= 3
