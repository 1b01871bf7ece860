"""Stream ids run out after 2^30 calls: the connection is replaced, and no call notices (R60)."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest

from boxd.transport import Channel
from tests.fixtures import echo_server as e
from tests.fixtures import frames as f
from tests.fixtures.fault_server import FaultServer
from tests.transport.test_faults import serve_echo, still_fine, wait_until

pytestmark = pytest.mark.anyio
Connect = Callable[..., Channel]
LAST = (1 << 31) - 1


async def test_r60_calls_at_once_when_ids_run_out(connect: Connect) -> None:
    """Some get the last ids, the others a new connection; a stream that is open goes on, and then the old one goes."""
    async with FaultServer(serve_echo) as server:
        channel = connect(server.target)
        await still_fine(channel)
        old = channel._pool._connections[0]
        async with channel.call(e.CHAT) as call:
            await call.send(b"be")
            old.engine.outbound.next_id = LAST - 6
            async with anyio.create_task_group() as tasks:
                for _ in range(10):
                    tasks.start_soon(still_fine, channel)
            await wait_until(lambda: old.engine.open_streams == 1)
            assert not old.usable
            await call.send(b"fore", end=True)
            assert [one async for one in call] == [b"be", b"fore"]
        await wait_until(lambda: channel._pool.connections == 1)
        first, second = server.peers
        ids = [one.stream for one in f.of_kind(first.frames, f.HEADERS)]
        assert ids == sorted(ids)
        assert LAST - 6 <= ids[-1] <= LAST
        assert len(ids) + len(f.of_kind(second.frames, f.HEADERS)) == 12


async def test_r60_ids_from_the_middle_on(connect: Connect) -> None:
    """Nothing is special about large ids."""
    async with FaultServer(serve_echo) as server:
        channel = connect(server.target)
        await still_fine(channel)
        channel._pool._connections[0].engine.outbound.next_id = (1 << 30) + 1
        for _ in range(3):
            await still_fine(channel)
        assert [one.stream for one in f.of_kind(server.peers[0].frames, f.HEADERS)][1:] == [
            (1 << 30) + 1,
            (1 << 30) + 3,
            (1 << 30) + 5,
        ]
