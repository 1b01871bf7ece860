"""The few things that asyncio and trio do differently and anyio does not offer outside a task group: background
tasks that outlive the call that needed them, timers, and a wake-up that costs next to nothing."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol

import anyio

if TYPE_CHECKING:
    import trio


class Signal(Protocol):
    """Wakes one waiting task, once."""

    async def wait(self) -> None:
        """Return when it is set, at once if it already is."""

    def set(self) -> None:
        """Wake the waiter. Idempotent."""


class Event:
    """Something that happens once, and that any number of tasks of one loop wait for."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._waiting: list[Signal] = []
        self.is_set: bool = False

    @property
    def awaited(self) -> bool:
        """True while a task waits for it."""
        return bool(self._waiting)

    async def wait(self) -> None:
        """Return when it has happened."""
        if not self.is_set:
            self._waiting.append(signal := self._runtime.signal())
            try:
                await signal.wait()
            finally:
                self._waiting.remove(signal)

    def set(self) -> None:
        """It has happened: wake them all. Idempotent."""
        self.is_set = True
        for signal in self._waiting:
            signal.set()


class Handle(Protocol):
    """A background task or a timer."""

    def cancel(self) -> object:
        """Stop it. Idempotent."""


class Runtime(Protocol):
    """An event loop, seen from inside."""

    def spawn(self, run: Callable[[], Awaitable[None]], name: str) -> Handle:
        """Run a task in the background, outside the caller's context and cancel scopes. It must not raise."""

    def call_later(self, delay: float, callback: Callable[[], object]) -> Handle:
        """Call back in `delay` seconds."""

    def post(self, callback: Callable[[], None]) -> None:
        """Have the loop call back soon: from any thread, and for nothing where the loop is over or belongs to the
        process that this one was forked from."""

    def signal(self) -> Signal:
        """A new signal."""

    @property
    def alive(self) -> bool:
        """False once the loop is over and nothing of it can run again, also in a process forked from its own."""

    def is_current(self) -> bool:
        """True when called from a task of this loop, in the process that it began in."""


class _AsyncioSignal:
    __slots__ = ("_future",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._future: asyncio.Future[None] = loop.create_future()

    async def wait(self) -> None:
        await self._future

    def set(self) -> None:
        if not self._future.done():
            self._future.set_result(None)


class AsyncioRuntime:
    """An asyncio event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._process = os.getpid()
        # asyncio keeps only weak references to tasks.
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, run: Callable[[], Awaitable[None]], name: str) -> Handle:
        async def main() -> None:
            await run()

        # Not by the loop's task factory: an eager one would run the task inside of who spawns it.
        task: asyncio.Task[None] = contextvars.Context().run(asyncio.Task, main(), loop=self._loop, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def call_later(self, delay: float, callback: Callable[[], object]) -> Handle:
        return self._loop.call_later(delay, callback)

    def post(self, callback: Callable[[], None]) -> None:
        if os.getpid() == self._process:
            with contextlib.suppress(RuntimeError):  # The loop is closed.
                self._loop.call_soon_threadsafe(callback)

    def signal(self) -> Signal:
        return _AsyncioSignal(self._loop)

    @property
    def alive(self) -> bool:
        return not self._loop.is_closed() and os.getpid() == self._process

    def is_current(self) -> bool:
        return asyncio._get_running_loop() is self._loop


class _TrioSignal:
    __slots__ = ("_event",)

    def __init__(self, event: trio.Event) -> None:
        self._event = event

    async def wait(self) -> None:
        await self._event.wait()

    def set(self) -> None:
        self._event.set()


class TrioRuntime:
    """A trio run."""

    def __init__(self) -> None:
        import trio

        self._trio = trio
        self._process = os.getpid()
        self._token = trio.lowlevel.current_trio_token()

    def spawn(self, run: Callable[[], Awaitable[None]], name: str) -> Handle:
        trio = self._trio
        scope = trio.CancelScope()

        async def main() -> None:
            with scope:
                await run()

        trio.lowlevel.spawn_system_task(main, name=name, context=contextvars.Context())
        handle: Handle = scope
        return handle

    def call_later(self, delay: float, callback: Callable[[], object]) -> Handle:
        async def main() -> None:
            await self._trio.sleep(delay)
            callback()

        return self.spawn(main, "boxd timer")

    def post(self, callback: Callable[[], None]) -> None:
        if os.getpid() == self._process:
            with contextlib.suppress(self._trio.RunFinishedError):
                self._token.run_sync_soon(callback)

    def signal(self) -> Signal:
        return _TrioSignal(self._trio.Event())

    @property
    def alive(self) -> bool:
        if os.getpid() != self._process:
            return False
        try:
            self._token.run_sync_soon(_nothing, idempotent=True)
        except self._trio.RunFinishedError:
            return False
        return True

    def is_current(self) -> bool:
        if os.getpid() != self._process or not in_trio():
            return False
        return self._trio.lowlevel.current_trio_token() is self._token


def _nothing() -> None:
    """Does nothing: trio answers whether its run is over when asked to call it."""


def in_trio() -> bool:
    """True when called from a task of a trio run."""
    trio: Any = sys.modules.get("trio")
    return trio is not None and trio.lowlevel.in_trio_run()


def fail_after(seconds: float) -> AbstractAsyncContextManager[object]:
    """Raises `TimeoutError` where its block takes longer. Where asyncio has its own it is that: to load anyio's takes
    a sixth of the time to a program's first answer."""
    if sys.version_info >= (3, 11) and not in_trio():
        return asyncio.timeout(seconds)
    return _fail_after(seconds)


@contextlib.asynccontextmanager
async def _fail_after(seconds: float) -> AsyncIterator[None]:
    with anyio.fail_after(seconds):
        yield


@contextlib.asynccontextmanager
async def shielded(seconds: float | None = None) -> AsyncIterator[None]:
    """For the end of things: a cancelled scope around it does not cut its block short, but `seconds` do. It must not
    raise `TimeoutError`."""
    if sys.version_info < (3, 11) or in_trio() or "anyio._backends._asyncio" in sys.modules:
        with anyio.CancelScope(shield=True), anyio.move_on_after(seconds):
            yield
    else:  # There is no such scope, and no reason to load what makes them: for some programs only at their end.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                yield


def current_runtime() -> Runtime:
    """The runtime of the running task. Raises `RuntimeError` outside an event loop."""
    if in_trio():
        return TrioRuntime()
    return AsyncioRuntime(asyncio.get_running_loop())
