"""The boxes of one emulator: their names, statuses and transitions.

A box is `pending` when it is accepted, `starting` while its machine boots and `running` from then on. Each
transition holds the box's lock, so that two calls on one box follow each other, and is remembered when it is done.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace

from .box import (
    DESTROYED,
    FAILED,
    FROZEN,
    HIBERNATED,
    RUNNING,
    STARTING,
    STOPPED,
    SUSPENDED,
    Box,
    BoxRecord,
    SetUp,
    Spec,
    check_spec,
    limits_of,
    merge_specs,
    recall,
    remember,
)
from .errors import Code, EmulatorError
from .names import check_name, make_name
from .options import Options
from .sandbox import Machine, Sandbox, SandboxError
from .store import Store, Table


class Boxes:
    """All boxes, and what can be done to them. `changed` is called when a box's timers or status may have changed;
    `clock` gives Unix seconds."""

    def __init__(
        self,
        sandbox: Sandbox,
        options: Options,
        store: Store | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.sandbox = sandbox
        self.clock = clock
        self.changed: Callable[[], None] = lambda: None
        self.booted: list[Callable[[Box, Machine], Awaitable[None]]] = []
        """Awaited for each machine that has booted, before its start command runs."""
        self.destroyed: list[Callable[[Box], Awaitable[None]]] = []
        """Awaited for each box whose machine has ended for good, before its files are removed."""
        self.variables: Callable[[Box], dict[str, str]] = lambda box: {}
        """What else the start command of a box gets in its environment."""
        self._options = options
        self._records = Table(Store() if store is None else store, "box", BoxRecord)
        boxes = [recall(record) for record in self._records]
        self._by_id: dict[str, Box] = {box.id: box for box in boxes}
        self._by_name: dict[str, Box] = {box.name: box for box in boxes if box.status != DESTROYED}

    async def power_on(self) -> None:
        """After a restart of the emulator: boot the boxes whose restart policy is `always`, the default."""
        for box in self.all():
            if box.status == STOPPED and box.spec.restart_policy != "never":
                async with box.lock:
                    try:
                        await self._boot(box)
                    except (OSError, SandboxError) as error:
                        box.status = FAILED
                        box.console.note(f"the box could not be started again: {error}")
        for box in self.all():
            self.save(box)

    def save(self, box: Box) -> None:
        """Remember a box as it is now."""
        self._records.put(remember(box))
        self.changed()

    @contextlib.contextmanager
    def _transition(self, box: Box) -> Iterator[None]:
        """Remember what becomes of a box, however it ends."""
        try:
            yield
        finally:
            if box.id in self._by_id:
                self.save(box)

    def find(self, key: str, *, names: bool = True) -> Box:
        """The box with this id or (with `names`) name; tombstones by id too. NOT_FOUND."""
        box = self._by_id.get(key) or (self._by_name.get(key) if names else None)
        if box is None:
            raise EmulatorError(Code.NOT_FOUND, f"there is no box {key!r}")
        return box

    def existing(self, key: str) -> Box:
        """Like `find`, without tombstones."""
        box = self.find(key)
        if box.status == DESTROYED:
            raise EmulatorError(Code.NOT_FOUND, f"box {key!r} is destroyed")
        return box

    def all(self) -> list[Box]:
        """The boxes that are not destroyed, the oldest first."""
        return list(self._by_name.values())

    # Making.

    def _accept(self, name: str, spec: Spec) -> Box:
        """Register a new box. Nothing is awaited here, so that names and the quota cannot be taken twice."""
        self._check_free(name)
        if len(self._by_name) >= self._options.max_boxes:
            raise EmulatorError(
                Code.RESOURCE_EXHAUSTED,
                f"the limit of {self._options.max_boxes} boxes is reached: destroy one first",
            )
        check_spec(spec)
        now = self.clock()
        box = Box(f"vm-{secrets.token_hex(8)}", name or self.free_name(), spec, created_at=now, last_used=now)
        self._by_id[box.id] = self._by_name[box.name] = box
        return box

    def free_name(self) -> str:
        """A name that no box has."""
        return make_name(self._by_name)

    def _check_free(self, name: str) -> None:
        if name:
            check_name(name)
        if name in self._by_name:
            raise EmulatorError(Code.ALREADY_EXISTS, f"the name {name!r} is taken")

    async def create(self, name: str, spec: Spec, disk: str = "", set_up: SetUp | None = None) -> Box:
        """Make a box and boot it; `disk` is the id of one to copy. When `set_up` raises, there is no box."""
        box = self._accept(name, spec)
        async with box.lock:
            with self._transition(box):
                try:
                    if set_up is not None:
                        set_up(box)
                    if disk:
                        await self.sandbox.copy(disk, box.id, box.name)
                    else:
                        await self.sandbox.prepare(box.id, box.name)
                    await self._boot(box)
                except (OSError, SandboxError, EmulatorError) as error:
                    await self._discard(box)
                    raise _not_made(error, f"box {box.name} could not be made") from error
        return box

    async def fork(self, source: Box, name: str, spec: Spec, shared: bool, set_up: SetUp | None = None) -> Box:
        """Make a box whose files are a copy of the source's; the source stands still meanwhile."""
        name = name or f"{source.name}-fork"
        merged = merge_specs(source.spec, replace(spec, shared=shared))
        box = self._accept(name, merged)
        box.forked_from = source.id
        async with box.lock:
            with self._transition(box):
                try:
                    if set_up is not None:
                        set_up(box)
                    await self.copy_disk(source, box.id, box.name)
                    await self._boot(box)
                except (OSError, SandboxError, EmulatorError) as error:
                    await self._discard(box)
                    raise _not_made(error, f"box {source.name} could not be forked") from error
        return box

    async def copy_disk(self, source: Box, target: str, hostname: str) -> None:
        """Copy a box's disk to another, of the id `target`, at one moment of the box."""
        async with source.lock:
            self._check_exists(source)
            machine = source.machine if source.status == RUNNING else None
            if machine is not None:
                await machine.freeze()
            try:
                await self.sandbox.copy(source.id, target, hostname)
            finally:
                if machine is not None:
                    await machine.thaw()

    async def replace_disk(self, box: Box, disk: str) -> None:
        """Put a copy of a disk in place of a box's own. A box that is on is powered off and boots again."""
        async with box.lock:
            self._check_exists(box)
            with self._transition(box):
                was_on = box.machine is not None
                await self._power_off(box)
                box.status = STOPPED
                await self.sandbox.delete(box.id)
                await self.sandbox.copy(disk, box.id, box.name)
                if was_on:
                    await self._boot(box)

    async def _discard(self, box: Box) -> None:
        """Undo a creation that failed."""
        if box.machine is not None:
            await box.machine.kill()
        for tell in self.destroyed:
            await tell(box)
        del self._by_id[box.id], self._by_name[box.name]
        self._records.remove(box.id)
        try:
            await self.sandbox.delete(box.id)
        except (OSError, SandboxError) as error:
            box.console.note(f"the disk could not be removed: {error}")

    async def _boot(self, box: Box) -> None:
        box.status = STARTING
        started = time.monotonic()
        box.machine = await self.sandbox.boot(box.id, box.name, box.spec.env, limits_of(box.spec, self._options))
        for tell in self.booted:
            await tell(box, box.machine)
        await box.console.boot(box.machine, box.name, box.spec.command, self.variables(box))
        box.boot_time_ms = max(1, round((time.monotonic() - started) * 1000))
        box.status = RUNNING
        box.last_used = self.clock()

    # Use.

    async def ready(self, box: Box) -> Machine:
        """The box's machine; wakes a box that is suspended or hibernated. FAILED_PRECONDITION when it is off."""
        box.last_used = self.clock()
        if box.status == RUNNING and box.machine is not None and box.machine.alive:
            return box.machine
        async with box.lock:
            self._notice_death(box)
            if box.status in FROZEN:
                await self._thaw(box)
            if box.status != RUNNING or box.machine is None:
                raise _wrong_state(box, "start it first")
            return box.machine

    @contextlib.contextmanager
    def in_use(self, box: Box) -> Iterator[None]:
        """While this lasts, the box is not idle."""
        box.users += 1
        try:
            yield
        finally:
            box.users -= 1
            box.last_used = self.clock()
            self.changed()

    def hibernate_after(self, box: Box) -> int:
        """Seconds of idleness after which a box is hibernated; 0 for never."""
        own = box.spec.auto_hibernate_seconds
        return self._options.auto_hibernate_seconds if own is None else own

    def _notice_death(self, box: Box) -> None:
        if box.machine is not None and not box.machine.alive:
            box.machine = None
            box.status = FAILED

    # Transitions.

    async def start(self, box: Box) -> None:
        """Boot a box that is off; a suspended or hibernated one is woken, a running one stays as it is."""
        async with box.lock:
            self._check_exists(box)
            self._notice_death(box)
            if box.status in FROZEN:
                await self._thaw(box)
            elif box.status != RUNNING:
                with self._transition(box):
                    await self._boot(box)

    async def stop(self, box: Box) -> None:
        """Power off. The files stay."""
        async with box.lock:
            self._check_exists(box)
            with self._transition(box):
                await self._power_off(box)
                box.status = STOPPED

    async def reboot(self, box: Box) -> None:
        """Power off and boot with the same files."""
        async with box.lock:
            self._check_exists(box)
            if box.status == STOPPED:
                raise _wrong_state(box, "start it instead")
            with self._transition(box):
                await self._power_off(box)
                await self._boot(box)

    async def _power_off(self, box: Box) -> None:
        if box.machine is not None:
            await box.machine.kill()
            box.machine = None
            box.console.note("powered off")

    async def freeze(self, box: Box, status: str) -> int:
        """Suspend or hibernate a box: freeze its processes. Returns the microseconds it took, 0 where it was so."""
        async with box.lock:
            self._check_exists(box)
            self._notice_death(box)
            if box.status == status:
                return 0
            frozen = status == HIBERNATED and box.status == SUSPENDED
            if box.machine is None or not (frozen or box.status == RUNNING):
                raise _wrong_state(box, f"only a running box can be {status}")
            started = time.monotonic()
            if not frozen:
                await box.machine.freeze()
            box.status = status
            box.console.note(status)
            if status == HIBERNATED:
                box.hibernated_at = self.clock()
            self.save(box)
            return max(1, round((time.monotonic() - started) * 1_000_000))

    async def suspend(self, box: Box) -> int:
        """Suspend a running box; the microseconds it took."""
        return await self.freeze(box, SUSPENDED)

    async def resume(self, box: Box) -> int:
        """Thaw a suspended or hibernated box; the microseconds it took, 0 for a box that runs."""
        async with box.lock:
            self._check_exists(box)
            self._notice_death(box)
            if box.status == RUNNING:
                return 0
            if box.status not in FROZEN:
                raise _wrong_state(box, "start it instead")
            return await self._thaw(box)

    async def _thaw(self, box: Box) -> int:
        started = time.monotonic()
        if box.machine is not None:
            await box.machine.thaw()
        box.status = RUNNING
        box.console.note("resumed")
        box.last_used = self.clock()
        self.save(box)
        return max(1, round((time.monotonic() - started) * 1_000_000))

    async def destroy(self, box: Box) -> None:
        """End the box and remove its files; its name is free at once."""
        async with box.lock:
            self._check_exists(box)
            with self._transition(box):
                await self._power_off(box)
                del self._by_name[box.name]
                box.status = DESTROYED
                box.name = f"{box.name}:{box.id}"
                box.console.close()
                # Before the files go: an emulator that is killed meanwhile must not boot what is left of them.
                self.save(box)
                for tell in self.destroyed:
                    await tell(box)
                await self.sandbox.delete(box.id)

    def rename(self, box: Box, name: str) -> None:
        """Give a box another name. What runs in it sees the new host name after a reboot."""
        if name != box.name:
            if not name:
                raise EmulatorError(Code.INVALID_ARGUMENT, "the new name is empty")
            self._check_free(name)
            del self._by_name[box.name]
            box.name = name
            self._by_name[name] = box
            self.save(box)

    def change(self, box: Box, **values: object) -> None:
        """Change fields of a box's spec."""
        spec = replace(box.spec, **values)  # type: ignore[arg-type]
        check_spec(spec)
        box.spec = spec
        self.save(box)

    def share(self, box: Box, shared: bool) -> None:
        """Show the box to its organization, or to its owner alone."""
        if shared and not box.spec.org:
            raise EmulatorError(Code.FAILED_PRECONDITION, f"box {box.name} is personal: there is nobody to share with")
        self.change(box, shared=shared)

    def _check_exists(self, box: Box) -> None:
        if box.status == DESTROYED:
            raise EmulatorError(Code.NOT_FOUND, f"box {box.id!r} is destroyed")

    async def close(self) -> None:
        """End every machine."""
        machines = [box.machine for box in self._by_name.values() if box.machine is not None]
        await asyncio.gather(*(machine.kill() for machine in machines))


def _not_made(error: Exception, what: str) -> EmulatorError:
    return error if isinstance(error, EmulatorError) else EmulatorError(Code.INTERNAL, f"{what}: {error}")


def _wrong_state(box: Box, advice: str) -> EmulatorError:
    return EmulatorError(Code.FAILED_PRECONDITION, f"box {box.name} is {box.status}: {advice}")
