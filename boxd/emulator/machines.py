"""The boxes of one emulator: their names, statuses and transitions.

A box is `pending` when it is accepted, `starting` while its machine boots and `running` from then on. Each
transition holds the box's lock, so that two calls on one box follow each other.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from .console import Console
from .errors import Code, EmulatorError
from .names import check_name, make_name
from .options import GIB, Options
from .sandbox import Machine, Sandbox, SandboxError

PENDING, STARTING, RUNNING = "pending", "starting", "running"
SUSPENDED, STOPPED, FAILED, DESTROYED = "suspended", "stopped", "failed", "destroyed"

LARGEST_VCPU = 8
LARGEST_MEMORY = 32 * GIB
LARGEST_DISK = 100 * GIB


@dataclass(frozen=True)
class Spec:
    """What a box is made as. Zero and empty fields mean the default. Sizes are in bytes, times in seconds."""

    image: str = ""
    vcpu: int = 0
    memory_bytes: int = 0
    disk_bytes: int = 0
    env: Mapping[str, str] = field(default_factory=dict)
    command: Sequence[str] = ()
    restart_policy: str = ""
    auto_suspend_seconds: int | None = None
    auto_destroy_seconds: int = 0
    org: str = ""
    shared: bool = False


@dataclass(eq=False)
class Box:
    """One box. `name` is free again when it is destroyed; the record stays as a tombstone."""

    id: str
    name: str
    spec: Spec
    status: str = PENDING
    forked_from: str = ""
    created_at: float = field(default_factory=time.time)
    boot_time_ms: int = 0
    machine: Machine | None = None
    console: Console = field(default_factory=Console)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)


class Boxes:
    """All boxes, and what can be done to them."""

    def __init__(self, sandbox: Sandbox, options: Options) -> None:
        self.sandbox = sandbox
        self._options = options
        self._by_id: dict[str, Box] = {}
        self._by_name: dict[str, Box] = {}
        self.booted: list[Callable[[Box, Machine], Awaitable[None]]] = []
        """Awaited for each machine that has booted, before its start command runs."""
        self.destroyed: list[Callable[[Box], Awaitable[None]]] = []
        """Awaited for each box whose machine has ended for good, before its files are removed."""

    # Finding.

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
        if name:
            check_name(name)
        if name in self._by_name:
            raise EmulatorError(Code.ALREADY_EXISTS, f"the name {name!r} is taken")
        if len(self._by_name) >= self._options.max_boxes:
            raise EmulatorError(
                Code.RESOURCE_EXHAUSTED,
                f"the limit of {self._options.max_boxes} boxes is reached: destroy one first",
            )
        check_spec(spec)
        box = Box(f"vm-{secrets.token_hex(8)}", name or make_name(self._by_name), spec)
        self._by_id[box.id] = self._by_name[box.name] = box
        return box

    async def create(self, name: str, spec: Spec) -> Box:
        """Make a box and boot it."""
        box = self._accept(name, spec)
        async with box.lock:
            try:
                await self.sandbox.prepare(box.id, box.name)
                await self._boot(box)
            except (OSError, SandboxError) as error:
                await self._discard(box)
                raise EmulatorError(Code.INTERNAL, f"box {box.name} could not be made: {error}") from error
        return box

    async def fork(self, source: Box, name: str, spec: Spec, shared: bool) -> Box:
        """Make a box whose files are a copy of the source's; the source stands still meanwhile."""
        name = name or f"{source.name}-fork"
        merged = merge_specs(source.spec, replace(spec, shared=shared))
        box = self._accept(name, merged)
        box.forked_from = source.id
        async with box.lock:
            try:
                await self._copy(source, box)
                await self._boot(box)
            except (OSError, SandboxError) as error:
                await self._discard(box)
                raise EmulatorError(Code.INTERNAL, f"box {source.name} could not be forked: {error}") from error
        return box

    async def _copy(self, source: Box, box: Box) -> None:
        async with source.lock:
            if source.status == DESTROYED:
                raise EmulatorError(Code.NOT_FOUND, f"box {source.id!r} is destroyed")
            machine = source.machine if source.status == RUNNING else None
            if machine is not None:
                await machine.freeze()
            try:
                await self.sandbox.copy(source.id, box.id, box.name)
            finally:
                if machine is not None:
                    await machine.thaw()

    async def _discard(self, box: Box) -> None:
        """Undo a creation that failed."""
        if box.machine is not None:
            await box.machine.kill()
        for tell in self.destroyed:
            await tell(box)
        del self._by_id[box.id], self._by_name[box.name]
        try:
            await self.sandbox.delete(box.id)
        except (OSError, SandboxError) as error:
            box.console.note(f"the disk could not be removed: {error}")

    async def _boot(self, box: Box) -> None:
        box.status = STARTING
        started = time.monotonic()
        box.machine = await self.sandbox.boot(box.id, box.name, box.spec.env)
        for tell in self.booted:
            await tell(box, box.machine)
        await box.console.boot(box.machine, box.name, box.spec.command)
        box.boot_time_ms = max(1, round((time.monotonic() - started) * 1000))
        box.status = RUNNING

    # Transitions.

    async def ready(self, box: Box) -> Machine:
        """The box's machine; wakes a suspended box. FAILED_PRECONDITION when the box is off."""
        if box.status == RUNNING and box.machine is not None and box.machine.alive:
            return box.machine
        async with box.lock:
            self._notice_death(box)
            if box.status == SUSPENDED:
                await self._resume(box)
            if box.status != RUNNING or box.machine is None:
                raise _wrong_state(box, "start it first")
            return box.machine

    def _notice_death(self, box: Box) -> None:
        if box.machine is not None and not box.machine.alive:
            box.machine = None
            box.status = FAILED

    async def start(self, box: Box) -> None:
        """Boot a box that is off; a suspended one is resumed, a running one stays as it is."""
        async with box.lock:
            self._check_exists(box)
            self._notice_death(box)
            if box.status == SUSPENDED:
                await self._resume(box)
            elif box.status != RUNNING:
                await self._boot(box)

    async def stop(self, box: Box) -> None:
        """Power off. The files stay."""
        async with box.lock:
            self._check_exists(box)
            await self._power_off(box)
            box.status = STOPPED

    async def reboot(self, box: Box) -> None:
        """Power off and boot with the same files."""
        async with box.lock:
            self._check_exists(box)
            if box.status == STOPPED:
                raise _wrong_state(box, "start it instead")
            await self._power_off(box)
            await self._boot(box)

    async def _power_off(self, box: Box) -> None:
        if box.machine is not None:
            await box.machine.kill()
            box.machine = None
            box.console.note("powered off")

    async def suspend(self, box: Box) -> int:
        """Freeze the box's processes; the microseconds it took."""
        async with box.lock:
            self._check_exists(box)
            self._notice_death(box)
            if box.status == SUSPENDED:
                return 0
            if box.status != RUNNING or box.machine is None:
                raise _wrong_state(box, "only a running box can be suspended")
            started = time.monotonic()
            await box.machine.freeze()
            box.status = SUSPENDED
            box.console.note("suspended")
            return max(1, round((time.monotonic() - started) * 1_000_000))

    async def resume(self, box: Box) -> int:
        """Thaw a suspended box; the microseconds it took, 0 for a box that runs."""
        async with box.lock:
            self._check_exists(box)
            self._notice_death(box)
            if box.status == RUNNING:
                return 0
            if box.status != SUSPENDED:
                raise _wrong_state(box, "start it instead")
            return await self._resume(box)

    async def _resume(self, box: Box) -> int:
        started = time.monotonic()
        if box.machine is not None:
            await box.machine.thaw()
        box.status = RUNNING
        box.console.note("resumed")
        return max(1, round((time.monotonic() - started) * 1_000_000))

    async def destroy(self, box: Box) -> None:
        """End the box and remove its files; its name is free at once."""
        async with box.lock:
            self._check_exists(box)
            await self._power_off(box)
            del self._by_name[box.name]
            box.status = DESTROYED
            box.name = f"{box.name}:{box.id}"
            box.console.close()
            for tell in self.destroyed:
                await tell(box)
            await self.sandbox.delete(box.id)

    def share(self, box: Box, shared: bool) -> None:
        """Show the box to its organization, or to its owner alone."""
        if shared and not box.spec.org:
            raise EmulatorError(Code.FAILED_PRECONDITION, f"box {box.name} is personal: there is nobody to share with")
        box.spec = replace(box.spec, shared=shared)

    def _check_exists(self, box: Box) -> None:
        if box.status == DESTROYED:
            raise EmulatorError(Code.NOT_FOUND, f"box {box.id!r} is destroyed")

    async def close(self) -> None:
        """End every machine."""
        machines = [box.machine for box in self._by_name.values() if box.machine is not None]
        await asyncio.gather(*(machine.kill() for machine in machines))


def _wrong_state(box: Box, advice: str) -> EmulatorError:
    return EmulatorError(Code.FAILED_PRECONDITION, f"box {box.name} is {box.status}: {advice}")


def merge_specs(base: Spec, over: Spec) -> Spec:
    """A fork's spec: the source's, with what the caller gave in its place."""
    return Spec(
        image=over.image or base.image,
        vcpu=over.vcpu or base.vcpu,
        memory_bytes=over.memory_bytes or base.memory_bytes,
        disk_bytes=over.disk_bytes or base.disk_bytes,
        env={**base.env, **over.env},
        command=over.command or base.command,
        restart_policy=over.restart_policy or base.restart_policy,
        auto_suspend_seconds=(
            base.auto_suspend_seconds if over.auto_suspend_seconds is None else over.auto_suspend_seconds
        ),
        auto_destroy_seconds=over.auto_destroy_seconds or base.auto_destroy_seconds,
        org=base.org,
        shared=over.shared,
    )


def check_spec(spec: Spec) -> None:
    """Refuse sizes above the platform's (RESOURCE_EXHAUSTED) and other bad values (INVALID_ARGUMENT)."""
    for what, value, most in (
        ("vCPUs", spec.vcpu, LARGEST_VCPU),
        ("bytes of memory", spec.memory_bytes, LARGEST_MEMORY),
        ("bytes of disk", spec.disk_bytes, LARGEST_DISK),
    ):
        if value > most:
            raise EmulatorError(Code.RESOURCE_EXHAUSTED, f"{value} {what} is more than the limit of {most}")
    if spec.restart_policy not in ("", "always", "never"):
        raise EmulatorError(
            Code.INVALID_ARGUMENT, f"restart_policy {spec.restart_policy!r} is neither 'always' nor 'never'"
        )
    for name, text in spec.env.items():
        if not name or "=" in name or "\0" in name + text:
            raise EmulatorError(Code.INVALID_ARGUMENT, f"{name!r} is no environment variable")
