"""Limits on a box's memory and processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from boxd.emulator.sandbox import Limits, Machine, Sandbox
from boxd.emulator.sandbox.namespaces import NamespaceSandbox
from tests.emulator.support import asynchronous, new_machine, run, sandbox_of

MIB = 1024 * 1024
HOG = "python3 -c 'import time; kept = bytearray(%d); print(len(kept)); %s'"
FORKS = """python3 -c '
import os, time
made = 0
try:
    while made < 200:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        made += 1
except BlockingIOError:
    print("refused")
print(made, flush=True)
os.killpg(0, 9)
'"""


async def limited(sandbox: Sandbox, memory_bytes: int, processes: int = 4096) -> Machine:
    await sandbox.prepare("small", "small")
    return await sandbox.boot("small", "small", {}, Limits(memory_bytes, processes))


def groups_of(sandbox: Sandbox) -> bool:
    assert isinstance(sandbox, NamespaceSandbox)
    return sandbox.groups


def groups_made(sandbox: Sandbox) -> list[Path]:
    """The control groups of a sandbox and of its boxes."""
    assert isinstance(sandbox, NamespaceSandbox)
    name = f"/boxd-{sandbox._process.pid}-"
    return [path for path in Path("/sys/fs/cgroup").rglob("*") if path.is_dir() and name in str(path)]


@asynchronous
async def test_a_program_cannot_have_more_memory_than_its_box(isolated: str, state: Path) -> None:
    async with sandbox_of(isolated, state) as sandbox:
        machine = await limited(sandbox, 64 * MIB)
        assert (await run(machine, HOG % (16 * MIB, ""))).out == f"{16 * MIB}\n"
        result = await run(machine, HOG % (200 * MIB, ""))
        assert result.code != 0
        assert result.out == ""
        assert (await run(machine, "echo alive")).out == "alive\n"
        other = await new_machine(sandbox, "other")
        assert (await run(other, HOG % (200 * MIB, ""))).out == f"{200 * MIB}\n"


@asynchronous
async def test_all_programs_of_a_box_share_its_memory(isolated: str, state: Path) -> None:
    async with sandbox_of(isolated, state) as sandbox:
        if not groups_of(sandbox):
            pytest.skip("no control groups can be made here")
        machine = await limited(sandbox, 100 * MIB)
        each = HOG % (60 * MIB, "time.sleep(0.5)")
        result = await run(machine, f"{each} & one=$!; {each} & two=$!; wait $one; a=$?; wait $two; echo $a $?")
        assert "137" in result.out.split()


@asynchronous
async def test_a_box_cannot_have_more_processes_than_its_limit(isolated: str, state: Path) -> None:
    async with sandbox_of(isolated, state) as sandbox:
        # Root of the whole machine is exempt from the resource limit, and is the box's root in a namespace of root's.
        if not groups_of(sandbox) and isolated == "user-namespace" and os.geteuid() == 0:
            pytest.skip("no control groups can be made here")
        machine = await limited(sandbox, 1024 * MIB, 40)
        lines = (await run(machine, FORKS)).out.split()
        assert lines[0] == "refused"
        assert int(lines[1]) < 40


@asynchronous
async def test_control_groups_are_gone_with_their_sandbox(isolated: str, state: Path) -> None:
    async with sandbox_of(isolated, state) as sandbox:
        if not groups_of(sandbox):
            pytest.skip("no control groups can be made here")
        machine = await limited(sandbox, 64 * MIB)
        assert "small" in {path.name for path in groups_made(sandbox)}
        await run(machine, "setsid sleep 60 >/dev/null 2>&1 &")
    assert not groups_made(sandbox)


@asynchronous
async def test_what_is_not_limited_is_said(kind: str, state: Path) -> None:
    async with sandbox_of(kind, state) as sandbox:
        told = any("memory" in line and "limited" in line for line in sandbox.limits)
        assert told == (kind == "plain" or not groups_of(sandbox))
