"""Which connection a call gets, and what happens when there is none."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.lowlevel import checkpoint

from boxd.transport import Cancelled, Channel, ConnectFailed, ConnectionOptions, DeadlineExceeded, StatusCode, Target
from boxd.transport.dial import DialOptions
from tests.fixtures import echo_server as e
from tests.fixtures import frames as f
from tests.fixtures.fault_server import FaultServer, Peer
from tests.transport.test_faults import serve_echo, still_fine, wait_until

pytestmark = pytest.mark.anyio
Connect = Callable[..., Channel]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def test_connect_refused(connect: Connect) -> None:
    options = ConnectionOptions(backoff_initial=0.01)
    channel = connect(Target("http", "localhost", free_port()), connection_options=options)
    for _ in range(2):
        with pytest.raises(ConnectFailed, match=r"refused|Errno 111") as caught, anyio.fail_after(5):
            await channel.unary(e.ECHO, b"")
        assert caught.value.code == StatusCode.UNAVAILABLE
        assert caught.value.unprocessed
        assert str(channel.target.port) in caught.value.message


async def test_refused_first_and_there_later(connect: Connect) -> None:
    port = free_port()
    channel = connect(Target("http", "127.0.0.1", port), connection_options=ConnectionOptions(backoff_initial=0))
    with pytest.raises(ConnectFailed):
        await channel.unary(e.ECHO, b"")
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        with pytest.raises(DeadlineExceeded):
            await channel.unary(e.ECHO, b"", timeout=0.1)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 300])
async def test_host_that_is_none(connect: Connect, host: str) -> None:
    """Whatever the resolver raises, the call fails with a typed error, and nothing else does."""
    with pytest.raises(ConnectFailed), anyio.fail_after(10):
        await connect(Target("http", host, 1)).unary(e.ECHO, b"")


async def test_unix_socket_that_is_none(connect: Connect) -> None:
    with pytest.raises(ConnectFailed, match="/no/such/socket"):
        await connect(Target("unix", "/no/such/socket")).unary(e.ECHO, b"")


async def test_unix_socket_where_there_are_none(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in Python on Windows."""
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(ConnectFailed, match="no Unix sockets"):
        await connect(Target("unix", "/some/socket")).unary(e.ECHO, b"")


@asynccontextmanager
async def full_listener() -> AsyncIterator[Target]:
    """A port whose queue of connections is full: the next SYN gets no answer."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(8)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        try:
            yield Target("http", *address)
        finally:
            for filler in fillers:
                filler.close()


async def test_connect_timeout(connect: Connect) -> None:
    async with full_listener() as target:
        channel = connect(target, dial_options=DialOptions(connect_timeout=0.2))
        with pytest.raises(ConnectFailed, match=r"0\.2 s") as caught, anyio.fail_after(5):
            await channel.unary(e.ECHO, b"")
        assert caught.value.unprocessed


async def test_r33_deadline_covers_connecting(connect: Connect) -> None:
    async with full_listener() as target:
        channel = connect(target)
        with pytest.raises(DeadlineExceeded), anyio.fail_after(5):
            await channel.unary(e.ECHO, b"", timeout=0.1)


async def test_r34_cancel_while_connecting(connect: Connect) -> None:
    """The waiting task gets `Cancelled` at once, not when the dial is over."""
    async with full_listener() as target:
        channel = connect(target)
        call = channel.call(e.CHAT)
        done = anyio.Event()

        async def send() -> None:
            with pytest.raises(Cancelled):
                await call.send(b"x")
            done.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            for _ in range(10):
                await checkpoint()
            call.cancel()
            with anyio.fail_after(2):
                await done.wait()


async def test_r67_close_while_connecting(connect: Connect) -> None:
    """The dial ends too: the fixture looks for what is left."""
    async with full_listener() as target:
        channel = connect(target)

        async def call() -> None:
            with pytest.raises(Cancelled):
                await channel.unary(e.ECHO, b"")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            for _ in range(10):
                await checkpoint()
            await channel.aclose()


async def test_r57_one_dial_for_all_and_it_outlives_the_first_waiter(connect: Connect) -> None:
    async with FaultServer(serve_echo) as server:
        channel = connect(server.target)
        async with anyio.create_task_group() as tasks:
            for number in range(20):

                async def one(number: int = number) -> None:
                    with anyio.CancelScope() as scope:
                        if number == 0:
                            scope.cancel()
                        await still_fine(channel)

                tasks.start_soon(one)
        assert len(server.peers) == 1


async def fill(channel: Channel, count: int) -> list[e.Call]:  # type: ignore[name-defined]
    calls = []
    for _ in range(count):
        call = channel.call(e.CHAT)
        await call.send(b"hold")
        calls.append(call)
    return calls


async def test_r48_a_full_connection_gets_a_sibling(connect: Connect) -> None:
    async with FaultServer(serve_echo, settings={f.MAX_CONCURRENT_STREAMS: 2}) as server:
        channel = connect(server.target)
        calls = await fill(channel, 5)
        await wait_until(lambda: len(server.peers) == 3)
        await still_fine(channel)
        for call in calls:
            call.cancel()
        await still_fine(channel)
        assert channel._pool.connections == 3


async def test_r48_waiting_calls_survive_a_further_connection_that_fails(connect: Connect) -> None:
    """The server takes one connection only. The call that waits for a slot gets it when it is free."""
    async with FaultServer(serve_echo, settings={f.MAX_CONCURRENT_STREAMS: 1}) as server:
        channel = connect(server.target)
        await still_fine(channel)
        dialed = anyio.Event()

        async def refuse() -> None:
            dialed.set()
            raise ConnectFailed("refused", unprocessed=True)

        channel._pool._dial = refuse  # type: ignore[assignment]
        (holder,) = await fill(channel, 1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(still_fine, channel)
            with anyio.fail_after(5):
                await dialed.wait()
            for _ in range(10):
                await checkpoint()
            holder.cancel()


async def test_r48_calls_wait_in_their_order(connect: Connect) -> None:
    async with FaultServer(serve_echo, settings={f.MAX_CONCURRENT_STREAMS: 1}) as server:
        channel = connect(server.target, connection_options=ConnectionOptions(max_connections=1))
        await still_fine(channel)
        (holder,) = await fill(channel, 1)
        order: list[int] = []

        async def one(number: int) -> None:
            await still_fine(channel)
            order.append(number)

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(one, number)
                await wait_until(lambda number=number: len(channel._pool._waiters) == number + 1)
            holder.cancel()
        assert order == list(range(20))


async def test_r48_a_cancelled_waiter_passes_its_turn_on(connect: Connect) -> None:
    """Cancelled in the very moment the slot became free for it."""
    async with FaultServer(serve_echo, settings={f.MAX_CONCURRENT_STREAMS: 1}) as server:
        channel = connect(server.target, connection_options=ConnectionOptions(max_connections=1))
        await still_fine(channel)
        (holder,) = await fill(channel, 1)
        scope = anyio.CancelScope()
        done = anyio.Event()

        async def first() -> None:
            with scope:
                await still_fine(channel)

        async def second() -> None:
            await still_fine(channel)
            done.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first)
            await wait_until(lambda: len(channel._pool._waiters) == 1)
            tasks.start_soon(second)
            await wait_until(lambda: len(channel._pool._waiters) == 2)
            holder.cancel()
            scope.cancel()
            with anyio.fail_after(5):
                await done.wait()


async def test_r60_a_connection_out_of_ids_is_replaced(connect: Connect) -> None:
    async with FaultServer(serve_echo) as server:
        channel = connect(server.target)
        await still_fine(channel)
        channel._pool._connections[0].engine.outbound.next_id = (1 << 31) - 5
        for _ in range(5):
            await still_fine(channel)
        assert len(server.peers) == 2
        assert max(one.stream for one in server.peers[0].frames) < 1 << 31


async def test_r48_lowered_limit(connect: Connect) -> None:
    async def script(peer: Peer) -> None:
        first = await peer.expect_headers()
        second = await peer.expect_headers()
        await peer.send(f.settings({f.MAX_CONCURRENT_STREAMS: 1}))
        await peer.round_trip()
        await peer.send(peer.answer(first.stream, b"1"), peer.answer(second.stream, b"2"))
        await serve_echo(peer)

    async with FaultServer(script) as server:
        channel = connect(server.target)
        results: list[bytes] = []

        async def one() -> None:
            results.append(await channel.unary(e.ECHO, b""))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one)
            tasks.start_soon(one)
        assert sorted(results) == [b"1", b"2"]
        await still_fine(channel)
