"""Directories and names in a box, also where a path tries to lead out of it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from boxd.emulator.sandbox import Machine, paths
from tests.emulator.support import asynchronous, machine_of, read, run, write

HOME = "/home/boxd"


async def names(machine: Machine, path: str) -> list[str]:
    return sorted(entry["name"] for entry in (await machine.paths("list", path))["entries"])


@asynchronous
async def test_a_listing(kind: str, state: Path) -> None:
    async with machine_of(kind, state) as machine:
        await run(
            machine,
            "mkdir -m 750 dir; printf 12345 > file; chmod 640 file; ln -s dir link; mkfifo pipe; touch 'ü x';"
            " touch -d @1000000000 file dir/in",
        )
        found = await machine.paths("list", ".")
        entries = {entry["name"]: entry for entry in found["entries"]}
        assert not found["truncated"]
        assert sorted(entries) == ["dir", "file", "link", "pipe", "ü x"]
        assert entries["file"] | {"added": 0} == {
            "name": "file",
            "is_dir": False,
            "size": 5,
            "permissions": "-rw-r-----",
            "modified": 1_000_000_000,
            "added": 0,
        }
        assert entries["file"]["added"] > 1_000_000_000
        assert (entries["dir"]["is_dir"], entries["dir"]["size"]) == (True, 0)
        assert entries["dir"]["permissions"] == "drwxr-x---"
        assert (entries["link"]["is_dir"], entries["link"]["permissions"][0]) == (False, "l")
        for path in ("dir", f"{HOME}/dir/", "link", "link/.", "dir/../dir"):
            assert await names(machine, path) == ["in"]


@asynchronous
async def test_a_large_directory_is_cut_short_and_says_so(kind: str, state: Path) -> None:
    async with machine_of(kind, state) as machine:
        await run(machine, f"mkdir many && cd many && seq {paths.MOST_ENTRIES + 1} | xargs touch")
        found = await machine.paths("list", "many")
        assert (len(found["entries"]), found["truncated"]) == (paths.MOST_ENTRIES, True)
        await run(machine, "rm many/1")
        found = await machine.paths("list", "many")
        assert (len(found["entries"]), found["truncated"]) == (paths.MOST_ENTRIES, False)
        await machine.paths("remove", "many")


@asynchronous
async def test_making_moving_copying_removing(kind: str, state: Path) -> None:
    async with machine_of(kind, state) as machine:
        await machine.paths("mkdir", "a")
        await machine.paths("mkdir", f"{HOME}/a/b/")
        await write(machine, "a/b/file", b"content")
        await run(machine, "ln -s b a/link; chmod 751 a/b/file; chmod 500 a/b")
        await machine.paths("copy", "a", "copy")
        assert (await run(machine, "cd copy; stat -c '%a %n' b b/file; readlink link; cat link/file")).out == (
            "500 b\n751 b/file\nb\ncontent"
        )
        await run(machine, "chmod 700 a/b copy/b; echo changed > a/b/file")
        assert await read(machine, "copy/b/file") == b"content"
        await machine.paths("rename", "copy", "a/moved")
        assert await names(machine, "a") == ["b", "link", "moved"]
        await machine.paths("rename", "a/moved/b/file", "a/b/file")
        assert await read(machine, "a/b/file") == b"content"
        await machine.paths("copy", "a/link", "a/link2")
        await machine.paths("remove", "a/link/")
        assert await names(machine, "a") == ["b", "link2", "moved"]
        await machine.paths("remove", "a")
        assert await names(machine, ".") == []


@pytest.mark.parametrize(
    ("operation", "targets", "number"),
    [
        ("list", ["none"], errno.ENOENT),
        ("list", ["file"], errno.ENOTDIR),
        ("list", ["loop"], errno.ELOOP),
        ("list", [""], errno.EINVAL),
        ("mkdir", ["dir"], errno.EEXIST),
        ("mkdir", ["none/dir"], errno.ENOENT),
        ("mkdir", ["nul\0"], errno.EINVAL),
        ("rename", ["none", "x"], errno.ENOENT),
        ("rename", ["file", "none/x"], errno.ENOENT),
        ("rename", ["dir", "dir/x"], errno.EINVAL),
        ("rename", ["/", "x"], errno.EBUSY),
        ("copy", ["none", "x"], errno.ENOENT),
        ("copy", ["file", "dir"], errno.EEXIST),
        ("copy", ["dir", "dir/x"], errno.EINVAL),
        ("copy", ["pipe", "x"], errno.EINVAL),
        ("remove", ["none"], errno.ENOENT),
        ("remove", ["/"], errno.EBUSY),
        ("remove", ["../../../.."], errno.EBUSY),
        ("remove", ["up"], None),
    ],
)
@asynchronous
async def test_what_cannot_be_done(
    kind: str, state: Path, operation: str, targets: list[str], number: int | None
) -> None:
    async with machine_of(kind, state) as machine:
        await run(machine, "mkdir dir; touch file; mkfifo pipe; ln -s loop loop; ln -s / up")
        if number is None:
            await machine.paths(operation, *targets)
        else:
            with pytest.raises(OSError) as caught:  # noqa: PT011
                await machine.paths(operation, *targets)
            assert caught.value.errno == number
        left = {"dir", "file", "loop", "pipe", "up"} - ({"up"} if number is None else set())
        assert set(await names(machine, ".")) == left


@pytest.mark.parametrize("way", ["../" * 12, "up/", "up/../../", "here/", "link-to-"])
@asynchronous
async def test_no_path_leads_to_the_host(kind: str, state: Path, way: str) -> None:
    """As in test_files.py, for every operation: what is outside is neither seen nor changed."""
    outside = state.with_name(state.name + "-outside")
    outside.mkdir()
    (outside / "secret").write_text("the host's")
    try:
        async with machine_of(kind, state) as machine:
            await run(
                machine, f"ln -s ../../../../../../../../../../ up; ln -s / here; ln -s {outside} link-to-outside"
            )
            path = "link-to-outside" if way == "link-to-" else f"{way}{str(outside).lstrip('/')}"
            await write(machine, "mine", b"the box's")
            for operation, *targets in (
                ("list", path),
                ("mkdir", f"{path}/made"),
                ("rename", f"{path}/secret", "stolen"),
                ("rename", "mine", f"{path}/secret"),
                ("copy", f"{path}/secret", "stolen"),
                ("copy", "mine", f"{path}/placed"),
                ("copy", f"{path}/", "stolen") if way != "link-to-" else ("remove", f"{path}/secret"),
                ("remove", f"{path}/secret"),
            ):
                with pytest.raises(OSError):  # noqa: PT011
                    await machine.paths(operation, *targets)
            if way == "link-to-":
                # The link itself is the box's: it can be copied and removed, and what it names stays.
                await machine.paths("copy", path, "again")
                await machine.paths("remove", f"{path}/")
            else:
                with pytest.raises(FileNotFoundError):
                    await machine.paths("remove", path)
        assert (outside / "secret").read_text() == "the host's"
        assert os.listdir(outside) == ["secret"]
    finally:
        for left in outside.iterdir():
            left.unlink()
        outside.rmdir()


@asynchronous
async def test_the_machine_user_has_the_rights_of_its_commands(isolated: str, state: Path) -> None:
    async with machine_of(isolated, state) as machine:
        if isolated == "root":
            for operation, *targets in (
                ("mkdir", "/etc/made"),
                ("remove", "/etc/hostname"),
                ("rename", "/etc/passwd", "x"),
                ("list", "/root"),
            ):
                with pytest.raises(PermissionError):
                    await machine.paths(operation, *targets)
        await machine.paths("mkdir", "/tmp/made")
        assert (await run(machine, "touch /tmp/made/in && rm -r /tmp/made && echo mine")).out == "mine\n"


@asynchronous
async def test_a_deep_tree_is_removed(isolated: str, state: Path) -> None:
    async with machine_of(isolated, state) as machine:
        await run(machine, "mkdir -p $(seq 900 | sed s,.*,d/, | tr -d '\n')end")
        await machine.paths("remove", "d")
        assert await names(machine, ".") == []
