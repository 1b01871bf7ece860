"""The file system of a box: a private, writable view of the host's files.

The host's directories are the lower layers of overlay mounts; what a box writes stays in the box's
disk directory (`root/`, `upper/`, `work/`). With full root rights one overlay covers `/`; in a user namespace
the kernel allows no overlay over a tree that has other mounts in it, so each such top directory gets its own.
Home directories, temporary files and everything that other file systems hold on the host stay hidden.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass

from . import linux, sudo

_HIDDEN = {
    "home": 0o755,
    "root": 0o700,
    "tmp": 0o1777,
    "run": 0o755,
    "mnt": 0o755,
    "media": 0o755,
    "var/tmp": 0o1777,
    "proc": 0o555,
    "sys": 0o555,
    "dev": 0o755,
}
# Secrets that many hosts keep on their root file system: empty directories in a box.
_SECRET = ("etc/ssh", "etc/ssl/private", "etc/sudoers.d", "var/lib/docker", "var/lib/containerd")
# What services' users have as their homes, and a box needs.
_SYSTEM = ("/bin", "/etc", "/lib", "/lib64", "/opt", "/sbin", "/usr/bin", "/usr/games", "/usr/sbin", "/var/lib")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_READ_ONLY_PROC = ("sys", "sysrq-trigger", "irq", "bus", "fs")
# What only the machine's root may read or write there, and the box's root has its number.
_MASKED_PROC = (
    "acpi",
    "asound",
    "dynamic_debug",
    "kcore",
    "key-users",
    "keys",
    "kpagecgroup",
    "kpagecount",
    "kpageflags",
    "latency_stats",
    "mtrr",
    "pagetypeinfo",
    "sched_debug",
    "scsi",
    "slabinfo",
    "timer_list",
    "timer_stats",
    "vmallocinfo",
)
_NAME_DEPTH = 2


@dataclass(frozen=True)
class Layer:
    """One overlay: the host's directory `lower` appears at `path` in the box ("" is the root)."""

    lower: str
    path: str

    @property
    def key(self) -> str:
        """The name of this layer's directory under `upper` and `work`."""
        return self.path.replace("%", "%25").replace("/", "%2F") or "%root"


@dataclass(frozen=True)
class Plan:
    """How the boxes of one emulator are laid out.

    `privileged` says whether the mounts are made with the rights of the machine's root; `user` and `group`
    are the numeric owner of the box's home, and `hidden` are absolute host paths that a box must not see even
    empty. With `sudo`, the box's user can become its root. `own_network` gives each box a network of its own.
    """

    layers: tuple[Layer, ...]
    privileged: bool
    user: int
    group: int
    hidden: tuple[str, ...]
    sudo: bool
    own_network: bool = False

    def place(self, disk: str, path: str) -> str:
        """The path on the disk where the box's `path` (relative to its root) is written."""
        best: Layer | None = None
        for layer in self.layers:
            inside = not layer.path or path == layer.path or path.startswith(layer.path + "/")
            if inside and (best is None or len(layer.path) > len(best.path)):
                best = layer
        if best is None:
            return os.path.join(disk, "root", path)
        return os.path.join(disk, "upper", best.key, path[len(best.path) :].lstrip("/"))


def mount_points() -> set[str]:
    """The mount points that this process sees, from /proc/self/mountinfo."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as source:
        found = {line.split(" ")[4] for line in source}
    # Not by a codec: in a box, Python's files are not there to be imported.
    for escaped, sign in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        found = {point.replace(escaped, sign) for point in found}
    return found


def to_hide(state: str, home: str) -> tuple[str, ...]:
    """Which of the emulator's state directory and its user's home a box would show otherwise."""
    wanted = [os.path.realpath(state)]
    home = os.path.realpath(home)
    if home != "/" and os.path.isdir(home) and not any(f"{path}/".startswith(f"{home}/") for path in _SYSTEM):
        wanted.append(home)
    hidden = tuple(f"/{path}/" for path in _HIDDEN)
    return tuple(path for path in wanted if not f"{path}/".startswith(hidden))


def split_layers(mounts: Iterable[str], top: str = "/") -> list[Layer]:
    """One layer for each directory that the box shows and that has no other mount below it."""
    layers: list[Layer] = []
    points = [point.rstrip("/") + "/" for point in mounts]
    for entry in sorted(os.scandir(top), key=lambda item: item.name):
        path = entry.path.lstrip("/")
        if not entry.is_dir(follow_symlinks=False) or path in _HIDDEN or any(sign in path for sign in ":,\\"):
            continue
        if not os.access(entry.path, os.R_OK | os.X_OK):
            continue
        if any(point.startswith(entry.path + "/") and point != entry.path + "/" for point in points):
            layers.extend(split_layers(mounts, entry.path))
        else:
            layers.append(Layer(entry.path, path))
    return layers


def make_disk(plan: Plan, disk: str) -> None:
    """Lay out a new box's disk directory."""
    os.mkdir(disk, 0o755)
    for name in ("root", "upper", "work"):
        os.mkdir(os.path.join(disk, name), 0o755)
    for layer in plan.layers:
        os.makedirs(os.path.join(disk, "upper", layer.key))
        os.makedirs(os.path.join(disk, "work", layer.key))
        if not plan.privileged:
            _own_directories(layer.lower, os.path.join(disk, "upper", layer.key), _NAME_DEPTH)
    if not any(layer.path == "" for layer in plan.layers):
        _copy_links(os.path.join(disk, "root"))
    for path, mode in _HIDDEN.items():
        _hide(plan, disk, path, mode)
    for path in _SECRET:
        if os.path.isdir("/" + path):
            _hide(plan, disk, path, 0o755)
    home = plan.place(disk, "home/boxd")
    os.mkdir(home, 0o755)
    os.chown(home, plan.user, plan.group)
    for layer in plan.layers:
        os.makedirs(os.path.join(disk, "root", layer.path), exist_ok=True)
    write_names(plan, disk)
    if plan.sudo:
        sudo.install(plan, disk)


def _own_directories(lower: str, upper: str, depth: int) -> None:
    """Give the box directories of its own over the host's, which belong to users unknown in its namespace.

    Without them the box's root could not create a file in /etc/apt or /usr/local/bin.
    """
    if depth == 0:
        return
    with os.scandir(lower) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False) and os.access(entry.path, os.R_OK | os.X_OK):
                target = os.path.join(upper, entry.name)
                os.mkdir(target)
                os.chmod(target, stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode) | 0o700)
                deeper = depth if entry.name == "local" else depth - 1
                _own_directories(entry.path, target, deeper)


def _copy_links(root: str) -> None:
    for entry in os.scandir("/"):
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), os.path.join(root, entry.name))


def _hide(plan: Plan, disk: str, path: str, mode: int) -> None:
    """An empty directory where the host has one of its own."""
    target = plan.place(disk, path)
    os.makedirs(target, exist_ok=True)
    os.chmod(target, mode)
    if target.startswith(os.path.join(disk, "upper")):
        space = "trusted" if plan.privileged else "user"
        os.setxattr(target, f"{space}.overlay.opaque", b"y")


def write_names(plan: Plan, disk: str) -> None:
    """Write the box's /etc: its resolver and, where users can be told apart, its user."""
    etc = plan.place(disk, "etc")
    os.makedirs(etc, exist_ok=True)
    _write(etc, "resolv.conf", _host_text("/etc/resolv.conf"))
    if plan.user == 0:
        return
    who = f"boxd:x:{plan.user}:{plan.group}:boxd:/home/boxd:/bin/sh\n"
    _write(etc, "passwd", _without_boxd(_host_text("/etc/passwd")) + who)
    _write(etc, "shadow", "root:*:::::::\nboxd:*:::::::\n")
    _write(etc, "gshadow", "root:*::\nboxd:*::\n")
    for name in ("shadow", "gshadow"):
        os.chmod(os.path.join(etc, name), 0o600)
    _write(etc, "group", _without_boxd(_host_text("/etc/group")) + f"boxd:x:{plan.group}:\n")


def _without_boxd(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("boxd:"))


def _host_text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as source:
            text = source.read()
    except OSError:
        return ""
    return text if not text or text.endswith("\n") else text + "\n"


def _write(directory: str, name: str, text: str) -> None:
    with open(os.path.join(directory, name), "w", encoding="utf-8", errors="surrogateescape") as target:
        target.write(text)


def free_user_id() -> int:
    """A user and group number from 1000 up that nobody on the host has."""
    taken = set()
    for path in ("/etc/passwd", "/etc/group"):
        for line in _host_text(path).splitlines():
            fields = line.split(":")
            if len(fields) > 2 and fields[2].isdigit():
                taken.add(int(fields[2]))
    return next(number for number in range(1000, 60000) if number not in taken)


def enter(plan: Plan, disk: str) -> int:
    """Mount the box's file system and make it this process's root.

    The caller is the first process of the box's pid namespace, alone in its mount namespace. Returns a descriptor of
    /proc/sys/user, which can be written through it and not by its path.
    """
    os.chdir(disk)
    if not any(layer.path == "" for layer in plan.layers):
        linux.mount("root", "root", flags=linux.MS_BIND)
    options = "index=off,metacopy=off,redirect_dir=off" if plan.privileged else "userxattr"
    for layer in sorted(plan.layers, key=lambda item: len(item.path)):
        places = f"lowerdir={layer.lower},upperdir=upper/{layer.key},workdir=work/{layer.key}"
        linux.mount("overlay", f"root/{layer.path}", "overlay", linux.MS_NODEV, f"{places},{options}")
    os.chdir("root")
    for path in plan.hidden:
        if os.path.lexists(path.lstrip("/")):
            linux.mount("tmpfs", path.lstrip("/"), "tmpfs", linux.MS_RDONLY, "mode=000,size=4k")
    linux.mount("tmpfs", "run", "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=755")
    _mount_devices(plan.privileged)
    namespace_limits = _mount_proc()
    linux.pivot_root_here()
    return namespace_limits


def _mount_devices(privileged: bool) -> None:
    linux.mount("tmpfs", "dev", "tmpfs", linux.MS_NOSUID, "mode=755,size=64k")
    for name in _DEVICES:
        with open(f"dev/{name}", "wb"):
            linux.mount(f"/dev/{name}", f"dev/{name}", flags=linux.MS_BIND)
        if privileged:
            # The node is the host's: without this the box's root could change its mode for everybody.
            read_only = linux.MS_BIND | linux.MS_REMOUNT | linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NOEXEC
            linux.mount("none", f"dev/{name}", flags=read_only)
    for name in ("pts", "shm"):
        os.mkdir(f"dev/{name}")
    plain = linux.MS_NOSUID | linux.MS_NOEXEC
    linux.mount("devpts", "dev/pts", "devpts", plain, "newinstance,ptmxmode=0666,mode=620")
    linux.mount("tmpfs", "dev/shm", "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=1777")
    os.symlink("pts/ptmx", "dev/ptmx")
    os.symlink("/proc/self/fd", "dev/fd")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        os.symlink(f"/proc/self/fd/{number}", f"dev/{name}")


def _mount_proc() -> int:
    flags = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
    linux.mount("proc", "proc", "proc", flags)
    namespace_limits = os.open("proc/sys/user", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for name in _READ_ONLY_PROC:
        path = f"proc/{name}"
        if os.path.lexists(path):
            linux.mount(path, path, flags=linux.MS_BIND)
            linux.mount("none", path, flags=linux.MS_BIND | linux.MS_REMOUNT | linux.MS_RDONLY | flags)
    for name in _MASKED_PROC:
        path = f"proc/{name}"
        if os.path.isdir(path):
            linux.mount("tmpfs", path, "tmpfs", linux.MS_RDONLY, "mode=555,size=4k")
        elif os.path.lexists(path):
            linux.mount("/dev/null", path, flags=linux.MS_BIND)
    return namespace_limits


def forbid_cgroup_namespaces(namespace_limits: int) -> None:
    """Let no program of the box, in whatever user namespace it makes, have a cgroup namespace; takes `enter`'s result.

    With one it could mount the control groups, and the files there belong to a user whose number its root has: it
    would raise its own limits and change the groups of the host. Called in the box's own user namespace.
    """
    try:
        fd = os.open("max_cgroup_namespaces", os.O_WRONLY | os.O_CLOEXEC, dir_fd=namespace_limits)
    except FileNotFoundError:
        # A kernel without control groups.
        return
    finally:
        os.close(namespace_limits)
    with open(fd, "w", encoding="ascii") as target:
        target.write("0")


def name_box(hostname: str) -> None:
    """Write the files that tell the box's name. Called inside the box, where links lead nowhere else."""
    texts = {
        "/etc/hostname": hostname + "\n",
        "/etc/hosts": f"127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {hostname}\n",
    }
    try:
        with open("/etc/hostname", encoding="utf-8", errors="replace") as source:
            if source.read() == texts["/etc/hostname"]:
                return
    except OSError:
        os.makedirs("/etc", exist_ok=True)
    for path, text in texts.items():
        if os.path.lexists(path):
            os.unlink(path)
        with open(path, "x", encoding="utf-8") as target:
            target.write(text)
