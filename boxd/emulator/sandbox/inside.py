"""File transfer as the box's first process does it: inside the box's own root directory.

Paths are resolved by the kernel in the box's mount namespace, so neither `..` nor a link leads out of it.
Only descriptors of regular files leave the box; the emulator reads or writes them itself.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from dataclasses import dataclass, field

from . import paths, trees

HOME = "/home/boxd"

_NO_MOUNTS = ("proc", "sys", "dev")


def _absolute(path: str) -> str:
    if not path or "\0" in path:
        raise OSError(errno.EINVAL, "the path is empty or has a NUL byte in it")
    return os.path.join(HOME, path)


def open_read(path: str, user: int, group: int) -> tuple[int, int]:
    """Open a regular file with the rights of `user`; its descriptor and size."""
    os.setegid(group)
    os.seteuid(user)
    try:
        # O_NONBLOCK: opening a FIFO must not wait for its writer.
        fd = os.open(_absolute(path), os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    finally:
        os.seteuid(0)
        os.setegid(0)
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        raise _not_regular(status.st_mode, path)
    return fd, status.st_size


def _not_regular(mode: int, path: str) -> OSError:
    if stat.S_ISDIR(mode):
        return IsADirectoryError(errno.EISDIR, f"{path} is a directory")
    return OSError(errno.EINVAL, f"{path} is not a regular file")


def path_operation(operation: str, names: list[str]) -> paths.Result:
    """Do an operation of `paths` as the process's own user. For a process of its own: it changes its directory."""
    targets = []
    for name in names:
        path = os.path.realpath(_absolute(name)) if operation == "list" else _last_unfollowed(_absolute(name))
        targets.append(path)
        if path == "/" and operation != "list":
            raise paths.refuse_root()
    return paths.perform(operation, targets, trees.remove)


def _last_unfollowed(path: str) -> str:
    """The path with its directory resolved by the kernel's rules, and its last name as it is."""
    directory, name = os.path.split(path.rstrip("/"))
    if name in ("", ".", ".."):
        return os.path.realpath(path)
    return os.path.join(os.path.realpath(directory), name)


@dataclass
class Uploads:
    """The files that are being written into this box, by number."""

    user: int
    group: int
    _open: dict[int, tuple[str, str]] = field(default_factory=dict)

    def begin(self, number: int, path: str) -> int:
        """Create a temporary file beside the destination and return its descriptor."""
        target = os.path.realpath(_absolute(path))
        if path.endswith("/"):
            raise IsADirectoryError(errno.EISDIR, f"{path} names a directory")
        parent = os.path.dirname(target)
        make_parents(parent, self.user, self.group)
        mode, user, group = 0o644, self.user, self.group
        if os.path.lexists(target):
            status = os.lstat(target)
            if not stat.S_ISREG(status.st_mode):
                raise _not_regular(status.st_mode, path)
            mode, user, group = stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid
        elif len(os.fsencode(os.path.basename(target))) > 255:
            raise OSError(errno.ENAMETOOLONG, f"the name of {path} is longer than 255 bytes")
        temporary = os.path.join(parent, f".boxd-upload-{secrets.token_hex(8)}")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._open[number] = (temporary, target)
        try:
            take_over(fd, mode, user, group)
        except OSError:
            os.close(fd)
            self.abort(number)
            raise
        return fd

    def commit(self, number: int) -> None:
        """Put the finished file in its place, replacing an older one at once."""
        temporary, target = self._open.pop(number)
        try:
            os.rename(temporary, target)
        except OSError:
            os.unlink(temporary)
            raise

    def abort(self, number: int) -> None:
        """Remove an unfinished file; unknown numbers are ignored, since a failed `begin` leaves none."""
        temporary, _ = self._open.pop(number, ("", ""))
        if temporary and os.path.lexists(temporary):
            os.unlink(temporary)


def mount_point(path: str, user: int, group: int) -> str:
    """The directory for a mount, made if it is missing. Not one that the machine's working depends on."""
    target = os.path.realpath(_absolute(path))
    if target == "/" or target.split("/")[1] in _NO_MOUNTS:
        raise OSError(errno.EINVAL, f"nothing can be mounted at {target}")
    make_parents(target, user, group)
    if not os.path.isdir(target):
        raise NotADirectoryError(errno.ENOTDIR, f"{target} is not a directory")
    return target


def make_parents(directory: str, user: int, group: int) -> None:
    """Create a directory and its missing parents, owned by the machine user."""
    missing = []
    while not os.path.lexists(directory):
        missing.append(directory)
        directory = os.path.dirname(directory)
    for path in reversed(missing):
        os.mkdir(path, 0o755)
        os.chown(path, user, group)


def take_over(fd: int, mode: int, user: int, group: int) -> None:
    """Set owner and mode; an owner unknown to this user namespace is replaced by nobody's change."""
    status = os.fstat(fd)
    if (status.st_uid, status.st_gid) != (user, group):
        try:
            os.fchown(fd, user, group)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EPERM):
                raise
    os.fchmod(fd, mode)


def open_console() -> int:
    """Make /dev/console, a named pipe that all programs of the box may write; its reading end.

    The pipe is kept open for writing too, so that it does not end with the first program that used it. It is no
    terminal: a program that opened one without O_NOCTTY would be hung up with it.
    """
    os.mkfifo("/dev/console")
    os.chmod("/dev/console", 0o622)
    os.open("/dev/console", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    return os.open("/dev/console", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
