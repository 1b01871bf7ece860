"""Moving files into and out of a box."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

from .errors import Code, EmulatorError, from_os_error
from .options import MIB
from .sandbox import Download, Machine, Upload

CHUNK_BYTES = MIB
"""Size of the chunks of a streamed download."""


class Receiver:
    """Writes one file into a box. `finish` or `abort` ends it."""

    def __init__(self, upload: Upload, path: str, limit: int) -> None:
        self._upload = upload
        self._path = path
        self._limit = limit
        self._open = True
        self.written = 0

    @classmethod
    async def start(cls, machine: Machine, path: str, limit: int) -> Receiver:
        """Begin a file at `path` of at most `limit` bytes."""
        try:
            return cls(await machine.open_write(path), path, limit)
        except (OSError, ValueError) as error:
            raise _failure(error, f"writing {path}") from error

    async def write(self, data: bytes) -> None:
        """Append `data`; RESOURCE_EXHAUSTED beyond the limit."""
        if self.written + len(data) > self._limit:
            raise too_big(self._path, self._limit)
        try:
            await asyncio.to_thread(_write_all, self._upload.fd, data)
        except OSError as error:
            raise from_os_error(error, f"writing {self._path}") from error
        self.written += len(data)

    async def finish(self) -> int:
        """Put the file in its place; the number of bytes."""
        self._close()
        try:
            await self._upload.commit()
        except OSError as error:
            raise from_os_error(error, f"writing {self._path}") from error
        return self.written

    async def abort(self) -> None:
        """Remove the unfinished file. Does nothing after `finish`."""
        if self._open:
            self._close()
            await self._upload.abort()

    def _close(self) -> None:
        self._open = False
        os.close(self._upload.fd)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class Sender(AsyncIterator[bytes]):
    """The content of a box's file in chunks. `aclose` when done."""

    def __init__(self, download: Download, path: str) -> None:
        self._fd = download.fd
        self._path = path
        self._open = True
        self.size = download.size

    @classmethod
    async def start(cls, machine: Machine, path: str) -> Sender:
        """Open the file at `path`."""
        try:
            return cls(await machine.open_read(path), path)
        except (OSError, ValueError) as error:
            raise _failure(error, f"reading {path}") from error

    async def __anext__(self) -> bytes:
        try:
            data = await asyncio.to_thread(os.read, self._fd, CHUNK_BYTES)
        except OSError as error:
            raise from_os_error(error, f"reading {self._path}") from error
        if not data:
            raise StopAsyncIteration
        return data

    async def aclose(self) -> None:
        """Close the file. Idempotent."""
        if self._open:
            self._open = False
            os.close(self._fd)


def too_big(path: str, limit: int) -> EmulatorError:
    """The refusal of a file over the limit."""
    return EmulatorError(
        Code.RESOURCE_EXHAUSTED,
        f"{path} is larger than the limit of {limit} bytes ({limit // MIB} MiB) per transfer",
    )


def _failure(error: OSError | ValueError, doing: str) -> EmulatorError:
    if isinstance(error, OSError):
        return from_os_error(error, doing)
    return EmulatorError(Code.INVALID_ARGUMENT, f"{doing}: {error}")
