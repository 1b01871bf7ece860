"""Two hundred boxes at once, and that nothing is left of them on the host, however they and their emulator end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

import boxd
from tests.emulator.support import mounts, processes, works

ROOT = Path(__file__).parents[2]
NAMESPACES = ("mnt", "pid", "net", "uts", "ipc", "user")
COUNT = 200

T = TypeVar("T")
R = TypeVar("R")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc"),
]


@dataclass
class Server:
    """An emulator in a process of its own, and what it has on the host."""

    process: subprocess.Popen[str]
    temporary: Path
    client: boxd.Compute
    before: str = field(default_factory=mounts)

    @property
    def helpers(self) -> set[int]:
        """All processes below it."""
        found, last = {self.process.pid}, 0
        table = _parents()
        while len(found) != last:
            last = len(found)
            found |= {pid for pid, parent in table.items() if parent in found}
        return found - {self.process.pid}

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def disks(self) -> list[str]:
        (state,) = self.temporary.iterdir()
        return os.listdir(state / "disks")

    def footprint(self) -> Footprint:
        helpers = self.helpers
        groups = {
            part
            for pid in helpers
            for part in _text(f"/proc/{pid}/cgroup").replace("\n", "/").split("/")
            if part.startswith(("boxd-", "vm-"))
        }
        spaces = {link for pid in helpers for link in _namespaces(pid)} - _namespaces(os.getpid())
        return Footprint(helpers | {self.process.pid}, spaces, groups, self._ports(), self.before, self.temporary)

    def _ports(self) -> set[str]:
        sockets = {_link(f"/proc/{self.process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{self.process.pid}/fd")}
        return {port for port, inode in _listening() if f"socket:[{inode}]" in sockets}


@dataclass
class Footprint:
    """Processes, namespaces, control groups, listening ports, mounts and files of an emulator."""

    processes: set[int]
    spaces: set[str]
    groups: set[str]
    ports: set[str]
    mounts: str
    temporary: Path
    everything: set[int] = field(default_factory=lambda: {int(name) for name in os.listdir("/proc") if name.isdigit()})
    """All processes then: a later one may have a namespace of the same number."""

    def left(self) -> dict[str, Any]:
        """What is still there."""
        everything = {pid for pid in self.everything if _runs(pid)}
        spaces = {link for pid in everything for link in _namespaces(pid)}
        groups = {name for _, names, _ in os.walk("/sys/fs/cgroup") for name in names}
        found = {
            "processes": self.processes & everything,
            "namespaces": self.spaces & spaces,
            "groups": self.groups & groups,
            "ports": self.ports & {port for port, _ in _listening()},
            "mounts": mounts() != self.mounts,
            "files": os.listdir(self.temporary),
        }
        return {what: value for what, value in found.items() if value}


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _runs(pid: int) -> bool:
    """Whether there is such a process, and not only its exit code, which whoever is the parent now may yet read."""
    return _text(f"/proc/{pid}/stat").rpartition(")")[2].split()[:1] not in ([], ["Z"], ["X"])


def _namespaces(pid: int) -> set[str]:
    return {_link(f"/proc/{pid}/ns/{kind}") for kind in NAMESPACES} - {""}


def _parents() -> dict[int, int]:
    numbers = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    fields = {pid: _text(f"/proc/{pid}/stat").rpartition(")")[2].split() for pid in numbers}
    return {pid: int(stat[1]) for pid, stat in fields.items() if stat}


def _listening() -> list[tuple[str, str]]:
    """Local address and inode of the listening TCP sockets."""
    rows = [line.split() for line in _text("/proc/net/tcp").splitlines()[1:]]
    return [(row[1], row[9]) for row in rows if row[3] == "0A"]


def soon(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    """Wait until there is nothing of it; nothing announces the ends of another process's children."""
    until = time.monotonic() + seconds
    while left := condition():
        assert time.monotonic() < until, left
        time.sleep(0.05)


def all_at_once(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(work, items))


@contextmanager
def server(temporary: Path, sandbox: str) -> Iterator[Server]:
    if sandbox == "namespaces" and works("root") and works("user-namespace"):
        pytest.skip("no namespaces here")
    options = json.dumps({"sandbox": sandbox, "max_boxes": 2 * COUNT})
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fixtures.serve", "emulator", options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    before = mounts()
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            where = json.loads(process.stdout.readline())
            with boxd.Compute(token=where["token"], api_url=where["api_url"]) as client:
                yield Server(process, temporary, client, before)
        finally:
            process.stdin.close()
            process.wait(30)


def fill(one: Server, mark: str) -> list[boxd.Box]:
    """Half of the boxes made and half forked, each with a program that runs on; every third suspended."""
    c = one.client
    boxes = all_at_once(lambda _: c.box.create(), range(COUNT // 2))
    boxes += all_at_once(lambda box: c.box.fork(box, f"{box.name}-copy"), boxes)
    assert len({box.id for box in boxes}) == len(c.box.list()) == COUNT
    results = all_at_once(lambda box: box.exec("sh", "-c", f"sleep {mark} >/dev/null 2>&1 & echo $!"), boxes)
    assert all(result.exit_code == 0 for result in results)
    soon(lambda: COUNT - len(processes(f"sleep\0{mark}")))
    all_at_once(lambda box: box.suspend(), boxes[::3])
    return boxes


@pytest.fixture
def mark() -> str:
    """The argument of `sleep` that tells the programs of one test."""
    return f"{time.time_ns() % 10**9 + 10**6}.5"


@pytest.mark.parametrize("sandbox", ["namespaces", "plain"])
def test_destroyed_by_calls(tmp_path: Path, sandbox: str, mark: str) -> None:
    with server(tmp_path, sandbox) as one:
        one.client.box.create().destroy()
        helpers, descriptors = one.helpers, one.descriptors()
        boxes = fill(one, mark)
        footprint = one.footprint()
        all_at_once(lambda box: box.resume(), boxes[::6])
        all_at_once(lambda box: box.stop(), boxes[1::3])
        all_at_once(lambda box: box.destroy(), boxes)
        assert one.client.box.list() == []
        soon(lambda: processes(f"sleep\0{mark}"))
        assert one.disks() == []
        soon(lambda: one.helpers - helpers)
        assert not {name for name in footprint.left().get("groups", ()) if name.startswith("vm-")}
        # The client's connections are a few more or less.
        assert one.descriptors() <= descriptors + 20
    soon(footprint.left)


@pytest.mark.parametrize("sandbox", ["namespaces", "plain"])
def test_ended_by_sigterm_with_all_alive(tmp_path: Path, sandbox: str, mark: str) -> None:
    with server(tmp_path, sandbox) as one:
        fill(one, mark)
        footprint = one.footprint()
        one.process.terminate()
        assert one.process.wait(20) == 0
        # Nothing outlives the process itself.
        assert processes(f"sleep\0{mark}") == []
        assert footprint.left() == {}


def test_killed_with_all_alive(tmp_path: Path, mark: str) -> None:
    """Its helpers find it gone, and end what it had."""
    with server(tmp_path, "namespaces") as one:
        fill(one, mark)
        footprint = one.footprint()
        one.process.kill()
        one.process.wait(10)
        soon(lambda: processes(f"sleep\0{mark}"))
        soon(footprint.left)


@pytest.mark.parametrize("sandbox", ["namespaces", "plain"])
def test_what_is_left_of_one_killed_with_its_helpers_goes_with_the_next(
    tmp_path: Path, sandbox: str, mark: str
) -> None:
    """As when the host's memory runs out: there is nobody to clean up, until an emulator is started again."""
    with server(tmp_path, sandbox) as one:
        box = one.client.box.create()
        box.write_file(b"x", "file")
        box.exec("sh", "-c", f"sleep {mark} >/dev/null 2>&1 &")
        footprint = one.footprint()
        for pid in (one.process.pid, *sorted(one.helpers)):
            os.kill(pid, signal.SIGKILL)
        one.process.wait(10)
        soon(lambda: footprint.left().get("processes"))
        assert footprint.left().get("files") or sandbox == "namespaces"
    groups = footprint.groups
    for path in _groups(groups):
        os.utime(path, (0, 0))
    with server(tmp_path, sandbox) as two:
        assert len(os.listdir(tmp_path)) == 1
        assert two.client.box.list() == []
        assert _groups(groups) == []
    assert footprint.left() == {}


def _groups(names: set[str]) -> list[str]:
    return [os.path.join(top, name) for top, found, _ in os.walk("/sys/fs/cgroup") for name in found if name in names]
