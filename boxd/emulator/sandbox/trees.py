"""Copying and removing the directory trees of boxes, whatever a box has put in them.

Both run in a process of their own, without recursion: a box may nest directories deeper than
Python's stack or the longest path allows.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat

_FICLONE = 0x40049409
_COPY_BYTES = 16 * 1024 * 1024


def remove(path: str) -> None:
    """Remove a tree. Changes the working directory, so only for a helper process."""
    if not os.path.lexists(path):
        return
    parent, name = os.path.split(os.path.abspath(path))
    os.chdir(parent)
    if not _is_directory(name):
        os.unlink(name)
        return
    _step_into(name)
    names = [name]
    pending = [_remove_files()]
    while names:
        if pending[-1]:
            child = pending[-1].pop()
            _step_into(child)
            names.append(child)
            pending.append(_remove_files())
        else:
            os.chdir("..")
            os.rmdir(names.pop())
            pending.pop()


def _is_directory(name: str) -> bool:
    return stat.S_ISDIR(os.lstat(name).st_mode)


def _step_into(name: str) -> None:
    if os.geteuid() != 0:
        os.chmod(name, 0o700)
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        os.fchdir(fd)
    finally:
        os.close(fd)


def _remove_files() -> list[str]:
    """Unlink everything in the working directory but directories; the names of those."""
    directories = []
    for name in os.listdir("."):
        if _is_directory(name):
            directories.append(name)
        else:
            os.unlink(name)
    return directories


def copy(source: str, target: str) -> None:
    """Copy a tree with owners, modes, times, links, devices and extended attributes.

    `target` must not exist. File contents are shared with the source where the file system can (FICLONE).
    """
    links: dict[tuple[int, int], str] = {}
    directories: list[tuple[str, str]] = []
    pending = [(source, target)]
    os.mkdir(target)
    while pending:
        origin, place = pending.pop()
        directories.append((origin, place))
        with os.scandir(origin) as entries:
            for entry in entries:
                copied = os.path.join(place, entry.name)
                if entry.is_dir(follow_symlinks=False):
                    os.mkdir(copied, 0o700)
                    pending.append((entry.path, copied))
                else:
                    _copy_entry(entry.path, copied, links)
    for origin, place in reversed(directories):
        _copy_metadata(origin, place, os.lstat(origin))


def _copy_entry(source: str, target: str, links: dict[tuple[int, int], str]) -> None:
    try:
        status = os.lstat(source)
    except FileNotFoundError:
        # A running box removed it between the listing and now.
        return
    if status.st_nlink > 1:
        first = links.setdefault((status.st_dev, status.st_ino), target)
        if first != target:
            os.link(first, target, follow_symlinks=False)
            return
    if stat.S_ISREG(status.st_mode):
        _copy_content(source, target)
    elif stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(source), target)
    else:
        # Also the character device 0:0, with which an overlay marks a removed file.
        os.mknod(target, status.st_mode, status.st_rdev)
    _copy_metadata(source, target, status)


def _copy_content(source: str, target: str) -> None:
    fd = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        out = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            if not _clone(fd, out):
                _copy_extents(fd, out)
        finally:
            os.close(out)
    finally:
        os.close(fd)


def _clone(fd: int, out: int) -> bool:
    try:
        fcntl.ioctl(out, _FICLONE, fd)
    except OSError:
        return False
    return True


def _copy_extents(fd: int, out: int) -> None:
    """Copy the data of a file and leave its holes holes."""
    size = os.fstat(fd).st_size
    offset = 0
    while offset < size:
        try:
            offset = os.lseek(fd, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break
        end = os.lseek(fd, offset, os.SEEK_HOLE)
        os.lseek(fd, offset, os.SEEK_SET)
        os.lseek(out, offset, os.SEEK_SET)
        while offset < end:
            count = os.sendfile(out, fd, None, min(end - offset, _COPY_BYTES))
            if count == 0:
                break
            offset += count
    os.ftruncate(out, size)


def _copy_metadata(source: str, target: str, status: os.stat_result) -> None:
    os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
    for name in os.listxattr(source, follow_symlinks=False):
        if name.startswith(("security.", "system.")):
            continue
        os.setxattr(target, name, os.getxattr(source, name, follow_symlinks=False), follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(target, stat.S_IMODE(status.st_mode))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)
