"""A box's console: the lines of its life, what its programs write to /dev/console, and its start command's output."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from .sandbox import Machine, Process, Spawn
from .sandbox.process import FdReader

_MOST_BYTES = 1024 * 1024
_SLACK_BYTES = 256 * 1024
_CHUNK_BYTES = 64 * 1024


class Console:
    """Keeps the newest output of a box, about a mebibyte. Positions count from the first byte ever written."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._start = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: set[asyncio.Future[None]] = set()
        self._closed = False

    def __repr__(self) -> str:
        return f"Console({len(self._kept)} bytes)"

    @property
    def content(self) -> bytes:
        """Everything that is kept."""
        return bytes(self._kept)

    @property
    def closed(self) -> bool:
        """Whether nothing more will come."""
        return self._closed

    def note(self, line: str) -> None:
        """Add a line of the emulator's own."""
        self.write(f"[boxd] {line}\r\n".encode())

    def write(self, data: bytes) -> None:
        """Add output."""
        self._kept += data
        if len(self._kept) > _MOST_BYTES + _SLACK_BYTES:
            cut = len(self._kept) - _MOST_BYTES
            del self._kept[:cut]
            self._start += cut
        self._wake()

    def close(self) -> None:
        """The box is gone: its followers end when they have read all. Idempotent."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, set()
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    def read(self, position: int) -> tuple[bytes, int]:
        """The output from `position` on, at most a chunk, and the position after it; says what is no longer kept."""
        if position < self._start:
            return f"[boxd] {self._start - position} bytes are no longer kept\r\n".encode(), self._start
        begin = position - self._start
        data = bytes(self._kept[begin : begin + _CHUNK_BYTES])
        return data, position + len(data)

    async def changed(self) -> None:
        """Wait for more output, or for the end."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        try:
            await waiter
        finally:
            self._waiting.discard(waiter)

    async def boot(self, machine: Machine, name: str, command: Sequence[str], env: Mapping[str, str]) -> None:
        """Note a boot, record /dev/console, and start the box's own command on the console."""
        device = await machine.open_console()
        if device is not None:
            self._record(self._copy(FdReader(device)))
        self.note(f"{name} is up")
        if not command:
            return
        try:
            process = await machine.spawn(Spawn(command, env, tty=(80, 24)))
        except OSError as error:
            self.note(f"the start command does not run: {error.strerror}")
            return
        self._record(self._copy_command(process))

    def _record(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _copy(self, reader: FdReader) -> None:
        """Add what comes until the machine is off."""
        try:
            while data := await reader.read():
                self.write(data)
        finally:
            reader.close()

    async def _copy_command(self, process: Process) -> None:
        try:
            while data := await process.stdout.read():
                self.write(data)
            self.note(f"the start command ended with exit code {await process.wait()}")
        finally:
            process.close()
