"""What the handlers of all subjects share.

A unary handler takes the request and the call's context and returns the response; a streaming one takes an
iterator of requests, or returns an object with `__anext__` and `aclose`. All raise `EmulatorError`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ..account import Account
from ..images import Images
from ..machines import Boxes
from ..options import Options
from ..plane import DataPlane
from ..store import Store
from ..tokens import Tokens

T = TypeVar("T")


@dataclass(frozen=True)
class Context:
    """What a handler may know about its call: the request's metadata and the caller's user id."""

    metadata: Mapping[str, str]
    user_id: str


class Handlers:
    """The emulator's state, as handlers see it, and the work that outlives a call."""

    def __init__(self, boxes: Boxes, options: Options, store: Store, tokens: Tokens, plane: DataPlane) -> None:
        self._boxes = boxes
        self._options = options
        self._store = store
        self._tokens = tokens
        self._plane = plane
        self.faults = plane.faults
        self._account = Account(store, options)
        self._images = Images(boxes, store)
        boxes.variables = self._account.environment
        boxes.destroyed += [self._images.forget_box, self._account.forget_box]
        self._background: set[asyncio.Task[Any]] = set()

    def run_in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Keep `work` running when the call that began it is over; `drain` waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _whole(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` to its end even if the caller goes away: no box is left half made or half gone."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        task.add_done_callback(_take_exception)
        return await asyncio.shield(task)

    async def remove_unknown(self, state: str) -> None:
        """Remove the disks and volumes in the state directory that belong to nothing: an emulator was killed while it
        made or removed them."""
        boxes = self._boxes
        known = {box.id for box in boxes.all()} | self._images.disks | {disk.id for disk in self._plane.disks.all()}
        for name, remove in (("disks", boxes.sandbox.delete), ("volumes", boxes.sandbox.delete_volume)):
            for found in await asyncio.to_thread(_names, os.path.join(state, name)):
                if found not in known:
                    await remove(found)

    async def drain(self) -> None:
        """Wait until the clean-up of ended calls is done."""
        while self._background:
            await asyncio.wait(self._background)

    def _org(self, key: str) -> str:
        """The organization's name for a name, an id or "" (personal); NOT_FOUND for any other."""
        return self._account.org(key).name if key else ""

    def _org_id(self, name: str) -> str:
        """The id of an organization; empty for the personal one."""
        return self._account.org(name).id if name else ""


def _names(directory: str) -> list[str]:
    return os.listdir(directory) if os.path.isdir(directory) else []


def _take_exception(task: asyncio.Task[Any]) -> None:
    """Mark a task's error as seen: its caller may be gone, and has been told otherwise."""
    if not task.cancelled():
        task.exception()
