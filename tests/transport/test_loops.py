"""A channel and event loops: one at a time, several one after the other, and processes (R65, R66)."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from typing import Any

import anyio
import pytest
import trio

from boxd.transport import Channel, RpcError, WrongLoop
from boxd.transport.runtime import current_runtime
from tests.fixtures import echo_server as e
from tests.transport.leaks import sockets


async def once(channel: Channel) -> bytes:
    return await channel.unary(e.ECHO, b"x", timeout=5)


def closed_down_to(count: int) -> bool:
    """The server's ends of the connections are this process's too, and go a moment later than ours."""
    end = time.monotonic() + 5
    while sockets() > count and time.monotonic() < end:
        time.sleep(0.01)
    return sockets() <= count


def test_r66_two_runs_with_one_channel(echo: e.Running) -> None:
    """Nothing is closed in between: the end of the loop does it."""
    before = sockets()
    channel = Channel(echo.target)
    for _ in range(3):
        assert asyncio.run(once(channel)) == b"x"
        assert trio.run(once, channel) == b"x"
    asyncio.run(channel.aclose())
    assert closed_down_to(before)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="this Python has no eager tasks")
def test_a_background_task_begins_after_it_is_spawned(echo: e.Running) -> None:
    """Also on a loop whose tasks begin at once."""
    order: list[str] = []

    async def background() -> None:
        order.append("in the background")

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
        current_runtime().spawn(background, "one")
        order.append("spawned")
        channel = Channel(echo.target)
        assert await asyncio.gather(*(once(channel) for _ in range(10))) == [b"x"] * 10
        await channel.aclose()

    asyncio.run(main())
    assert order == ["spawned", "in the background"]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_loop_is_over_in_a_forked_child(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its sockets are the parent's, also where the child goes on inside the loop's own call stack."""

    async def main() -> None:
        runtime = current_runtime()
        assert runtime.alive
        assert runtime.is_current()
        with monkeypatch.context() as patch:
            patch.setattr(os, "getpid", lambda: -1)
            assert not runtime.alive
            # asyncio itself forgets its running loop in a child.
            assert backend == "asyncio" or not runtime.is_current()

    anyio.run(main, backend=backend)


@pytest.mark.row(54)
def test_r66_call_that_runs_when_the_loop_ends() -> None:
    with e.running() as server:
        channel = Channel(server.target)
        tasks: list[Any] = []

        async def leave() -> None:
            call = channel.call(e.CHAT)
            await call.send(b"x")
            assert await call.receive() == b"x"
            tasks.append(asyncio.ensure_future(call.receive()))
            await asyncio.sleep(0)

        asyncio.run(leave())
        assert tasks[0].cancelled()
        assert asyncio.run(once(channel)) == b"x"
        asyncio.run(channel.aclose())


@pytest.mark.row(54)
def test_r66_a_loop_that_is_closed_without_being_told(echo: e.Running) -> None:
    """No task is cancelled there; the channel only finds its loop closed."""
    channel = Channel(echo.target)
    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(once(channel)) == b"x"
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.close()
    assert asyncio.run(once(channel)) == b"x"
    asyncio.run(channel.aclose())


def test_r66_another_loop_while_the_first_lives(echo: e.Running) -> None:
    channel = Channel(echo.target)
    errors: list[BaseException] = []

    def elsewhere() -> None:
        try:
            asyncio.run(once(channel))
        except RuntimeError as exc:
            errors.append(exc)

    async def main() -> None:
        await once(channel)
        thread = threading.Thread(target=elsewhere)
        thread.start()
        await anyio.to_thread.run_sync(thread.join)
        await once(channel)
        await channel.aclose()

    asyncio.run(main())
    assert [type(one) for one in errors] == [WrongLoop]


def test_r67_closed_channel_stays_closed(echo: e.Running) -> None:
    channel = Channel(echo.target)
    asyncio.run(channel.aclose())
    for _ in range(2):
        with pytest.raises(RpcError, match="closed"):
            asyncio.run(once(channel))


FORK = """
import asyncio, os, sys
from boxd.transport import Channel, Target
from tests.fixtures.echo_server import ECHO

channel = Channel(Target("http", "127.0.0.1", int(sys.argv[1])))

async def once():
    return await channel.unary(ECHO, b"x", timeout=5)

loop = asyncio.new_event_loop()
assert loop.run_until_complete(once()) == b"x"
child = os.fork()
if child == 0:
    try:
        ok = asyncio.run(once()) == b"x" and asyncio.run(once()) == b"x"
    except BaseException as exc:
        print(repr(exc), file=sys.stderr)
        ok = False
    os._exit(0 if ok else 7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
for _ in range(3):
    assert loop.run_until_complete(once()) == b"x"
assert channel._pool.connections == 1
loop.run_until_complete(channel.aclose())
loop.close()
"""

FORK_IN_LOOP = """
import asyncio, os, sys
from boxd.transport import Channel, Target
from tests.fixtures.echo_server import ECHO

channel = Channel(Target("http", "127.0.0.1", int(sys.argv[1])))

async def main():
    assert await channel.unary(ECHO, b"x") == b"x"
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    for _ in range(3):
        assert await channel.unary(ECHO, b"x", timeout=5) == b"x"
    assert channel._pool.connections == 1
    await channel.aclose()

asyncio.run(main())
"""


@pytest.mark.row(54)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("script", [FORK, FORK_IN_LOOP], ids=["between-loops", "inside"])
def test_r65_fork(echo: e.Running, script: str) -> None:
    """The child dials anew; the parent's connection is unharmed."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    command = [sys.executable, "-W", "error::ResourceWarning", "-c", script, str(echo.target.port)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
