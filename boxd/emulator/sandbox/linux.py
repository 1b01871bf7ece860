"""The few Linux system calls that Python 3.10 does not offer, through libc.

Everything here is a thin wrapper: arguments as the manual page of the call has
them, `OSError` with the call's errno on failure. Only the sandbox uses it.
"""

from __future__ import annotations

import ctypes
import errno
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 0x2

# Of the mount calls that Linux 5.2 and 5.12 brought; their numbers are the same on every architecture here.
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_OPEN_TREE_CLONE = 0x1
_OPEN_TREE_CLOEXEC = 0o2000000
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
_MOVE_MOUNT_T_EMPTY_PATH = 0x40
_AT_EMPTY_PATH = 0x1000
_AT_FDCWD = -100
MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38

_PIVOT_ROOT = {
    "x86_64": 155,
    "aarch64": 41,
    "riscv64": 41,
    "ppc64le": 203,
    "s390x": 217,
    "i686": 217,
    "armv7l": 218,
}

_KEYCTL = {
    "x86_64": 250,
    "aarch64": 219,
    "riscv64": 219,
    "ppc64le": 271,
    "s390x": 280,
    "i686": 288,
    "armv7l": 311,
}
_KEYCTL_JOIN_SESSION_KEYRING = 1

# Capabilities (capability.h numbers) that a program in a box may hold when it is the box's root:
# chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap, net_bind_service, net_raw,
# sys_chroot, audit_write, setfcap. The others reach into the kernel and are dropped for good.
KEPT_CAPABILITIES = frozenset({0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 29, 31})

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
_libc.unshare.argtypes = (ctypes.c_int,)
_libc.setns.argtypes = (ctypes.c_int, ctypes.c_int)
_libc.sethostname.argtypes = (ctypes.c_char_p, ctypes.c_size_t)
_libc.prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def unshare(flags: int) -> None:
    """Leave the namespaces named by `flags` (unshare(2))."""
    _check(_libc.unshare(flags), f"unshare({flags:#x})")


def setns(fd: int, kind: int) -> None:
    """Enter the namespace behind `fd` (setns(2))."""
    _check(_libc.setns(fd, kind), "setns")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mount `source` on `target` (mount(2)); empty `kind` and `options` are passed as NULL."""
    result = _libc.mount(
        os.fsencode(source),
        os.fsencode(target),
        os.fsencode(kind) or None,
        flags,
        os.fsencode(options) or None,
    )
    _check(result, f"mount {kind or source} on {target}")


def unmount(target: str, flags: int = MNT_DETACH) -> None:
    """Take a mount away (umount2(2))."""
    _check(_libc.umount2(os.fsencode(target), flags), f"umount {target}")


def clone_mount(path: str, attributes: int) -> int:
    """A detached copy of the mount below `path`, with these MOUNT_ATTR flags (open_tree(2), mount_setattr(2)).

    The result is a descriptor, which a process in another mount namespace can put in place with `move_mount`.
    """
    flags = ctypes.c_uint(_OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC)
    fd: int = _libc.syscall(ctypes.c_long(_OPEN_TREE), ctypes.c_int(_AT_FDCWD), os.fsencode(path), flags)
    _check(min(fd, 0), f"open_tree {path}")
    try:
        wanted = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)
        size = ctypes.c_size_t(ctypes.sizeof(wanted))
        empty = ctypes.c_uint(_AT_EMPTY_PATH)
        number = ctypes.c_long(_MOUNT_SETATTR)
        _check(_libc.syscall(number, ctypes.c_int(fd), b"", empty, ctypes.byref(wanted), size), "mount_setattr")
    except OSError:
        os.close(fd)
        raise
    return fd


def move_mount(fd: int, directory: int) -> None:
    """Put a detached mount over an open directory (move_mount(2))."""
    source, target = ctypes.c_int(fd), ctypes.c_int(directory)
    flags = ctypes.c_uint(_MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH)
    _check(_libc.syscall(ctypes.c_long(_MOVE_MOUNT), source, b"", target, b"", flags), "move_mount")


def pivot_root_here() -> None:
    """Make the working directory, a mount point, the root, and drop the old one (pivot_root(2))."""
    number = _PIVOT_ROOT.get(os.uname().machine)
    if number is None:
        raise OSError(38, f"pivot_root: its number is not known on {os.uname().machine}")
    _check(_libc.syscall(ctypes.c_long(number), b".", b"."), "pivot_root")
    unmount(".", MNT_DETACH)
    os.chdir("/")


def set_hostname(name: str) -> None:
    """Set the name of the current UTS namespace (sethostname(2))."""
    raw = name.encode()
    _check(_libc.sethostname(raw, len(raw)), "sethostname")


def die_with_parent(signal_number: int) -> None:
    """Ask the kernel for `signal_number` when the parent ends (PR_SET_PDEATHSIG)."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")


def set_dumpable(yes: bool) -> None:
    """Open or close this process's /proc entries and memory to others of the same user (PR_SET_DUMPABLE)."""
    _check(_libc.prctl(PR_SET_DUMPABLE, int(yes), 0, 0, 0), "prctl(PR_SET_DUMPABLE)")


def forbid_new_privileges() -> None:
    """Make set-user-id programs and file capabilities powerless from here on (PR_SET_NO_NEW_PRIVS)."""
    _check(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")


def drop_bounding_capabilities() -> None:
    """Take every capability but `KEPT_CAPABILITIES` from all programs started from here on."""
    with open("/proc/sys/kernel/cap_last_cap", encoding="utf-8") as source:
        last = int(source.read())
    for capability in range(last + 1):
        if capability not in KEPT_CAPABILITIES:
            _check(_libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0), f"prctl(PR_CAPBSET_DROP, {capability})")


def leave_keyring() -> None:
    """Give this process, and those that it starts, an empty session keyring (keyctl(2)).

    The keys of the session that started the emulator would be theirs otherwise. A kernel without keys has nothing to
    leave.
    """
    number = _KEYCTL.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, f"keyctl: its number is not known on {os.uname().machine}")
    if _libc.syscall(ctypes.c_long(number), ctypes.c_int(_KEYCTL_JOIN_SESSION_KEYRING), None) < 0:
        code = ctypes.get_errno()
        if code != errno.ENOSYS:
            raise OSError(code, f"keyctl: {os.strerror(code)}")


def set_title(title: str) -> None:
    """Overwrite this process's command line as `ps` shows it, which has paths of the host."""
    with open("/proc/self/stat", encoding="utf-8", errors="replace") as source:
        fields = source.read().rpartition(")")[2].split()
    # proc(5): arg_start and arg_end are fields 48 and 49; the split begins at field 3.
    start, end = int(fields[45]), int(fields[46])
    if 0 < start < end:
        raw = title.encode()[: end - start - 1]
        ctypes.memmove(start, raw.ljust(end - start, b"\0"), end - start)
