"""A process of a box as the emulator sees it: two outputs, one input, an exit, signals.

Pipes are read only when somebody asks for data, so that a process whose output nobody takes is
stopped by its full pipe, as behind any slow terminal.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import struct
import termios
from collections.abc import Callable
from typing import Any

READ_BYTES = 64 * 1024
"""The most that one read of a pipe returns."""

_F_SETPIPE_SZ = 1031
_PIPE_BYTES = 256 * 1024


def make_pipes() -> tuple[list[int], list[int]]:
    """Three pipes: the emulator's ends and the program's ends, both in the order stdin, stdout, stderr."""
    kept: list[int] = []
    given: list[int] = []
    for number in range(3):
        read, write = os.pipe()
        kept.append(write if number == 0 else read)
        given.append(read if number == 0 else write)
        _enlarge_pipe(read)
    return kept, given


def _enlarge_pipe(fd: int) -> None:
    """Give a pipe more room where the kernel allows it; fewer switches for big outputs."""
    try:
        fcntl.fcntl(fd, _F_SETPIPE_SZ, _PIPE_BYTES)
    except OSError:
        # The default of 64 KiB serves as well, only slower.
        return


class FdReader:
    """Reads a pipe or a terminal on demand. One reader at a time; `close` may be called at any time."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._open = True
        self._waiter: asyncio.Future[None] | None = None
        os.set_blocking(fd, False)

    async def read(self) -> bytes:
        """At least one byte, or b"" at the end. Cancelling it loses nothing."""
        while True:
            data = self.read_nowait()
            if data is not None:
                return data
            await self._readable()

    def read_nowait(self) -> bytes | None:
        """What is there now: bytes, b"" at the end, None when nothing is there yet."""
        if not self._open:
            return b""
        try:
            return os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            # EIO: the last program has closed the terminal, which is a terminal's end of file.
            return b""

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiter = waiter
        loop.add_reader(self._fd, _resolve, waiter)
        try:
            await waiter
        finally:
            self._waiter = None
            if self._open:
                loop.remove_reader(self._fd)

    def close(self) -> None:
        """Close the descriptor; a waiting `read` returns b""."""
        if not self._open:
            return
        self._open = False
        if self._waiter is not None:
            asyncio.get_running_loop().remove_reader(self._fd)
            _resolve(self._waiter)
        os.close(self._fd)


class FdWriter:
    """Writes a pipe or a terminal, waiting while it is full."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._open = True
        self._waiter: asyncio.Future[None] | None = None
        os.set_blocking(fd, False)

    async def write(self, data: bytes) -> bool:
        """Write all of `data`; False when the reader is gone, which is no error for a process's input."""
        view = memoryview(data)
        while view:
            if not self._open:
                return False
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                await self._writable()
            except OSError:
                self.close()
                return False
        return True

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiter = waiter
        loop.add_writer(self._fd, _resolve, waiter)
        try:
            await waiter
        finally:
            self._waiter = None
            if self._open:
                loop.remove_writer(self._fd)

    def close(self) -> None:
        """Close the descriptor: end of file for the process. Idempotent."""
        if not self._open:
            return
        self._open = False
        if self._waiter is not None:
            asyncio.get_running_loop().remove_writer(self._fd)
            _resolve(self._waiter)
        os.close(self._fd)


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class Process:
    """A started program. `stderr` is None under a terminal, which merges both outputs into `stdout`."""

    def __init__(
        self,
        pid: int,
        stdin: FdWriter,
        stdout: FdReader,
        stderr: FdReader | None,
        exited: asyncio.Future[int],
        send_signal: Callable[[int], None],
        release: Callable[[], None],
        terminal: int | None = None,
    ) -> None:
        self.pid = pid
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self._exited = exited
        self._send_signal = send_signal
        self._release = release
        self._terminal = terminal
        self._ended_in_mode: int | None = None
        self._closed = False

    @property
    def exit_code(self) -> int | None:
        """The exit code, 128+n after signal n, None while it runs."""
        return self._exited.result() if self._exited.done() else None

    async def wait(self) -> int:
        """The exit code when the process has ended. Cancelling it leaves the process alone."""
        return await asyncio.shield(self._exited)

    def signal(self, number: int) -> None:
        """Send a signal to the process's whole group; nothing happens when it has ended."""
        self._send_signal(number)

    def resize(self, columns: int, rows: int) -> None:
        """Set the terminal's size; the foreground program gets SIGWINCH. Does nothing without a terminal."""
        if self._terminal is not None:
            set_window_size(self._terminal, columns, rows)

    async def end_input(self) -> None:
        """End of file on the input: close the pipe, or type the terminal's end-of-file character."""
        if self._terminal is None:
            self.stdin.close()
        else:
            await self._type_end(termios.tcgetattr(self._terminal))

    async def renew_end_of_input(self) -> None:
        """Type the end-of-file character again if the terminal has another mode than when it was typed.

        A change between whole lines and single characters makes a NUL of one that nobody has read. A shell with line
        editing changes the mode when it starts and around each command, so its input would otherwise never end.
        """
        if self._terminal is not None and self._ended_in_mode is not None:
            attributes = termios.tcgetattr(self._terminal)
            if attributes[3] & termios.ICANON != self._ended_in_mode:
                await self._type_end(attributes)

    async def _type_end(self, attributes: list[Any]) -> None:
        self._ended_in_mode = attributes[3] & termios.ICANON
        await self.stdin.write(attributes[6][termios.VEOF])

    async def terminate(self, grace: float) -> None:
        """SIGTERM to the group, and SIGKILL when the process still runs `grace` seconds later."""
        if not self._exited.done():
            self.signal(signal.SIGTERM)
            await asyncio.wait([self._exited], timeout=grace)
        # Also after a quick end: children in the group that ignore SIGTERM must not stay.
        self.signal(signal.SIGKILL)
        await asyncio.wait([self._exited])

    def close(self) -> None:
        """Close all descriptors. Idempotent; does not end the process."""
        if self._closed:
            return
        self._closed = True
        self._release()
        self.stdin.close()
        self.stdout.close()
        if self.stderr is not None:
            self.stderr.close()
        if self._terminal is not None:
            os.close(self._terminal)
            self._terminal = None


def set_window_size(fd: int, columns: int, rows: int) -> None:
    """TIOCSWINSZ; sizes outside 1..65535 are cut to it."""
    columns, rows = (min(max(value, 1), 65535) for value in (columns, rows))
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
