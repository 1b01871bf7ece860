"""An emulator inside the program that uses it, on a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

from .options import Options
from .runtime import Emulator, Local


@contextlib.contextmanager
def running(options: Options | None = None, **settings: Any) -> Iterator[Local]:
    """Run an emulator while the `with` block runs; gives its `Local`.

    `options` or keyword arguments with the names of `Options`' fields set it up. Raises `SandboxError` or
    `OSError` when it cannot start. At the end all boxes are gone, with their processes, mounts and (unless
    `state` is given) files.
    """
    if options is not None and settings:
        raise TypeError("give `options` or its fields as keyword arguments, not both")
    emulator = Emulator(Options(**settings) if options is None else options)
    ready: Future[tuple[Local, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        stop = asyncio.Event()
        async with emulator as local:
            ready.set_result((local, asyncio.get_running_loop(), stop))
            await stop.wait()

    failures: list[BaseException] = []

    def main() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            if ready.done():
                failures.append(error)
            else:
                ready.set_exception(error)

    thread = threading.Thread(target=main, name="boxd-emulator", daemon=True)
    thread.start()
    try:
        local, loop, stop = ready.result()
    except BaseException:
        thread.join()
        raise
    try:
        yield local
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
    if failures:
        raise failures[0]
