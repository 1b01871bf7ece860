"""The emulator from outside: the command, the context manager, and what is left of them."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpclib.client
import pytest

import boxd.emulator
from boxd import messages as pb
from boxd.emulator.server import _Codec
from tests.emulator.support import asynchronous, processes
from tests.emulator.test_server import Client

ROOT = Path(__file__).parents[2]


def launch(*arguments: str, temporary: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "boxd.emulator", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary)},
    )


@contextmanager
def started(*arguments: str, temporary: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    process = launch("--json", *arguments, temporary=temporary)
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def temporary() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="boxd-test-") as path:
        os.chmod(path, 0o755)
        yield Path(path)


async def busy_box(where: dict[str, str], marker: str) -> None:
    """Make a box with processes that do not want to end."""
    host, port = where["api_url"].removeprefix("http://").rsplit(":", 1)
    channel = grpclib.client.Channel(host, int(port), codec=_Codec())
    client = Client(channel, where["token"])
    box = (await client("CreateVm", pb.CreateVmRequest())).vm_id
    await client.run(box, f"trap '' TERM; (setsid sleep {marker}) >/dev/null 2>&1 & sleep {marker} >/dev/null 2>&1 &")
    channel.close()


def gone(marker: str) -> bool:
    end = time.monotonic() + 5
    while processes(marker):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def appeared(marker: str, count: int) -> bool:
    end = time.monotonic() + 5
    while len(processes(marker)) != count:
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_command_ends_and_leaves_nothing(isolated: str, temporary: Path, number: signal.Signals) -> None:
    marker = f"93456.{int(time.time() * 1000) % 100000}"
    with started(temporary=temporary) as (process, where):
        assert set(where) == {"api_url", "exchange_url", "api_key", "token", "proxy_port"}
        assert where["api_url"].startswith("http://127.0.0.1:")
        asynchronous(busy_box)(where, marker)
        assert appeared(f"sleep\0{marker}", 2)
        assert len(list(temporary.iterdir())) == 1
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
        assert process.returncode == (0 if number != signal.SIGKILL else -9)
        assert out == ""
        assert [line for line in err.splitlines() if not line.startswith("boxd.emulator: note:")] == []
    assert gone(marker)
    end = time.monotonic() + 5
    while list(temporary.iterdir()) and time.monotonic() < end:
        time.sleep(0.02)
    assert list(temporary.iterdir()) == []


def test_a_given_state_directory_is_kept(temporary: Path) -> None:
    state = temporary / "state"
    with started("--state", str(state), temporary=temporary) as (process, where):
        asynchronous(busy_box)(where, "94567")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        assert process.returncode == 0
    assert len(list((state / "disks").iterdir())) == 1
    assert [path.name for path in temporary.iterdir()] == ["state"]
    assert gone("sleep\x0094567")
    subprocess.run(["rm", "-rf", str(state)], check=True)


def test_without_json_it_says_how_to_use_it(temporary: Path) -> None:
    process = launch("--sandbox", "plain", temporary=temporary)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(7)]
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert any("export BOXD_API_URL=http://127.0.0.1:" in line for line in lines)
    assert "no isolation" in err
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--host", "203.0.113.9"), "cannot start"),
        (("--state", "/proc/none"), "cannot start"),
        (("--port", "65536"), "cannot start: the port 65536"),
    ],
)
def test_what_stops_it_from_starting(temporary: Path, arguments: tuple[str, ...], text: str) -> None:
    process = launch(*arguments, temporary=temporary)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert text in err
    assert "Traceback" not in err
    assert out == ""
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("missing", "advice"), [("grpclib", "pip install 'boxd[emulator]'"), ("fcntl", "on Windows, run it in WSL")]
)
def test_where_a_module_is_missing_it_says_what_to_do(missing: str, advice: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; import boxd.emulator.__main__ as m; sys.exit(m.main([]))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode == 1
    assert advice in result.stderr
    assert "Traceback" not in result.stderr


def test_importing_the_package_is_cheap() -> None:
    code = "import sys, boxd.emulator; print([m for m in ('asyncio', 'grpclib', 'h2', 'h11') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert result.stdout == "[]\n"


def census() -> dict[str, Any]:
    gc.collect()
    with open("/proc/self/mountinfo", encoding="utf-8") as source:
        mounts = source.read()
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "children": processes_of(os.getpid()),
        "mounts": mounts,
        "files": {name for name in os.listdir(tempfile.gettempdir()) if name.startswith("boxd-emulator")},
    }


def processes_of(parent: int) -> list[str]:
    found = []
    for task in Path(f"/proc/{parent}/task").iterdir():
        found += (task / "children").read_text().split()
    return found


def test_many_boxes_leave_nothing(isolated: str, temporary: Path, monkeypatch: Any) -> None:
    count = 20
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))

    def disks() -> list[Path]:
        return list(next(temporary.iterdir()).joinpath("disks").iterdir())

    async def work(local: boxd.emulator.Local) -> None:
        import asyncio

        host, port = local.api_url.removeprefix("http://").rsplit(":", 1)
        channel = grpclib.client.Channel(host, int(port), codec=_Codec())
        client = Client(channel, local.token)
        made = await asyncio.gather(*(client("CreateVm", pb.CreateVmRequest()) for _ in range(count)))
        ids = [answer.vm_id for answer in made]
        results = await asyncio.gather(*(client.run(box, f"sleep 95678 >/dev/null 2>&1 & echo {box}") for box in ids))
        assert [out.decode().strip() for out, _, _ in results] == ids
        for box in ids[:5]:
            ids.append((await client("ForkVm", pb.ForkVmRequest(source_vm_id=box))).vm_id)
        await asyncio.gather(*(client("SuspendVm", pb.SuspendVmRequest(vm_id=box)) for box in ids))
        await asyncio.gather(*(client("DestroyVm", pb.DestroyVmRequest(vm_id=box)) for box in ids))
        assert not processes("sleep\x0095678")
        assert disks() == []
        channel.close()

    before = census()
    with boxd.emulator.running(max_boxes=1000) as local:
        asynchronous(work)(local)
    assert census() == before
    assert list(temporary.iterdir()) == []


def test_two_emulators_at_once_and_one_after_another(temporary: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    for _ in range(2):
        with boxd.emulator.running() as one, boxd.emulator.running(sandbox="plain") as two:
            assert one.api_url != two.api_url
            assert one.api_key not in repr(one)
            assert one.token not in repr(one)
    assert list(temporary.iterdir()) == []


def test_running_tells_why_it_cannot_start() -> None:
    with pytest.raises(OSError, match=r"203\.0\.113\.9"), boxd.emulator.running(host="203.0.113.9"):
        pass
    with pytest.raises(TypeError), boxd.emulator.running(boxd.emulator.Options(), port=1):
        pass
