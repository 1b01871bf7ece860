"""Local files that transfers read from and write to. All of it blocks, and is called in worker threads."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from typing import IO, Any


def open_source(source: str | os.PathLike[str] | IO[bytes]) -> tuple[IO[bytes], int]:
    """A file to send from, at its position, and how many bytes there are from there on: 0 where that cannot be told."""
    if isinstance(source, (str, os.PathLike)):
        file = open(source, "rb", buffering=0)  # noqa: SIM115  The caller closes it.
        return file, _rest(file)
    return source, _rest(source)


def _rest(file: IO[bytes]) -> int:
    try:
        position = file.tell()
        end = file.seek(0, os.SEEK_END)
        file.seek(position)
    except (OSError, AttributeError):
        # A pipe, or an object that only reads.
        return 0
    return max(end - position, 0)


def read_piece(file: IO[bytes], size: int) -> bytes:
    """At most `size` bytes; `b""` at the end."""
    found: Any = file.read(size)
    if isinstance(found, bytes):
        return found
    raise TypeError(f"read() returned {type(found).__name__} instead of bytes: open the file in binary mode, 'rb'")


def write_all(file: IO[bytes], data: bytes) -> None:
    """Write all of `data`, also to a file that takes a part at a time."""
    view = memoryview(data)
    while view:
        count = file.write(view)
        if count is None:
            raise BlockingIOError(errno.EAGAIN, "the file to write to is in non-blocking mode")
        view = view[count:]


class Destination:
    """A local path that is being written. A file is written under a temporary name beside it, and takes its place when
    it is whole; what is there already and is no regular file, such as a pipe or a terminal, is written to directly."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Raises `OSError` where it cannot be written."""
        self._temporary: str | None = None
        try:
            mode = os.stat(path).st_mode
        except FileNotFoundError:
            mode = None
        if mode is not None and not stat.S_ISREG(mode):
            # Says "is a directory" for one.
            self.file: IO[bytes] = open(path, "wb", buffering=0)  # noqa: SIM115  `commit` and `discard` close it.
            return
        # Through a link, to what it names.
        self._path = os.path.realpath(path)
        temporary = f"{self._path}.{secrets.token_hex(6)}.part"
        try:
            self.file = open(temporary, "xb", buffering=0)  # noqa: SIM115
        except OSError as error:
            # The caller knows the path, not the temporary name.
            error.filename = os.fspath(path)
            raise
        self._temporary = temporary
        if mode is not None:
            os.chmod(temporary, stat.S_IMODE(mode))

    def commit(self) -> None:
        """The file is whole: put it in its place."""
        self.file.close()
        if self._temporary is not None:
            os.replace(self._temporary, self._path)

    def discard(self) -> None:
        """Remove what was written. Does nothing after `commit`."""
        if not self.file.closed:
            self.file.close()
        if self._temporary is not None and os.path.lexists(self._temporary):
            os.unlink(self._temporary)
