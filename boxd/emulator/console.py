"""A box's console: the first lines of its boot and the output of its start command."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Sequence

from .sandbox import Machine, Process, Spawn

_MOST_BYTES = 1024 * 1024


class Console:
    """Keeps the newest output of a box, up to a mebibyte."""

    def __init__(self) -> None:
        self._chunks: collections.deque[bytes] = collections.deque()
        self._size = 0
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"Console({self._size} bytes)"

    @property
    def content(self) -> bytes:
        """Everything that is kept."""
        return b"".join(self._chunks)

    def note(self, line: str) -> None:
        """Add a line of the emulator's own."""
        self.write(f"[boxd] {line}\r\n".encode())

    def write(self, data: bytes) -> None:
        """Add output."""
        self._chunks.append(data)
        self._size += len(data)
        while self._size > _MOST_BYTES:
            self._size -= len(self._chunks.popleft())

    async def boot(self, machine: Machine, name: str, command: Sequence[str]) -> None:
        """Note a boot, and start the box's own command on the console."""
        self.note(f"{name} is up")
        if not command:
            return
        try:
            process = await machine.spawn(Spawn(command, tty=(80, 24)))
        except OSError as error:
            self.note(f"the start command does not run: {error.strerror}")
            return
        self._task = asyncio.get_running_loop().create_task(self._record(process))

    async def _record(self, process: Process) -> None:
        try:
            while data := await process.stdout.read():
                self.write(data)
            self.note(f"the start command ended with exit code {await process.wait()}")
        finally:
            process.close()
