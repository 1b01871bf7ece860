"""What happens to boxes by itself: auto-suspend, auto-hibernate, and the end of their time."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Coroutine
from typing import Any

from .box import DESTROYED, HIBERNATED, RUNNING, SUSPENDED, Box
from .cron import next_time
from .errors import EmulatorError
from .machines import Boxes
from .sandbox import SandboxError


class Timers:
    """The timers of all boxes, kept by one task. A box is idle while no command, transfer or connection has to do with
    it; auto-suspend counts from then, and auto-hibernate too."""

    def __init__(self, boxes: Boxes) -> None:
        self._boxes = boxes
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    def start(self) -> None:
        """Begin to watch. Needs a running loop."""
        self._boxes.changed = self._changed.set
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop watching, when what is due now is done. Idempotent."""
        if self._task is not None:
            self._closing = True
            self._changed.set()
            await self._task
            self._task = None

    async def _run(self) -> None:
        while not self._closing:
            self._changed.clear()
            delay = self.next_due() - self._boxes.clock()
            if delay > 0 and not self._closing:
                # Looked at once an hour at least: the wall clock may jump.
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), min(delay, 3600.0))
            await self.run_due()

    def next_due(self) -> float:
        """When the next timer of any box ends, in Unix seconds; infinity where there is none."""
        return min((due for box in self._boxes.all() for due, _ in self._timers(box)), default=math.inf)

    async def run_due(self) -> None:
        """Do what is due now."""
        now = self._boxes.clock()
        for box in self._boxes.all():
            for due, act in self._timers(box):
                if due <= now and box.status != DESTROYED:
                    try:
                        await act(box)
                    except (EmulatorError, OSError, SandboxError) as error:
                        # The box has changed meanwhile, or the host refuses; it begins to be idle again.
                        box.last_used = self._boxes.clock()
                        box.console.note(f"a timer could not be obeyed: {error}")

    def _timers(self, box: Box) -> list[tuple[float, Callable[[Box], Coroutine[Any, Any, Any]]]]:
        """When each of a box's timers ends, and what it does then."""
        spec = box.spec
        out: list[tuple[float, Callable[[Box], Coroutine[Any, Any, Any]]]] = []
        if spec.auto_destroy_seconds:
            out.append((box.created_at + spec.auto_destroy_seconds, self._boxes.destroy))
        if spec.delete_at:
            out.append((spec.delete_at, self._boxes.destroy))
        if not box.users:
            if spec.auto_suspend_seconds and box.status == RUNNING:
                out.append((box.last_used + spec.auto_suspend_seconds, self._boxes.suspend))
            hibernate = self._boxes.hibernate_after(box)
            if hibernate and box.status in (RUNNING, SUSPENDED):
                out.append((box.last_used + hibernate, self._hibernate))
        return out

    async def _hibernate(self, box: Box) -> None:
        await self._boxes.freeze(box, HIBERNATED)


def deletion_time(seconds: int, cron: str, now: float) -> float:
    """When a box is to be destroyed, in Unix seconds: `seconds` from now, or when `cron` fits next; 0, for never, with
    neither. Raises `ValueError`."""
    if cron:
        return next_time(cron, now)
    return now + seconds if seconds else 0.0
