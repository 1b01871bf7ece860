"""What an emulator with a state directory still knows when it has been killed and is started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import boxd
import boxd.emulator
from boxd.emulator.store import Store, StoreError

PROGRAM = """
import asyncio, dataclasses, json, sys
from boxd.emulator import Emulator, Options

async def main():
    options = Options(state=sys.argv[1], api_key="bxd_test")
    async with Emulator(options) as local:
        print(json.dumps({"api_url": local.api_url, "token": local.token}), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

asyncio.run(main())
"""


@contextmanager
def emulator(state: Path, *, kill: bool) -> Iterator[boxd.Compute]:
    """An emulator in a process of its own, which ends by SIGKILL with `kill`."""
    command = [sys.executable, "-c", PROGRAM, str(state)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None  # noqa: PT018
        try:
            with boxd.Compute(**json.loads(process.stdout.readline())) as client:
                yield client
        finally:
            if kill:
                os.kill(process.pid, signal.SIGKILL)
            process.stdin.close()
            process.wait(20)


@pytest.mark.parametrize("kill", [False, True])
def test_boxes_files_and_snapshots_are_still_there(tmp_path: Path, kill: bool) -> None:
    with emulator(tmp_path, kill=kill) as c:
        box = c.box.create("kept", labels={"a": "b"})
        box.write_file(b"content", "file")
        off = c.box.create("off", config=boxd.BoxConfig(restart_policy="never"))
        gone = c.box.create("gone")
        gone.destroy()
        c.snapshot.create(box, "base")
        box.checkpoints.create("first")
    with emulator(tmp_path, kill=False) as c:
        again = c.box.get("kept")
        assert (again.id, again.status, again.labels) == (box.id, "running", {"a": "b"})
        assert again.read_file("file") == b"content"
        assert c.box.get("off").status == "stopped"
        assert (c.box.get(gone.id).status, c.box.get(gone.id).name) == ("destroyed", f"gone:{gone.id}")
        assert [one.name for one in c.box.list()] == ["kept", "off"]
        copy = c.box.create(from_snapshot="base")
        assert copy.read_file("file") == b"content"
        again.write_file(b"new", "file")
        again.checkpoints.restore("first")
        assert again.read_file("file") == b"content"
        for one in (again, copy, off):
            one.destroy() if one is not off else c.box.get("off").destroy()


@pytest.mark.skipif(os.environ.get("BOXD_TEST_SANDBOX") == "plain", reason="plain boxes have no mounts")
@pytest.mark.parametrize("kill", [False, True])
def test_what_belongs_to_boxes_and_to_the_account_is_still_there(tmp_path: Path, kill: bool) -> None:
    with emulator(tmp_path, kill=kill) as c:
        box = c.box.create("kept")
        disk = c.disk.create("data", "64M")
        disk.attach(box, "/mnt/data")
        assert box.exec("sudo", "sh", "-c", "echo on disk >/mnt/data/file").success
        box.create_proxy("api", 3000)
        box.set_proxy_port(5000)
        port = box.ports.expose(5432)
        box.set_auto_suspend(3600)
        at = box.delete_after(3600)
        c.domain.bind("www.example.org", box)
        c.env.set("V", "value")
        c.secret.set("S", "hush")
        template = c.template.create("base", config=boxd.BoxConfig(vcpu=1))
        network = c.network.create("net")
        org = c.org.create("acme")
        invite = c.org.invite(org.id, "new@example.org")
    with emulator(tmp_path, kill=False) as c:
        box = c.box.get("kept")
        assert box.read_file("/mnt/data/file") == b"on disk\n"
        (found,) = c.disk.list()
        assert found.attachments == [boxd.DiskAttachment(box.id, "kept", "/mnt/data", "rw")]
        assert {one.name: one.port for one in box.proxies()} == {"": 5000, "api": 3000}
        assert box.ports.list() == [port]
        assert (box.auto_suspend_timeout_secs, box.delete_at_ms) == (3600, at)
        assert [(one.domain, one.vm_id) for one in c.domain.list()] == [("www.example.org", box.id)]
        assert box.exec("sh", "-c", 'echo "$V $S"').stdout == "value hush\n"
        assert [one.id for one in c.template.list()] == [template.id]
        assert network.id in [one.id for one in c.network.list()]
        assert [one.token for one in c.org.invites(org.id)] == [invite.token]
        found.detach(box)
        found.destroy()
        box.destroy()
        assert c.domain.list() == []


def test_disks_that_belong_to_nothing_are_removed(tmp_path: Path) -> None:
    """An emulator that is killed while it copies or removes a box leaves them."""
    with emulator(tmp_path, kill=False) as c:
        box = c.box.create("kept")
        box.write_file(b"content", "file")
        c.disk.create("data", "64M")
    before = {folder: sorted(os.listdir(tmp_path / folder)) for folder in ("disks", "volumes")}
    for folder in before:
        (tmp_path / folder / "left" / "sub").mkdir(parents=True)
    with emulator(tmp_path, kill=False) as c:
        assert {folder: sorted(os.listdir(tmp_path / folder)) for folder in before} == before
        assert c.box.get("kept").read_file("file") == b"content"
        c.box.get("kept").destroy()


def test_a_state_directory_is_one_emulators_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boxd.emulator.state._WAIT_SECONDS", 0.2)
    with (
        boxd.emulator.running(state=str(tmp_path), sandbox="plain"),
        pytest.raises(OSError, match="another emulator uses"),
        boxd.emulator.running(state=str(tmp_path)),
    ):
        pass
    with boxd.emulator.running(state=str(tmp_path), sandbox="plain") as local:
        assert local.sandbox == "plain"


def test_temporary_files_without_a_lock_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    others = tmp_path / "boxd-emulator-notes"
    others.mkdir()
    (others / "text").write_text("mine")
    (tmp_path / "boxd-emulator-file").write_text("mine")
    (tmp_path / "boxd-emulator-link").symlink_to(others)
    left = tmp_path / "boxd-emulator-left"
    (left / "disks").mkdir(parents=True)
    (left / "lock").touch()
    with boxd.emulator.running(sandbox="plain"):
        assert not left.exists()
    assert sorted(os.listdir(tmp_path)) == ["boxd-emulator-file", "boxd-emulator-link", "boxd-emulator-notes"]
    assert (others / "text").read_text() == "mine"


def test_a_file_that_is_no_store(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite3"
    path.write_bytes(b"this is not SQLite" * 100)
    with pytest.raises(StoreError, match="cannot be used"):
        Store(str(path))
