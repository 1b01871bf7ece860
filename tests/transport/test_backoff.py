"""A server that cannot be reached: who fails, who waits, and when another attempt is made (R57)."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest
from anyio.lowlevel import checkpoint

from boxd.transport import Channel, ConnectFailed, ConnectionLost, ConnectionOptions, DeadlineExceeded, NotHttp2, Target
from boxd.transport.backoff import Backoff
from boxd.transport.errors import NoHttp2Agreed
from boxd.transport.wire import Wire
from tests.fixtures import echo_server as e
from tests.fixtures import frames as f
from tests.fixtures.fault_server import FaultServer, Peer
from tests.transport.test_faults import serve_echo, still_fine, wait_until
from tests.transport.test_pool import free_port

Connect = Callable[..., Channel]


class Clock:
    """Seconds by hand, and no chance."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def middle(self, low: float, high: float) -> float:
        return (low + high) / 2


def by_hand(channel: Channel) -> Clock:
    """A clock for a channel's back-off."""
    clock = Clock()
    channel._pool._backoff = Backoff(channel.options, clock, clock.middle)  # type: ignore[attr-defined]
    return clock


class Dials:
    """Counts a channel's attempts to connect, and fails them while told to."""

    def __init__(self, channel: Channel) -> None:
        self.count = 0
        self.fail = True
        self._dial = channel._pool._dial  # type: ignore[attr-defined]
        channel._pool._dial = self  # type: ignore[attr-defined]

    async def __call__(self) -> Wire:
        self.count += 1
        fail = self.fail
        await checkpoint()
        if fail:
            raise ConnectFailed("nobody there", unprocessed=True)
        wire: Wire = await self._dial()
        return wire


def test_r57_times() -> None:
    clock = Clock()
    backoff = Backoff(ConnectionOptions(), clock, clock.middle)
    assert backoff.remaining == 0
    times = []
    for _ in range(13):
        backoff.failed(ConnectFailed("x"))
        times.append(backoff.remaining)
        clock.now += times[-1]
        assert backoff.remaining == 0
    assert times[:4] == pytest.approx([1, 1.6, 2.56, 4.096])
    assert times[-2:] == pytest.approx([120, 120])
    backoff.succeeded()
    assert backoff.error is None
    backoff.failed(ConnectFailed("x"))
    assert backoff.remaining == pytest.approx(1)


def test_r57_jitter() -> None:
    asked = []

    def uniform(low: float, high: float) -> float:
        asked.append((low, high))
        return high

    backoff = Backoff(ConnectionOptions(), Clock(), uniform)
    backoff.failed(ConnectFailed("x"))
    assert backoff.remaining == pytest.approx(1.2)
    assert asked == [(-0.2, 0.2)]


@pytest.mark.anyio
async def test_r57_calls_fail_at_once_until_the_next_attempt_is_due(connect: Connect) -> None:
    """Where that is later than calls wait for it."""
    async with FaultServer(serve_echo) as server:
        channel = connect(server.target, connection_options=ConnectionOptions(backoff_wait=0.5))
        clock, dials = by_hand(channel), Dials(channel)
        for attempt, delay in ((1, 1.0), (2, 1.6), (3, 2.56)):
            with pytest.raises(ConnectFailed, match=r"nobody there$"):
                await channel.unary(e.ECHO, b"")
            assert dials.count == attempt
            for _ in range(3):
                with pytest.raises(
                    ConnectFailed, match=f"nobody there .*next attempt may be made in {delay:.2g} s"
                ) as c:
                    await channel.unary(e.ECHO, b"")
                assert c.value.unprocessed
            assert dials.count == attempt
            clock.now += delay
        dials.fail = False
        await still_fine(channel)


@pytest.mark.anyio
async def test_r57_a_call_waits_for_the_next_attempt_that_is_due_soon(connect: Connect) -> None:
    async with FaultServer(serve_echo) as server:
        channel = connect(server.target, connection_options=ConnectionOptions(backoff_initial=0.03))
        dials = Dials(channel)
        for attempt in (1, 2):
            with pytest.raises(ConnectFailed, match=r"nobody there$"):
                await channel.unary(e.ECHO, b"")
            assert dials.count == attempt
        dials.fail = False
        await still_fine(channel)
        assert dials.count == 3


@pytest.mark.anyio
async def test_r57_nobody_waits_for_a_server_that_chose_another_protocol(connect: Connect) -> None:
    channel = connect(Target("http", "127.0.0.1", free_port()))
    count = 0

    async def dial() -> Wire:
        nonlocal count
        count += 1
        raise NoHttp2Agreed("it chose http/1.1", unprocessed=True)

    channel._pool._dial = dial  # type: ignore[attr-defined]
    with anyio.fail_after(0.5):
        for _ in range(3):
            with pytest.raises(NoHttp2Agreed):
                await channel.unary(e.ECHO, b"")
    assert count == 1


@pytest.mark.anyio
async def test_r57_a_call_that_waits_for_ready(connect: Connect) -> None:
    """It waits for as many attempts as it takes, or until its deadline."""
    async with FaultServer(serve_echo) as server:
        options = ConnectionOptions(backoff_initial=0.02, backoff_multiplier=1)
        channel = connect(server.target, connection_options=options)
        dials = Dials(channel)
        with pytest.raises(DeadlineExceeded):
            await channel.unary(e.ECHO, b"", timeout=0.05, wait_for_ready=True)
        results: list[bytes] = []

        async def one() -> None:
            results.append(await channel.unary(e.ECHO, b"there", timeout=5, wait_for_ready=True))

        before = dials.count
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(one)
            await wait_until(lambda: dials.count >= before + 3)
            dials.fail = False
        assert results == [b"there"] * 5
        assert len(server.peers) == 1


@pytest.mark.anyio
async def test_r57_waiting_for_ready_ends_with_the_channel(connect: Connect) -> None:
    """The timer of the next attempt goes too: the fixture looks for it."""
    channel = connect(Target("http", "127.0.0.1", free_port()))
    with pytest.raises(ConnectFailed):
        await channel.unary(e.ECHO, b"")
    with pytest.raises(DeadlineExceeded):
        await channel.unary(e.ECHO, b"", timeout=0.02, wait_for_ready=True)


@pytest.mark.row(11)
@pytest.mark.anyio
async def test_r57_a_server_that_says_nothing_counts_as_a_failure(connect: Connect) -> None:
    """Both the call on the connection and those that wait for it fail, and the next fails at once."""

    async def script(peer: Peer) -> None:
        await peer.expect_eof()

    async with FaultServer(script, greet=False) as server:
        channel = connect(server.target, connection_options=ConnectionOptions(settings_timeout=0.1, backoff_wait=0))
        errors: list[Exception] = []

        async def one() -> None:
            with pytest.raises((ConnectionLost, ConnectFailed), match="SETTINGS") as caught:
                await channel.unary(e.ECHO, b"")
            errors.append(caught.value)

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(one)
        assert sorted(type(error).__name__ for error in errors) == ["ConnectFailed", "ConnectFailed", "ConnectionLost"]
        with pytest.raises(ConnectFailed, match="next attempt"):
            await channel.unary(e.ECHO, b"")
        assert len(server.peers) == 1


@pytest.mark.anyio
async def test_r57_another_protocol_counts_as_a_failure(connect: Connect) -> None:
    async def script(peer: Peer) -> None:
        await peer.frame()
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.expect_eof()

    async with FaultServer(script, greet=False) as server:
        channel = connect(server.target, connection_options=ConnectionOptions(backoff_wait=0))
        for _ in range(2):
            with pytest.raises(NotHttp2, match="400 Bad Request"):
                await channel.unary(e.ECHO, b"")
        assert len(server.peers) == 1


@pytest.mark.anyio
async def test_r57_the_time_starts_anew_only_after_settings(connect: Connect) -> None:
    async def hang_up(peer: Peer) -> None:
        await peer.frame()

    async def greets(peer: Peer) -> None:
        await peer.greet()
        await serve_echo(peer)

    async with FaultServer(hang_up, hang_up, greets, greet=False) as server:
        channel = connect(server.target)
        clock = by_hand(channel)
        backoff = channel._pool._backoff  # type: ignore[attr-defined]
        for expected in (1.0, 1.6):
            with pytest.raises((ConnectionLost, ConnectFailed)):
                await channel.unary(e.ECHO, b"")
            await wait_until(lambda: channel._pool.connections == 0)
            assert backoff.remaining == pytest.approx(expected)
            clock.now += expected
        await still_fine(channel)
        assert backoff.error is None


@pytest.mark.anyio
async def test_r57_a_lost_connection_is_replaced_at_once(connect: Connect) -> None:
    """It has worked, so there is no reason to wait."""

    async def script(peer: Peer) -> None:
        request = await peer.expect_headers()
        await peer.send(peer.answer(request.stream, b"x"))
        await peer.close()

    async with FaultServer(script, script, serve_echo) as server:
        channel = connect(server.target)
        for _ in range(2):
            assert await channel.unary(e.ECHO, b"") == b"x"
            await wait_until(lambda: channel._pool.connections == 0)
        await still_fine(channel)


@pytest.mark.anyio
async def test_r48_a_further_connection_that_fails_is_tried_again_later(connect: Connect) -> None:
    async with FaultServer(serve_echo, settings={f.MAX_CONCURRENT_STREAMS: 1}) as server:
        channel = connect(server.target, connection_options=ConnectionOptions(backoff_initial=0.05))
        async with channel.call(e.CHAT) as holder:
            await holder.send(b"x")
            await wait_until(lambda: channel._pool._connections[0].engine.max_concurrent_streams == 1)
            dials = Dials(channel)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(still_fine, channel)
                await wait_until(lambda: dials.count == 1)
                dials.fail = False
            assert dials.count == 2
            assert len(server.peers) == 2
