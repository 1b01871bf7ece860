"""What happens to boxes by itself, with a clock that the test sets; and the cron expressions behind it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

from boxd.emulator.box import Spec
from boxd.emulator.cron import next_time
from boxd.emulator.machines import Boxes
from boxd.emulator.options import Options
from boxd.emulator.store import Store
from boxd.emulator.timers import Timers
from tests.emulator.support import asynchronous, sandbox_of, until


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@contextlib.asynccontextmanager
async def timers_of(state: Path, **options: int) -> AsyncIterator[tuple[Boxes, Timers, Clock]]:
    clock = Clock()
    async with sandbox_of("plain", state) as sandbox:
        boxes = Boxes(sandbox, Options(**options), Store(), clock)  # type: ignore[arg-type]
        yield boxes, Timers(boxes), clock
        await boxes.close()


@asynchronous
async def test_an_idle_box_is_suspended_and_later_hibernated(state: Path) -> None:
    async with timers_of(state, auto_hibernate_seconds=0) as (boxes, timers, clock):
        box = await boxes.create("one", Spec(auto_suspend_seconds=30, auto_hibernate_seconds=100))
        assert timers.next_due() == clock.now + 30
        clock.now += 29
        await timers.run_due()
        assert box.status == "running"
        await boxes.ready(box)  # Used: it begins to be idle again.
        clock.now += 29
        await timers.run_due()
        assert box.status == "running"
        clock.now += 1
        await timers.run_due()
        assert box.status == "suspended"
        clock.now += 70
        await timers.run_due()
        assert (box.status, box.hibernated_at) == ("hibernated", clock.now)
        assert timers.next_due() == math.inf


@asynchronous
async def test_a_box_in_use_is_not_idle(state: Path) -> None:
    async with timers_of(state) as (boxes, timers, clock):
        box = await boxes.create("one", Spec(auto_suspend_seconds=30))
        with boxes.in_use(box):
            clock.now += 100_000
            await timers.run_due()
            assert box.status == "running"
        assert timers.next_due() == clock.now + 30


@asynchronous
async def test_the_default_hibernation_and_the_end_of_a_lifetime(state: Path) -> None:
    async with timers_of(state, auto_hibernate_seconds=50) as (boxes, timers, clock):
        box = await boxes.create("one", Spec(auto_destroy_seconds=200))
        awake = await boxes.create("two", Spec(auto_hibernate_seconds=0))
        clock.now += 50
        await timers.run_due()
        assert (box.status, awake.status) == ("hibernated", "running")
        clock.now += 150
        await timers.run_due()
        assert box.status == "destroyed"
        assert boxes.all() == [awake]


@asynchronous
async def test_the_task_does_what_is_due_and_hears_of_changes(state: Path) -> None:
    async with sandbox_of("plain", state) as sandbox:
        boxes = Boxes(sandbox, Options(), Store())
        timers = Timers(boxes)
        timers.start()
        box = await boxes.create("one", Spec())
        boxes.change(box, delete_at=boxes.clock() + 0.05)
        await until(lambda: box.status == "destroyed")
        await timers.close()
        await boxes.close()


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp()


@pytest.mark.parametrize(
    ("expression", "now", "due"),
    [
        ("* * * * *", "2026-01-01T00:00:30", "2026-01-01T00:01:00"),
        ("0 3 * * *", "2026-01-01T03:00:00", "2026-01-02T03:00:00"),
        ("*/15 8-17 * * *", "2026-01-01T17:50:00", "2026-01-02T08:00:00"),
        ("5,35 * * * *", "2026-01-01T10:05:00", "2026-01-01T10:35:00"),
        ("0 0 29 2 *", "2026-01-01T00:00:00", "2028-02-29T00:00:00"),
        ("0 0 * * 7", "2026-01-01T00:00:00", "2026-01-04T00:00:00"),
        ("0 0 13 * 5", "2026-01-01T00:00:00", "2026-01-02T00:00:00"),
        ("10/20 * * * *", "2026-01-01T00:11:00", "2026-01-01T00:30:00"),
    ],
)
def test_cron(expression: str, now: str, due: str) -> None:
    assert next_time(expression, at(now)) == at(due)


@pytest.mark.parametrize(
    "expression", ["", "* * * *", "60 * * * *", "a * * * *", "*/0 * * * *", "5-1 * * * *", "* * 0 * *", "0 0 31 2 *"]
)
def test_bad_cron(expression: str) -> None:
    with pytest.raises(ValueError, match=r"cron|never"):
        next_time(expression, 0.0)
