"""The directory of an emulator's state: in one emulator's hands at a time, and removed when nobody has it any more.

A lock says so, flock(2) of a file in it. The emulator has it, and so have its helpers, which end what it has left
behind when it was killed: a second emulator waits for them.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import stat
import sys
import tempfile

if sys.platform != "win32":
    import fcntl

_PREFIX = "boxd-emulator-"
_LOCK = "lock"
_WAIT_SECONDS = 10.0
_LOOK_SECONDS = 0.02


async def open_state(wanted: str | None) -> tuple[str, int]:
    """The directory `wanted`, or for None a temporary one, and the descriptor of its lock, which belongs to the caller.

    Temporary ones that killed emulators have left behind are removed. Raises `OSError`: EBUSY when another emulator
    uses the directory.
    """
    if wanted is None:
        await asyncio.to_thread(_sweep, tempfile.gettempdir())
        path = tempfile.mkdtemp(prefix=_PREFIX)
    else:
        path = _make(wanted)
    lock = _open_lock(path, os.O_CREAT)
    try:
        until = asyncio.get_running_loop().time() + _WAIT_SECONDS
        # A lock that is freed tells nobody who does not block for it.
        while not _take(lock):
            if asyncio.get_running_loop().time() > until:
                raise OSError(errno.EBUSY, f"another emulator uses the state directory {path}: end it, or use another")
            await asyncio.sleep(_LOOK_SECONDS)
    except BaseException:
        os.close(lock)
        raise
    return path, lock


def _make(wanted: str) -> str:
    path = os.path.abspath(wanted)
    os.makedirs(path, mode=0o700, exist_ok=True)
    return path


def _open_lock(path: str, flags: int) -> int:
    return os.open(os.path.join(path, _LOCK), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600)


def _take(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sweep(parent: str) -> None:
    """Remove the temporary state directories of this user that no process has the lock of."""
    with os.scandir(parent) as entries:
        found = [entry for entry in entries if entry.name.startswith(_PREFIX)]
    for entry in found:
        try:
            status = entry.stat(follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
                continue
            lock = _open_lock(entry.path, 0)
        except OSError:
            # Without a lock it is not ours to judge, and one that is gone needs nothing.
            continue
        try:
            if _take(lock):
                shutil.rmtree(entry.path, ignore_errors=True)
        finally:
            os.close(lock)
