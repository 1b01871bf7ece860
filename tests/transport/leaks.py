"""What must be gone when a channel is closed: its tasks, timers and sockets."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from boxd.transport import Channel


def background() -> list[str]:
    """The names of the transport's tasks on the running loop, sorted: the loops keep them in sets."""
    if "trio" in sys.modules and sys.modules["trio"].lowlevel.in_trio_run():
        return sorted(name for name in _trio_names() if name.startswith("boxd"))
    return sorted(task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("boxd"))


def _trio_names() -> list[str]:
    trio: Any = sys.modules["trio"]
    names, tasks = [], [trio.lowlevel.current_root_task()]
    while tasks:
        task = tasks.pop()
        names.append(task.name)
        for nursery in task.child_nurseries:
            tasks.extend(nursery.child_tasks)
    return names


def timers() -> list[str]:
    """The transport's timers that still run; trio's are tasks and counted there."""
    if "trio" in sys.modules and sys.modules["trio"].lowlevel.in_trio_run():
        return []
    loop: Any = asyncio.get_running_loop()
    scheduled = [repr(one._callback) for one in getattr(loop, "_scheduled", []) if not one._cancelled]
    return [
        one
        for one in scheduled
        if any(name in one for name in ("Call.", "Connection.", "Watch.", "Pool.", "CancelScope.cancel"))
    ]


def sockets() -> int:
    """How many sockets this process has open."""
    count = 0
    for one in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{one}").startswith("socket:")
        except OSError:
            continue  # The listing's own descriptor.
    return count


async def assert_gone(*channels: Channel) -> None:
    """Close channels and check that nothing of them is left. Ended tasks need a few steps of the loop to go."""
    for channel in channels:
        await channel.aclose()
        assert not [pool for pool in channel._pools() if pool.connections]
    with anyio.move_on_after(2):
        while background():
            await checkpoint()
    assert background() == []
    assert not (left := timers()), left
    gc.collect()
