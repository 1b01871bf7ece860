"""The same calls in two ways: awaited on an event loop, or each step a blocking hop to the background one."""

from __future__ import annotations

import threading
import time
from collections.abc import Coroutine
from typing import Any, Protocol

import anyio
import anyio.abc

from boxd import _portal
from boxd.transport import Call, Channel, Kind, Metadata, Method
from boxd.transport.deadline import Deadline
from boxd.transport.exchange import Exchange


def make_call(channel: Channel, method: Method[Any, Any], timeout: float | None, metadata: Metadata) -> Call[Any, Any]:
    """A call that is not started: a unary one as `Channel.unary` makes it, but so that it can be cancelled from
    outside, and its metadata seen."""
    if method.kind is not Kind.UNARY:
        return channel.call(method, timeout=timeout, metadata=metadata)
    deadline = None if timeout is None else Deadline(timeout)
    return Call(Exchange(channel, method, deadline, metadata, whole=True))


class Driver(Protocol):
    """How a case makes its call. The methods of a `BlockingDriver` never suspend."""

    async def open(self, channel: Channel, method: Method[Any, Any], timeout: float | None, metadata: Metadata) -> Call:
        """A call that is not started."""

    async def step(self, step: Coroutine[Any, Any, Any]) -> Any:
        """Run one method of a call."""

    async def cancel(self, call: Call[Any, Any]) -> None:
        """Cancel a call."""

    async def cancel_later(self, call: Call[Any, Any], delay: float) -> None:
        """Cancel a call some seconds from now, whatever else is done in the meantime."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class AsyncDriver:
    """asyncio or trio."""

    def __init__(self, tasks: anyio.abc.TaskGroup) -> None:
        self._tasks = tasks

    async def open(self, channel: Channel, method: Method[Any, Any], timeout: float | None, metadata: Metadata) -> Call:
        return make_call(channel, method, timeout, metadata)

    async def step(self, step: Coroutine[Any, Any, Any]) -> Any:
        return await step

    async def cancel(self, call: Call[Any, Any]) -> None:
        call.cancel()

    async def cancel_later(self, call: Call[Any, Any], delay: float) -> None:
        async def later() -> None:
            await anyio.sleep(delay)
            call.cancel()

        self._tasks.start_soon(later)

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


class BlockingDriver:
    """A thread of its own for each case, and the library's background loop."""

    async def open(self, channel: Channel, method: Method[Any, Any], timeout: float | None, metadata: Metadata) -> Call:
        async def call() -> Call[Any, Any]:
            return make_call(channel, method, timeout, metadata)

        return _portal.run(call())

    async def step(self, step: Coroutine[Any, Any, Any]) -> Any:
        return _portal.run(step)

    async def cancel(self, call: Call[Any, Any]) -> None:
        _portal.run(call.aclose())

    async def cancel_later(self, call: Call[Any, Any], delay: float) -> None:
        threading.Timer(delay, lambda: _portal.run(call.aclose())).start()

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251  # There is no event loop in this thread.


def drive(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise RuntimeError("the coroutine waits for an event loop, and there is none here")
