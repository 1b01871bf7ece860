"""The input of a command: its sources, and the task that sends it while the output is taken."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from typing import IO, TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from boxd.errors import BoxdError
from boxd.messages.exec import ExecChunk

if TYPE_CHECKING:
    from boxd.resources._base import Stream

PIECE = 256 * 1024
"""Bytes of input in a message: well under gRPC's usual limit, and large enough that the cost per message does not
matter."""


def check_input(value: object) -> None:
    """Raises `TypeError` for what cannot be a command's input."""
    if not isinstance(value, (bytes, bytearray, memoryview, str, os.PathLike)) and not hasattr(value, "read"):
        raise TypeError(
            f"input is of type {type(value).__name__}: use bytes, a str with the content, a Path to read from, or a "
            "file object"
        )


class Source:
    """A command's input, piece by piece. Files are read in a worker thread."""

    def __init__(
        self, data: bytes | bytearray | memoryview, file: IO[bytes] | None = None, *, owned: bool = False
    ) -> None:
        """`file`, where given, is what is read; `owned` files are closed at the end."""
        self._rest = memoryview(data).cast("B")
        self._file = file
        self._owned = owned
        self._read: deque[Any] = deque()
        self._reading = threading.Lock()

    async def next(self) -> bytes:
        """The next piece; `b""` at the end. Cancelling it loses nothing."""
        if self._file is None:
            piece = bytes(self._rest[:PIECE])
            self._rest = self._rest[PIECE:]
            return piece
        # Left behind when cancelled: a pipe that nobody writes to must not hold up a command that has ended.
        await anyio.to_thread.run_sync(self._read_more, self._file, abandon_on_cancel=True)
        found = self._read.popleft()
        if isinstance(found, bytes):
            return found
        raise TypeError(
            f"the input's read() returned {type(found).__name__} instead of bytes: open the file in binary mode, 'rb'"
        )

    def _read_more(self, file: IO[bytes]) -> None:
        with self._reading:
            # A read that was left behind may have brought it.
            if not self._read:
                self._read.append(file.read(PIECE))

    def close(self) -> None:
        """Close the file if it was opened here."""
        if self._file is not None and self._owned:
            self._file.close()


async def open_input(value: bytes | str | os.PathLike[str] | IO[bytes]) -> Source:
    """The source for an input. Raises `TypeError`, and `OSError` for a path that cannot be read."""
    check_input(value)
    if isinstance(value, str):
        return Source(value.encode())
    if isinstance(value, (bytes, bytearray, memoryview)):
        return Source(value)
    if isinstance(value, os.PathLike):
        path = value
        return Source(b"", await anyio.to_thread.run_sync(lambda: open(path, "rb", buffering=0)), owned=True)
    return Source(b"", value)


async def feed(stream: Stream[ExecChunk, ExecChunk], source: Source) -> None:
    """Send a command its input under flow control, and close it."""
    while piece := await source.next():
        await stream.send(ExecChunk(stdin=True, data=piece))
    await stream.end()


async def beside(side: Callable[[], Awaitable[None]], main: Callable[[], Awaitable[None]]) -> None:
    """Do `main` to its end, with `side` beside it, which is cancelled then.

    An error of `side` ends `main` and is raised, but for `BoxdError`: the command's stream has failed, and `main` gets
    to know that after what came before it.
    """
    failures: list[Exception] = []
    async with anyio.create_task_group() as group:

        async def guarded() -> None:
            try:
                await side()
            except BoxdError:
                return
            except Exception as error:
                failures.append(error)
                group.cancel_scope.cancel()

        group.start_soon(guarded)
        try:
            await main()
        except Exception as error:
            failures.append(error)
        group.cancel_scope.cancel()
    if failures:
        raise failures[0]
