"""Where blocking calls run: one event loop in one background thread, for the whole process.

The thread starts with the first call and ends with the process. Any thread may call, also one that runs an event loop
of its own (a notebook). A forked child starts afresh."""

from __future__ import annotations

import atexit
import contextvars
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")

#: Seconds a cancelled call gets to clean up, and the loop to end with the process.
GRACE = 2.0


class Portal:
    """A background event loop, and the way into it."""

    def __init__(self) -> None:
        import asyncio

        self._loop = asyncio.new_event_loop()
        self._ended = False
        self._thread = threading.Thread(target=self._main, name="boxd", daemon=True)
        try:
            self._thread.start()
        except BaseException:  # The system has no more threads.
            self._loop.close()
            raise

    def run(self, coroutine: Coroutine[Any, Any, T], desk: Desk | None = None) -> T:
        """Run a coroutine to its end and return its result, or raise its exception. An exception in the waiting
        thread, such as `KeyboardInterrupt`, cancels it. What the coroutine asks of `desk` is done in this thread."""
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError("the blocking API cannot be used on its own event loop; use boxd.aio there")
        hop = _Hop(self._loop, coroutine, desk)
        try:
            self._loop.call_soon_threadsafe(hop.start)
        except RuntimeError as exc:
            coroutine.close()
            self._park()
            raise RuntimeError("the process is ending: boxd's background loop has stopped") from exc
        try:
            if desk is not None:
                desk.serve()
            hop.wait()
        except BaseException:
            hop.abort()
            raise
        self._park()
        result: T = hop.result()
        return result

    def _park(self) -> None:
        """At the end of the process, let a daemon thread wait for its own end: an exception out of its call would be
        noise about nothing that went wrong."""
        if self._ended and threading.current_thread().daemon:
            threading.Event().wait()

    def close(self) -> None:
        """Cancel what runs and end the thread. Idempotent."""
        if self._thread.is_alive():
            self._ended = True
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(GRACE)

    def _main(self) -> None:
        import asyncio

        loop = self._loop
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
        finally:
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()


class Desk:
    """Where a coroutine has functions called in the thread that waits for it."""

    def __init__(self) -> None:
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def bind(self, function: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
        """The function as a coroutine function for the event loop. It is called at the desk."""

        async def called(*args: Any) -> Any:
            import asyncio

            loop = asyncio.get_running_loop()
            answer = loop.create_future()

            def work() -> None:
                try:
                    result = function(*args)
                    if isinstance(result, Coroutine):
                        result.close()
                        raise TypeError("the callback is a coroutine function: use a plain one, or boxd.aio")
                except StopIteration as error:
                    # No future can hold one. A coroutine that lets one out fails in the same way.
                    failure = RuntimeError("the callback raised StopIteration")
                    failure.__cause__ = error
                    loop.call_soon_threadsafe(_answer, answer, None, failure)
                except Exception as error:
                    loop.call_soon_threadsafe(_answer, answer, None, error)
                else:
                    loop.call_soon_threadsafe(_answer, answer, result, None)

            self._work.put(work)
            return await answer

        return called

    def serve(self) -> None:
        """Do what is asked, until `close`."""
        while (work := self._work.get()) is not None:
            work()

    def close(self) -> None:
        """The coroutine has ended."""
        self._work.put(None)


def _answer(future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if future.done():  # Nobody waits any more.
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


class _Hop:
    """One coroutine's way to the loop and its result's way back."""

    __slots__ = ("_context", "_coroutine", "_desk", "_done", "_loop", "_task")

    def __init__(self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], desk: Desk | None) -> None:
        self._loop = loop
        self._desk = desk
        self._coroutine = coroutine
        self._context = _context()
        self._task: asyncio.Task[Any] | None = None
        self._done = threading.Lock()
        self._done.acquire()

    def start(self) -> None:
        self._task = self._context.run(self._loop.create_task, self._coroutine)
        self._task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._done.release()
        if self._desk is not None:
            self._desk.close()

    def wait(self) -> None:
        """Wait for the end of the coroutine."""
        if sys.platform == "win32":  # Ctrl-C does not interrupt a lock there.
            while not self._done.acquire(timeout=0.1):
                continue
        else:
            self._done.acquire()

    def abort(self) -> None:
        """Cancel the coroutine, and give it a moment to clean up."""
        self._loop.call_soon_threadsafe(self._cancel)
        if self._task is None or not self._task.done():
            self._done.acquire(timeout=GRACE)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def result(self) -> Any:
        assert self._task is not None
        try:
            return self._task.result()
        finally:
            self._task = None  # The traceback of an exception would keep the task, and the task the exception.


def _context() -> contextvars.Context:
    """The caller's context variables, for the background loop."""
    context = contextvars.copy_context()
    sniffio = sys.modules.get("sniffio")
    if sniffio is not None:
        # The caller may run in trio, and says so in a variable that anyio looks at.
        context.run(sniffio.current_async_library_cvar.set, "asyncio")
    return context


_portal: Portal | None = None
_lock = threading.Lock()


def run(coroutine: Coroutine[Any, Any, T], desk: Desk | None = None) -> T:
    """Run a coroutine on the process's background loop and wait for it."""
    portal = _portal
    if portal is None:
        try:
            portal = _start()
        except BaseException:
            coroutine.close()
            raise
    return portal.run(coroutine, desk)


def _start() -> Portal:
    global _portal
    with _lock:
        if _portal is None:
            _portal = Portal()
        return _portal


def _at_exit() -> None:
    if _portal is not None:
        _portal.close()


# As early as can be: handlers run in reverse order, and those of the program may still make calls.
atexit.register(_at_exit)


def _after_fork() -> None:
    """The parent's thread does not exist here. Its objects are kept, not collected: nothing of them may run."""
    global _portal, _lock
    if _portal is not None:
        _inherited.append(_portal)
    _portal = None
    _lock = threading.Lock()


_inherited: list[Portal] = []

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
