"""Limits on a box's memory and processes by control groups, where this process may make some (cgroups(7)).

Both generations of the kernel's interface serve: version 2 with its one tree, version 1 with a tree for each
controller. Where neither can be written there are no groups, and resource limits have to do.
"""

from __future__ import annotations

import fcntl
import os
import time
from dataclasses import dataclass

_FILES = {
    "v2": {"memory": "memory.max", "pids": "pids.max"},
    "v1": {"memory": "memory.limit_in_bytes", "pids": "pids.max"},
}
_PROBE_BYTES = 64 * 1024 * 1024
_YOUNG_SECONDS = 60.0

PREFIX = "boxd-"
"""How the names of emulators' groups begin."""


@dataclass(frozen=True)
class Tree:
    """A directory in which groups can be made, and the files of a group that take its limits, by controller."""

    path: str
    files: dict[str, str]


class Groups:
    """A group for each box below one of the emulator's own, called `name`, in each of `trees`."""

    def __init__(self, trees: list[Tree], name: str) -> None:
        self._trees = trees
        self._name = name
        self._held: list[int] = []

    def hold(self) -> None:
        """Lock the emulator's own groups while this process lives, against `sweep`. Raises `OSError`."""
        for tree in self._trees:
            fd = os.open(os.path.join(tree.path, self._name), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._held.append(fd)
            fcntl.flock(fd, fcntl.LOCK_SH)

    def sweep(self) -> None:
        """Remove the groups of emulators that have ended without doing so: nobody holds them. Those that have just
        been made may be about to be held."""
        for tree in self._trees:
            for entry in os.scandir(tree.path):
                old = entry.name.startswith(PREFIX) and entry.stat().st_mtime < time.time() - _YOUNG_SECONDS
                if old and entry.is_dir() and not _is_held(entry.path):
                    _remove_all(entry.path)

    def make(self, box: str, memory_bytes: int, processes: int) -> None:
        """Make a box's group. Raises `OSError`."""
        limits = {"memory": memory_bytes, "pids": processes}
        for tree in self._trees:
            group = os.path.join(tree.path, self._name, box)
            os.makedirs(group, exist_ok=True)
            for controller, name in tree.files.items():
                _write(os.path.join(group, name), str(limits[controller]))

    def join(self, box: str) -> None:
        """Move this process, and with it those that it starts, into a box's group. Raises `OSError`."""
        for tree in self._trees:
            _write(os.path.join(tree.path, self._name, box, "cgroup.procs"), "0")

    def remove(self, box: str = "") -> None:
        """Remove a box's group, whose processes have ended, or without a box all that is left."""
        for tree in self._trees:
            own = os.path.join(tree.path, self._name)
            if box:
                _remove(os.path.join(own, box))
            elif os.path.isdir(own):
                _remove_all(own)


def _is_held(path: str) -> bool:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _remove_all(own: str) -> None:
    for entry in os.scandir(own):
        if entry.is_dir():
            _remove(entry.path)
    _remove(own)


def _remove(path: str) -> None:
    try:
        os.rmdir(path)
    except OSError:
        # Gone, or not empty: then a process in it has not ended, and the next removal finds it.
        return


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as target:
        target.write(text)


def find(name: str) -> Groups | None:
    """The groups that can be made here, tried by making one; None where that does not work."""
    for version in (_version_2(), _version_1()):
        groups = Groups(version, name)
        try:
            if {controller for tree in version for controller in tree.files} != {"memory", "pids"}:
                continue
            groups.sweep()
            for tree in version:
                os.mkdir(os.path.join(tree.path, name))
                if "memory.max" in tree.files.values():
                    _write(os.path.join(tree.path, name, "cgroup.subtree_control"), "+memory +pids")
            groups.hold()
            groups.make("probe", _PROBE_BYTES, 16)
            groups.remove("probe")
        except OSError:
            groups.remove()
            continue
        return groups
    return None


def trees() -> list[Tree]:
    """All trees in which `find` may have made groups."""
    return [*_version_2(), *_version_1()]


def _mounts(kind: str) -> list[tuple[str, set[str]]]:
    """The mount points of a type of file system, with their mount options."""
    with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as source:
        rows = [line.split(" ") for line in source]
    return [(row[1], set(row[3].split(","))) for row in rows if row[2] == kind]


def _own_path(number_and_names: str) -> str:
    """This process's group: a path in the tree whose row in /proc/self/cgroup has this controller ("" is version 2)."""
    with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as source:
        for line in source:
            _, names, path = line.rstrip("\n").split(":", 2)
            if number_and_names in names.split(","):
                return path.lstrip("/")
    return ""


def _version_2() -> list[Tree]:
    for point, _ in _mounts("cgroup2"):
        # The group of this process cannot have groups with limits beside processes, so the one above comes first.
        own = os.path.join(point, _own_path(""))
        for path in dict.fromkeys((os.path.dirname(own) if own != point else point, point)):
            try:
                with open(os.path.join(path, "cgroup.subtree_control"), encoding="ascii") as source:
                    given = source.read().split()
            except OSError:
                continue
            if {"memory", "pids"} <= set(given) and os.access(path, os.W_OK):
                return [Tree(path.rstrip("/"), _FILES["v2"])]
    return []


def _version_1() -> list[Tree]:
    trees = []
    for controller, name in _FILES["v1"].items():
        for point, options in _mounts("cgroup"):
            if controller in options:
                own = os.path.join(point, _own_path(controller))
                trees.append(Tree((own if os.path.isdir(own) else point).rstrip("/"), {controller: name}))
                break
    return trees
