"""Opening files below a directory, such that no path and no link leads out of it.

The path is walked one component at a time with openat(2) and O_NOFOLLOW; links are read and resolved here, an
absolute one from the directory, and `..` stops at the directory. So a link that is put in the way meanwhile is found,
and those of /proc that lead anywhere are nothing but their text.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from types import TracebackType

_MOST_LINKS = 40
# O_PATH, where there is one: a directory that may be searched need not be readable.
_DIRECTORY = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Owner = tuple[int, int]
"""The numbers of a user and a group."""


class Walk:
    """A walk below `root`: a stack of open directories. A context manager that closes them.

    Directories that it makes belong to `owner`, or to this process.
    """

    def __init__(self, root: str, owner: Owner | None = None) -> None:
        self._root = root
        self._owner = owner
        self._names: list[str] = []
        self._stack = [os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)]

    def __enter__(self) -> Walk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for fd in self._stack:
            os.close(fd)

    @property
    def directory(self) -> int:
        """The directory that the walk has reached, for the `dir_fd` of `os` functions."""
        return self._stack[-1]

    @property
    def path(self) -> str:
        """The same as a path outside."""
        return os.path.join(self._root, *self._names)

    def to_parent(self, path: str, *, create: bool, follow: bool = True) -> str:
        """Go to the directory that holds `path` and return the last name, which is not a link.

        With `create`, missing directories are made. Without `follow` the last name may be a link. Raises `OSError`.
        """
        if not path or "\0" in path:
            raise OSError(errno.EINVAL, "the path is empty or has a NUL byte in it")
        todo = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        links = 0
        while todo:
            name = todo.pop()
            if name == "..":
                self._up()
                continue
            target = self._link(name) if todo or follow else None
            if target is None:
                if not todo:
                    return name
                self.down(name, create=create)
                continue
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, f"too many levels of links in {path}")
            if target.startswith("/"):
                while len(self._stack) > 1:
                    self._up()
            todo.extend(part for part in reversed(target.split("/")) if part not in ("", "."))
        return "."

    def _up(self) -> None:
        if len(self._stack) > 1:
            os.close(self._stack.pop())
            self._names.pop()

    def down(self, name: str, *, create: bool) -> None:
        """Go to a directory of this one, which is made if it is missing with `create`. Raises `OSError`."""
        if create:
            try:
                os.mkdir(name, 0o755, dir_fd=self.directory)
                if self._owner is not None:
                    os.chown(name, *self._owner, dir_fd=self.directory, follow_symlinks=False)
            except FileExistsError:
                # It is there already, which is what `create` asks for.
                create = False
        self._stack.append(os.open(name, _DIRECTORY, dir_fd=self.directory))
        self._names.append(name)

    def _link(self, name: str) -> str | None:
        try:
            return os.readlink(name, dir_fd=self.directory)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):
                return None
            raise


def resolve(root: str, path: str, *, follow: bool) -> str:
    """Where `path` leads to below `root`, as a path outside; `root` itself for its root. Raises `OSError`."""
    with Walk(root) as walk:
        name = walk.to_parent(path, create=False, follow=follow)
        return os.path.normpath(os.path.join(walk.path, name))


def open_read(root: str, path: str) -> tuple[int, int]:
    """Open a regular file below `root`; its descriptor and size."""
    with Walk(root) as walk:
        name = walk.to_parent(path, create=False)
        # O_NONBLOCK: opening a FIFO must not wait for its writer.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(name, flags, dir_fd=walk.directory)
        except OSError as error:
            if error.errno == errno.ENXIO:
                # A socket, or a device that is not there.
                raise not_regular(0, path) from error
            raise
    status = os.fstat(fd)
    try:
        if not stat.S_ISREG(status.st_mode):
            raise not_regular(status.st_mode, path)
        if path.endswith(("/", "/.")):
            raise NotADirectoryError(errno.ENOTDIR, f"{path} names a directory")
    except OSError:
        os.close(fd)
        raise
    return fd, status.st_size


class PendingFile:
    """A file below `root` that is being written under a temporary name.

    With `owner`, a new file belongs to them, with the directories that it needs; one that is replaced keeps its owner.
    """

    def __init__(self, root: str, path: str, owner: Owner | None = None) -> None:
        if path.endswith("/"):
            raise IsADirectoryError(errno.EISDIR, f"{path} names a directory")
        with Walk(root, owner) as walk:
            self._name = walk.to_parent(path, create=True)
            status = _replaced(self._name, walk.directory, path)
            self._temporary = f".boxd-upload-{secrets.token_hex(8)}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self.fd = os.open(self._temporary, flags, 0o600, dir_fd=walk.directory)
            self._directory = os.dup(walk.directory)
        try:
            if owner is not None:
                _give(self.fd, owner if status is None else (status.st_uid, status.st_gid))
            os.fchmod(self.fd, 0o644 if status is None else stat.S_IMODE(status.st_mode))
        except OSError:
            os.close(self.fd)
            self.abort()
            raise

    def commit(self) -> None:
        """Put the file in its place."""
        try:
            os.rename(self._temporary, self._name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except OSError:
            self._remove()
            raise
        finally:
            os.close(self._directory)

    def abort(self) -> None:
        """Remove it."""
        try:
            self._remove()
        finally:
            os.close(self._directory)

    def _remove(self) -> None:
        try:
            os.unlink(self._temporary, dir_fd=self._directory)
        except FileNotFoundError:
            # A program of the box, which has its directory, was faster.
            return


def _replaced(name: str, directory: int, path: str) -> os.stat_result | None:
    """The file that an upload replaces, if there is one. Raises `OSError` when it is something else."""
    try:
        status = os.lstat(name, dir_fd=directory)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise not_regular(status.st_mode, path)
    return status


def _give(fd: int, owner: Owner) -> None:
    """Set a file's owner; one unknown to this user namespace leaves it as it is."""
    status = os.fstat(fd)
    if (status.st_uid, status.st_gid) != owner:
        try:
            os.fchown(fd, *owner)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EPERM):
                raise


def not_regular(mode: int, path: str) -> OSError:
    """The error for a path that is there but is no regular file."""
    if stat.S_ISDIR(mode):
        return IsADirectoryError(errno.EISDIR, f"{path} is a directory")
    return OSError(errno.EINVAL, f"{path} is not a regular file")
