"""A task is cancelled after every number of scheduler steps there is (R34, R38): whatever it was about to do, no slot,
byte, stream or task is lost, and its neighbours do not notice."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from boxd.transport import Channel, ConnectionOptions, RpcError, connector
from tests.fixtures import echo_server as e
from tests.fixtures import frames as f
from tests.fixtures.fault_server import FaultServer
from tests.transport.test_faults import serve_echo, still_fine, wait_until

pytestmark = pytest.mark.anyio
Connect = Callable[..., Channel]
Work = Callable[[Channel], Awaitable[None]]

#: Far more steps than any of the calls below takes.
MOST_STEPS = 200


async def unary(channel: Channel) -> None:
    assert await channel.unary(e.ECHO, b"question", timeout=5) == b"question"


async def bidi(channel: Channel) -> None:
    async with channel.call(e.CHAT, timeout=5) as call:
        await call.send(b"one")
        await call.send(bytes(40_000))
        await call.end()
        assert len(await call.receive() or b"") == 3
        assert len(await call.receive() or b"") == 40_000
        assert await call.receive() is None


async def server_stream(channel: Channel) -> None:
    async with channel.call(e.COUNT, timeout=5) as call:
        await call.send(b"question", end=True)
        assert [message async for message in call] == [b"question"]


async def client_stream(channel: Channel) -> None:
    async with channel.call(e.JOIN, timeout=5) as call:
        await call.send(b"one")
        await call.send(b"", end=True)
        with contextlib.suppress(RpcError):  # Both come back, where one message is due.
            await call.receive()


async def upload(channel: Channel) -> None:
    """Parks on the stream's window again and again."""
    async with channel.call(e.JOIN) as call:
        await call.send(bytes(30_000))
        await call.send(bytes(30_000), end=True)
        await call.receive()


async def cancelled_after(work: Work, channel: Channel, steps: int) -> bool:
    """Run work and cancel it after so many steps; True when it was over before."""
    finished = False
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            nonlocal finished
            await work(channel)
            finished = True

        tasks.start_soon(run)
        for _ in range(steps):
            await checkpoint()
        tasks.cancel_scope.cancel()
    return finished


def check(server: FaultServer, channel: Channel) -> None:
    """What the server saw: each stream that was opened ended once, by us or by its answer."""
    for peer in server.peers:
        opened = [one.stream for one in f.of_kind(peer.frames, f.HEADERS)]
        resets = [(one.stream, one.number) for one in f.of_kind(peer.frames, f.RST_STREAM)]
        assert opened == sorted(set(opened))
        assert len({stream for stream, _ in resets}) == len(resets)
        assert {stream for stream, _ in resets} <= set(opened)
        assert {code for _, code in resets} <= {f.CANCEL}
    assert not channel._pool._waiters
    for connection in channel._pool._connections:
        engine = connection.engine
        assert engine.open_streams == 0
        assert engine.failure is None
        assert engine._receive_window + engine._window_used == engine.options.connection_window


@pytest.mark.row(55)
@pytest.mark.parametrize("work", [unary, server_stream, client_stream, bidi], ids=lambda work: work.__name__)
@pytest.mark.parametrize("warm", [True, False], ids=["connected", "new"])
async def test_55_cancelled_at_every_step(connect: Connect, work: Work, warm: bool) -> None:
    async with FaultServer(serve_echo) as server:
        channel = connect(server.target)
        await still_fine(channel)
        for steps in range(MOST_STEPS):
            if not warm:
                channel = connect(server.target)
            finished = await cancelled_after(work, channel, steps)
            await still_fine(channel)
            if warm:
                check(server, channel)
            else:
                await channel.aclose()
            if finished:
                break
        else:
            pytest.fail("the call is never over")
        assert steps > 3


class SlowCredentials:
    """A token that takes some steps to get, is good for one call, and may be asked for by several at once."""

    def __init__(self) -> None:
        self.fetching = 0

    def current(self) -> str | None:
        return None

    async def refresh(self) -> str:
        self.fetching += 1
        try:
            for _ in range(5):
                await checkpoint()
            return "Bearer token"
        finally:
            self.fetching -= 1


@pytest.mark.row(55)
@pytest.mark.parametrize("work", [unary, bidi], ids=lambda work: work.__name__)
async def test_55_fetching_a_token(connect: Connect, work: Work) -> None:
    """With a sibling that fetches one too, and one that talks all the time."""
    credentials = SlowCredentials()
    async with FaultServer(serve_echo) as server:
        channel = connect(server.target, credentials=credentials)
        await still_fine(channel)
        async with channel.call(e.CHAT) as sibling:
            for steps in range(MOST_STEPS):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(still_fine, channel)
                    finished = await cancelled_after(work, channel, steps)
                assert credentials.fetching == 0
                await sibling.send(b"%d" % steps)
                if finished:
                    break
            else:
                pytest.fail("the call is never over")
            assert steps > 5
            await sibling.end()
            assert [int(one) async for one in sibling] == list(range(steps + 1))
        check(server, channel)


@pytest.mark.row(55)
@pytest.mark.parametrize("kind", ["resolver", "handshake"])
async def test_55_during_the_dial(connect: Connect, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others wait for the same dial, and get their connection whenever the one who asked for it goes."""
    dialing = 0
    real = connector.dial

    async def slowly(*args: Any, **options: Any) -> Any:
        nonlocal dialing
        dialing += 1
        before = kind == "resolver"
        for _ in range(5 * before):
            await checkpoint()
        wire = await real(*args, **options)
        for _ in range(5 * (not before)):
            await checkpoint()
        return wire

    monkeypatch.setattr(connector, "dial", slowly)
    async with FaultServer(serve_echo) as server:
        for steps in range(30):
            channel = connect(server.target)
            dialing = 0
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(cancelled_after, unary, channel, steps)
                await checkpoint()
                tasks.start_soon(still_fine, channel)
                tasks.start_soon(cancelled_after, bidi, channel, max(steps - 3, 0))
            assert dialing == 1
            await still_fine(channel)
            await wait_until(lambda: channel._pool._connections[0].engine.open_streams == 0)  # noqa: B023
            await channel.aclose()


@pytest.mark.row(55)
async def test_55_siblings_are_unharmed(connect: Connect) -> None:
    """A long call lives on the same connection all the time, and gets every byte."""
    async with FaultServer(serve_echo) as server:
        channel = connect(server.target)
        async with channel.call(e.CHAT) as sibling:
            for steps in range(40):
                await cancelled_after(bidi, channel, steps)
                await sibling.send(b"%d" % steps)
            await sibling.end()
            assert [int(one) async for one in sibling] == list(range(40))
        assert len(server.peers) == 1


@pytest.mark.row(55)
async def test_55_waiting_for_a_slot(connect: Connect) -> None:
    """One slot for all: a cancelled call never takes it along."""
    async with FaultServer(serve_echo, settings={f.MAX_CONCURRENT_STREAMS: 1}) as server:
        channel = connect(server.target, connection_options=ConnectionOptions(max_connections=1))
        await still_fine(channel)
        for steps in range(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(still_fine, channel)
                tasks.start_soon(cancelled_after, unary, channel, steps)
                tasks.start_soon(cancelled_after, bidi, channel, max(steps - 5, 0))
                tasks.start_soon(still_fine, channel)
        await wait_until(lambda: channel._pool._connections[0].engine.open_streams == 0)
        check(server, channel)


@pytest.mark.row(55)
async def test_55_parked_uploads(connect: Connect) -> None:
    """With a window so small that every send parks, until the server's answer."""

    async def script(peer: e.Any) -> None:
        await serve_echo(peer)

    async with FaultServer(script, settings={f.INITIAL_WINDOW_SIZE: 100}) as server:
        channel = connect(server.target)
        await still_fine(channel)
        for steps in range(60):
            await cancelled_after(upload, channel, steps)
            await still_fine(channel)
            check(server, channel)
        assert server.peers[0].number == 0
