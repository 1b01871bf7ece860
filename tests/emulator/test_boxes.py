"""Boxes: names, statuses, quota, tombstones, copies."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from boxd.emulator.box import LARGEST_MEMORY, Spec
from boxd.emulator.errors import Code, EmulatorError
from boxd.emulator.machines import Boxes
from boxd.emulator.names import check_name, make_name
from boxd.emulator.options import Options
from tests.emulator.support import asynchronous, read, run, sandbox_of, until, write


@contextlib.asynccontextmanager
async def boxes_of(state: Path, kind: str = "plain", **options: int) -> AsyncIterator[Boxes]:
    async with sandbox_of(kind, state) as sandbox:
        boxes = Boxes(sandbox, Options(**options))  # type: ignore[arg-type]
        yield boxes
        await boxes.close()


@contextlib.contextmanager
def refused(code: Code, text: str | None = None) -> Iterator[None]:
    with pytest.raises(EmulatorError, match=text) as caught:
        yield
    assert caught.value.code is code


@pytest.mark.parametrize("name", ["a", "my-app", "0", "x" * 63, "a--b"])
def test_good_names(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a_b", "a.b", "x" * 64, "é", "a\n"])
def test_bad_names(name: str) -> None:
    with refused(Code.INVALID_ARGUMENT):
        check_name(name)


def test_made_names_are_good_and_free() -> None:
    taken: set[str] = set()
    for _ in range(500):
        name = make_name(taken)
        check_name(name)
        assert name not in taken
        taken.add(name)


@asynchronous
async def test_a_box_runs_and_is_found_by_name_and_id(kind: str, state: Path) -> None:
    async with boxes_of(state, kind) as boxes:
        box = await boxes.create("one", Spec())
        assert box.status == "running"
        assert box.boot_time_ms > 0
        assert boxes.find("one") is boxes.find(box.id) is box
        assert boxes.all() == [box]
        with refused(Code.NOT_FOUND):
            boxes.find("one", names=False)
        with refused(Code.ALREADY_EXISTS):
            await boxes.create("one", Spec())


@asynchronous
async def test_the_quota_holds_and_destroyed_boxes_do_not_count(state: Path) -> None:
    async with boxes_of(state, max_boxes=3) as boxes:
        results = await asyncio.gather(*(boxes.create("", Spec()) for _ in range(5)), return_exceptions=True)
        refusals = [result for result in results if isinstance(result, EmulatorError)]
        assert [error.code for error in refusals] == [Code.RESOURCE_EXHAUSTED] * 2
        await boxes.destroy(boxes.all()[0])
        await boxes.create("again", Spec())


@asynchronous
async def test_destroy_leaves_a_tombstone_and_frees_the_name(kind: str, state: Path) -> None:
    async with boxes_of(state, kind) as boxes:
        box = await boxes.create("one", Spec())
        await boxes.destroy(box)
        assert (boxes.find(box.id).status, boxes.find(box.id).name) == ("destroyed", f"one:{box.id}")
        assert boxes.all() == []
        assert list((state / "disks").iterdir()) == []
        for call in (
            boxes.start,
            boxes.stop,
            boxes.suspend,
            boxes.resume,
            boxes.reboot,
            boxes.destroy,
            boxes.ready,
        ):
            with refused(Code.NOT_FOUND if call != boxes.ready else Code.FAILED_PRECONDITION):
                await call(box)
        with refused(Code.NOT_FOUND):
            boxes.existing(box.id)
        assert (await boxes.create("one", Spec())).id != box.id


@asynchronous
async def test_stop_and_start_keep_the_files(kind: str, state: Path) -> None:
    async with boxes_of(state, kind) as boxes:
        box = await boxes.create("one", Spec(env={"A": "b"}))
        await write(await boxes.ready(box), "kept", b"x")
        await boxes.stop(box)
        await boxes.stop(box)
        assert box.status == "stopped"
        with refused(Code.FAILED_PRECONDITION, "is stopped"):
            await boxes.ready(box)
        for call in (boxes.suspend, boxes.resume, boxes.reboot):
            with refused(Code.FAILED_PRECONDITION, "is stopped"):
                await call(box)
        await boxes.start(box)
        await boxes.start(box)
        assert box.status == "running"
        assert await read(await boxes.ready(box), "kept") == b"x"
        assert (await run(await boxes.ready(box), "echo $A")).out == "b\n"


@asynchronous
async def test_reboot_ends_the_processes(isolated: str, state: Path) -> None:
    async with boxes_of(state, isolated) as boxes:
        box = await boxes.create("one", Spec())
        await run(
            await boxes.ready(box),
            "sleep 7123456 >/dev/null 2>&1 & echo x > /tmp/kept; echo y > /run/gone || :",
        )
        await boxes.reboot(box)
        assert "7123456" not in (await run(await boxes.ready(box), "ps -e -o args; cat /tmp/kept")).out


@asynchronous
async def test_suspend_resume_and_waking(kind: str, state: Path) -> None:
    async with boxes_of(state, kind) as boxes:
        box = await boxes.create("one", Spec())
        assert await boxes.resume(box) == 0
        assert await boxes.suspend(box) > 0
        assert await boxes.suspend(box) == 0
        assert box.status == "suspended"
        assert await boxes.resume(box) > 0
        assert box.status == "running"
        await boxes.suspend(box)
        assert (await run(await boxes.ready(box), "echo awake")).out == "awake\n"
        assert box.status == "running"
        await boxes.suspend(box)
        await boxes.start(box)
        assert box.status == "running"
        await boxes.suspend(box)
        await boxes.destroy(box)


@asynchronous
async def test_a_fork_inherits_and_is_independent(kind: str, state: Path) -> None:
    async with boxes_of(state, kind) as boxes:
        source = await boxes.create("app", Spec(vcpu=4, env={"A": "1", "B": "1"}))
        await write(await boxes.ready(source), "f", b"source")
        fork = await boxes.fork(source, "", Spec(env={"B": "2"}), False)
        assert (fork.name, fork.forked_from, fork.spec.vcpu) == ("app-fork", source.id, 4)
        assert (await run(await boxes.ready(fork), "cat f; echo $A$B")).out == "source12\n"
        await write(await boxes.ready(fork), "f", b"fork")
        assert await read(await boxes.ready(source), "f") == b"source"
        with refused(Code.ALREADY_EXISTS):
            await boxes.fork(source, "", Spec(), False)
        await boxes.stop(source)
        cold = await boxes.fork(source, "cold", Spec(), False)
        assert (await read(await boxes.ready(cold), "f"), source.status) == (b"source", "stopped")


@asynchronous
async def test_the_start_command_runs_on_the_console(kind: str, state: Path) -> None:
    async with boxes_of(state, kind) as boxes:
        box = await boxes.create("one", Spec(command=("sh", "-c", "echo started; exit 3")))
        await until(lambda: b"exit code 3" in box.console.content)
        assert b"started\r\n" in box.console.content
        wrong = await boxes.create("two", Spec(command=("sh", "-c", "exec no-such-program")))
        await until(lambda: b"exit code 127" in wrong.console.content)


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        (Spec(vcpu=9), Code.RESOURCE_EXHAUSTED),
        (Spec(memory_bytes=LARGEST_MEMORY + 1), Code.RESOURCE_EXHAUSTED),
        (Spec(restart_policy="sometimes"), Code.INVALID_ARGUMENT),
        (Spec(env={"A=B": ""}), Code.INVALID_ARGUMENT),
        (Spec(env={"": ""}), Code.INVALID_ARGUMENT),
        (Spec(env={"A": "\0"}), Code.INVALID_ARGUMENT),
    ],
)
@asynchronous
async def test_bad_specs(state: Path, spec: Spec, code: Code) -> None:
    async with boxes_of(state) as boxes:
        with refused(code):
            await boxes.create("one", spec)
        assert boxes.all() == []
        await boxes.create("one", Spec())


@asynchronous
async def test_a_machine_that_dies_is_a_failed_box_that_can_be_started(isolated: str, state: Path) -> None:
    async with boxes_of(state, isolated) as boxes:
        box = await boxes.create("one", Spec())
        assert box.machine is not None
        await box.machine.kill()
        with refused(Code.FAILED_PRECONDITION, "is failed"):
            await boxes.ready(box)
        await boxes.start(box)
        assert (await run(await boxes.ready(box), "echo on")).out == "on\n"


@asynchronous
async def test_sharing_needs_an_organization(state: Path) -> None:
    async with boxes_of(state) as boxes:
        personal = await boxes.create("one", Spec())
        with refused(Code.FAILED_PRECONDITION):
            boxes.share(personal, True)
        ours = await boxes.create("two", Spec(org="local"))
        boxes.share(ours, True)
        assert ours.spec.shared
        boxes.share(ours, False)
        assert not ours.spec.shared
