"""File transfer as the box's first process does it: inside the box's own root directory.

Paths are walked in the box's mount namespace (see `walk`), so neither `..` nor a link leads out of it, nor through
/proc to what this process has open. Only descriptors of regular files leave the box; the emulator reads or writes
them itself.
"""

from __future__ import annotations

import errno
import os

from . import paths, rootfs, trees, walk

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
        fd, size = walk.open_read("/", _absolute(path))
    finally:
        os.seteuid(0)
        os.setegid(0)
    # What /proc tells a process of itself it does not tell the box's programs of this one.
    if os.readlink(f"/proc/self/fd/{fd}").startswith("/proc/1/"):
        os.close(fd)
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return fd, size


def open_write(path: str, user: int, group: int) -> walk.PendingFile:
    """Begin a file with all rights in the box, so that the machine user gets files wherever one is wanted."""
    absolute = _absolute(path)
    return walk.PendingFile("/", absolute, (user, group))


def path_operation(operation: str, names: list[str]) -> paths.Result:
    """Do an operation of `paths` as the process's own user. For a process of its own: it changes its directory."""
    targets = []
    for name in names:
        path = os.path.realpath(_absolute(name)) if operation == "list" else _last_unfollowed(_absolute(name))
        targets.append(path)
        if path == "/" and operation != "list":
            raise paths.refuse_root()
        if operation in ("remove", "rename") and path in rootfs.mount_points():
            # Before a file in it is removed, or copied elsewhere.
            raise OSError(errno.EBUSY, f"{path} is a disk or another mount")
    return paths.perform(operation, targets, trees.remove)


def _last_unfollowed(path: str) -> str:
    """The path with its directory resolved by the kernel's rules, and its last name as it is."""
    directory, name = os.path.split(path.rstrip("/"))
    if name in ("", ".", ".."):
        return os.path.realpath(path)
    return os.path.join(os.path.realpath(directory), name)


def mount_point(path: str, user: int, group: int) -> tuple[int, str]:
    """The directory for a mount, made if it is missing: a descriptor and its path. Not one that the machine's working
    depends on."""
    with walk.Walk("/", (user, group)) as way:
        name = way.to_parent(_absolute(path), create=True)
        target = os.path.normpath(os.path.join(way.path, name))
        if target == "/" or target.split("/")[1] in _NO_MOUNTS:
            raise OSError(errno.EINVAL, f"nothing can be mounted at {target}")
        way.down(name, create=True)
        return os.dup(way.directory), target


def open_console() -> int:
    """Make /dev/console, a named pipe that all programs of the box may write; its reading end.

    The pipe is kept open for writing too, so that it does not end with the first program that used it. It is no
    terminal: a program that opened one without O_NOCTTY would be hung up with it.
    """
    os.mkfifo("/dev/console")
    os.chmod("/dev/console", 0o622)
    os.open("/dev/console", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    return os.open("/dev/console", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
