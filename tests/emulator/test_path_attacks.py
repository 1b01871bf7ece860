"""What a hostile path, or a program that changes what paths lead to, tries in transfers and operations on names."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from boxd.emulator.sandbox import Spawn
from tests.emulator.support import asynchronous, machine_of, new_machine, read, run, sandbox_of, write

HOME = "/home/boxd"

UNREADABLE = (
    "/proc/1/environ",
    "/proc/1/maps",
    "/proc/1/mem",
    "/proc/self/environ",
    "/proc/self/maps",
    "/proc/self/mountinfo",
    "/proc/self/exe",
    "/proc/self/fd/0",
    "/proc/self/fd/3",
    "/proc/self/task/1/mem",
    "/dev/fd/0",
    "/dev/stdin",
    "proc/self/maps",
    "proc/1/exe",
    "/proc/kmsg",
    "sock",
    "link-to-sock",
    "zero",
    "file/",
    "file/.",
    "dir/../file/..",
    "n" * 256,
    "n/" * 3000,
    "x" * 100_000,
    "new\nline",
)


@asynchronous
async def test_downloads_show_nothing_of_the_helper(isolated: str, state: Path) -> None:
    async with machine_of(isolated, state) as machine:
        bind = "import socket; socket.socket(socket.AF_UNIX).bind('sock')"
        await run(
            machine,
            "mkdir dir; touch file; ln -s /proc proc; ln -s /dev/zero zero; ln -s sock link-to-sock;"
            f' python3 -c "{bind}"',
        )
        for path in UNREADABLE:
            with pytest.raises(OSError) as caught:  # noqa: PT011
                await read(machine, path)
            assert caught.value.errno
        assert (await run(machine, "echo alive")).out == "alive\n"


@asynchronous
async def test_magic_links_are_their_text(isolated: str, state: Path) -> None:
    """/proc/PID/root and cwd of any process name directories of the box, and an upload through them stays there."""
    async with machine_of(isolated, state) as machine:
        await write(machine, "mine", b"the box's")
        for way in ("/proc/self/root", "/proc/1/root", "/proc/self/cwd", "/proc/1/cwd", "/proc/thread-self/root"):
            assert await read(machine, f"{way}{HOME}/mine") == b"the box's"
            await write(machine, f"{way}/tmp/placed", way.encode())
            assert (await run(machine, "cat /tmp/placed; sudo rm /tmp/placed")).out == way


@asynchronous
async def test_links_that_change_during_uploads_lead_nowhere_else(kind: str, state: Path) -> None:
    """A program swaps a directory for links to the host's, and for a file, as fast as it can."""
    outside = state.with_name(state.name + "-outside")
    outside.mkdir()
    swap = (
        f"mkdir real; while :; do ln -sfn {outside} way; ln -sfn ../../../../../../..{outside} way;"
        " ln -sfn real way; rm way; touch way; rm way; ln -s . way; done"
    )
    try:
        async with machine_of(kind, state) as machine:
            if kind == "plain":
                # Its commands can reach the host in any case; what is tried here is the transfer.
                await run(machine, f"ln -s {outside} way")
            process = await machine.spawn(Spawn(("sh", "-c", swap if kind != "plain" else "sleep 60")))
            written = 0
            for number in range(150):
                try:
                    await write(machine, "way/file", b"x")
                    await write(machine, f"way/below/{number}", b"x")
                    await read(machine, "way/file")
                    await machine.paths("mkdir", f"way/{number}")
                    written += 1
                except OSError:
                    continue
            await process.terminate(0)
            process.close()
        assert os.listdir(outside) == []
        assert written or kind == "plain"
    finally:
        outside.rmdir()


NAMES = ("new\nline", "tab\t", "-rf", " ", "*", "ünï", "\x01", "\\", "'\"$(id)`", "n" * 255)


@asynchronous
async def test_names_of_all_kinds_are_only_names(kind: str, state: Path) -> None:
    async with machine_of(kind, state) as machine:
        for name in NAMES:
            await write(machine, f"{name}/{name}", b"content")
            assert await read(machine, f"{name}/{name}") == b"content"
            assert [entry["name"] for entry in (await machine.paths("list", name))["entries"]] == [name]
            await machine.paths("copy", name, "copy")
            await machine.paths("rename", f"{name}/{name}", "moved")
            for done in ("copy", "moved", name):
                await machine.paths("remove", done)
            assert (await machine.paths("list", "."))["entries"] == []


@asynchronous
async def test_mounts_are_neither_removed_nor_renamed_nor_replaced(isolated: str, state: Path) -> None:
    async with sandbox_of(isolated, state) as sandbox:
        await sandbox.make_volume("disk")
        machine = await new_machine(sandbox, "one")
        await machine.mount("disk", f"{HOME}/disk", False)
        await write(machine, "disk/kept", b"content")
        await machine.paths("mkdir", "dir")
        await run(machine, "ln -s disk link; ln -s /dev devices")
        for operation, *targets in (
            ("remove", "disk"),
            ("remove", "disk/"),
            ("remove", "link/."),
            ("remove", "dir/../disk"),
            ("rename", "disk", "elsewhere"),
            ("rename", "disk", "/dev/shm/elsewhere"),
            ("rename", "dir", "disk"),
            ("remove", "/dev"),
            ("remove", "/proc"),
            ("remove", "/run"),
            ("remove", "devices/null"),
            ("rename", "/dev/shm", "elsewhere"),
        ):
            with pytest.raises(OSError):  # noqa: PT011
                await machine.paths(operation, *targets)
        assert await read(machine, "disk/kept") == b"content"
        assert (await run(machine, "ls -d /dev/ptmx /dev/fd /dev/null && echo x > /dev/null && echo ok")).out.endswith(
            "ok\n"
        )


@asynchronous
async def test_what_is_no_file_stays_what_it_is(kind: str, state: Path) -> None:
    """FIFOs and sockets as either end of each operation: nothing waits for them, nothing is written to them."""
    async with machine_of(kind, state) as machine:
        bind = "import socket; socket.socket(socket.AF_UNIX).bind('sock')"
        await run(machine, f'mkfifo pipe; ln -s pipe to-pipe; echo x > file; python3 -c "{bind}" || mkfifo sock')
        for special in ("pipe", "to-pipe", "sock"):
            for attempt in (write(machine, special, b"x"), read(machine, special), machine.paths("list", special)):
                with pytest.raises(OSError):  # noqa: PT011
                    await asyncio.wait_for(_of(attempt), 5)
        for special in ("pipe", "sock"):
            with pytest.raises(OSError, match="neither"):
                await machine.paths("copy", special, "copy")
            with pytest.raises(FileExistsError):
                await machine.paths("copy", "file", special)
            await machine.paths("rename", special, f"{special}2")
            await machine.paths("remove", f"{special}2")
        assert (await run(machine, "ls -A")).out == "file\nto-pipe\n"


async def _of(work: Coroutine[Any, Any, Any]) -> None:
    await work
