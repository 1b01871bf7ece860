"""Directories and names in a box: listing, making, moving, removing and copying.

Each function takes paths that are resolved as far as the last name, which is never followed if it is a link.
"""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import stat
from collections.abc import Callable
from typing import Any

MOST_ENTRIES = 10_000
"""The most entries that a listing has; of larger directories it tells that there are more."""

Result = dict[str, Any]


def perform(operation: str, targets: list[str], remove_tree: Callable[[str], None]) -> Result:
    """Do one operation (`list`, `mkdir`, `rename`, `remove` or `copy`) and return what it tells. Raises `OSError`.

    `remove_tree` removes a directory with what is in it.
    """
    if operation == "list":
        return listing(targets[0])
    if operation == "mkdir":
        os.mkdir(targets[0], 0o755)
    elif operation == "rename":
        _rename(targets[0], targets[1], remove_tree)
    elif operation == "remove":
        _remove(targets[0], remove_tree)
    else:
        _copy(targets[0], targets[1])
    return {}


def listing(directory: str) -> Result:
    """The entries of a directory, without their contents, and whether there are more."""
    entries = []
    with os.scandir(directory) as found:
        for entry in itertools.islice(found, MOST_ENTRIES):
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                # A command of the box removed it between the listing and now.
                continue
            is_directory = stat.S_ISDIR(status.st_mode)
            entries.append(
                {
                    # Names need not be text; what is not cannot be told in a protobuf string.
                    "name": os.fsencode(entry.name).decode("utf-8", "replace"),
                    "is_dir": is_directory,
                    "size": 0 if is_directory else status.st_size,
                    "permissions": stat.filemode(status.st_mode),
                    "modified": int(status.st_mtime),
                    # When it came to be is not kept by every file system.
                    "added": int(status.st_ctime),
                }
            )
        truncated = next(found, None) is not None
    return {"entries": entries, "truncated": truncated}


def _remove(target: str, remove_tree: Callable[[str], None]) -> None:
    if stat.S_ISDIR(os.lstat(target).st_mode):
        remove_tree(target)
    else:
        os.unlink(target)


def _rename(old: str, new: str, remove_tree: Callable[[str], None]) -> None:
    try:
        os.rename(old, new)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # The box's directories may be on several file systems.
        _copy(old, new)
        _remove(old, remove_tree)


def _copy(source: str, target: str) -> None:
    """Copy a file, or a directory with what is in it, to a name that is free. Links stay links."""
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    if f"{target}/".startswith(f"{source}/"):
        raise OSError(errno.EINVAL, "a directory cannot be copied into itself")
    pending = [(source, target)]
    directories: list[tuple[str, int]] = []
    while pending:
        origin, place = pending.pop()
        status = os.lstat(origin)
        if stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(origin), place)
        elif stat.S_ISDIR(status.st_mode):
            os.mkdir(place, 0o700)
            directories.append((place, stat.S_IMODE(status.st_mode)))
            pending += [(os.path.join(origin, name), os.path.join(place, name)) for name in os.listdir(origin)]
        elif stat.S_ISREG(status.st_mode):
            shutil.copyfile(origin, place, follow_symlinks=False)
            os.chmod(place, stat.S_IMODE(status.st_mode))
        else:
            raise OSError(errno.EINVAL, f"{os.path.basename(origin)} is neither a file nor a directory nor a link")
    # Last: a directory may be one that nothing can be written into.
    for place, mode in reversed(directories):
        os.chmod(place, mode)


def refuse_root() -> OSError:
    """The error for an operation that would move, replace or remove the root of a box."""
    return OSError(errno.EBUSY, "it is the root of the machine")
