"""Disks: directories that outlive boxes and are mounted in one at a time."""

from __future__ import annotations

import asyncio
import errno
import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass

from boxd import messages as pb

from .box import DESTROYED, Box
from .errors import Code, EmulatorError, from_os_error
from .machines import Boxes
from .sandbox import Machine, Sandbox
from .store import Record, Store, Table

READY = "ready"

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62})")


@dataclass
class Disk(Record):
    """One disk, and where it is attached: `box_id` is empty when it is nowhere."""

    name: str = ""
    size_bytes: int = 0
    status: str = READY
    created_at: int = 0
    box_id: str = ""
    mount_path: str = ""
    read_only: bool = False


class Disks:
    """All disks. A disk's lock orders what is done to it."""

    def __init__(self, boxes: Boxes, sandbox: Sandbox, store: Store) -> None:
        self._boxes = boxes
        self._sandbox = sandbox
        self._table = Table(store, "disks", Disk)
        self._lock = asyncio.Lock()
        boxes.booted.append(self._mount_all)

    def all(self) -> list[Disk]:
        """Every disk, the oldest first."""
        return list(self._table)

    def get(self, disk_id: str) -> Disk:
        """The disk with this id. NOT_FOUND."""
        disk = self._table.get(disk_id)
        if disk is None:
            raise EmulatorError(Code.NOT_FOUND, f"there is no disk {disk_id!r}")
        return disk

    async def create(self, name: str, size_bytes: int) -> Disk:
        """Make an empty disk. INVALID_ARGUMENT, ALREADY_EXISTS."""
        name = name or f"disk-{secrets.token_hex(4)}"
        if not _NAME.fullmatch(name):
            raise EmulatorError(
                Code.INVALID_ARGUMENT,
                f"{name!r} is no name for a disk: use 1 to 63 letters, digits, dots, hyphens and underscores",
            )
        if size_bytes <= 0:
            raise EmulatorError(Code.INVALID_ARGUMENT, "the size of a disk must be more than 0 bytes")
        async with self._lock:
            if any(disk.name == name for disk in self._table):
                raise EmulatorError(Code.ALREADY_EXISTS, f"there is a disk {name!r} already")
            disk = Disk(f"disk-{secrets.token_hex(8)}", name, size_bytes, created_at=int(time.time()))
            try:
                await self._sandbox.make_volume(disk.id)
            except OSError as error:
                raise from_os_error(error, f"making disk {name}") from error
            return self._table.put(disk)

    async def destroy(self, disk_id: str) -> None:
        """Remove a disk with its files. NOT_FOUND; FAILED_PRECONDITION while it is attached."""
        async with self._lock:
            disk = self.get(disk_id)
            if disk.box_id:
                raise _attached(disk, "detach it first")
            self._table.remove(disk.id)
            await self._sandbox.delete_volume(disk.id)

    def reserve(self, box: Box, disk: Disk, mount_path: str, read_only: bool) -> None:
        """Note that a disk belongs to a box from now on; it is mounted when the box boots."""
        if not self._sandbox.mounts:
            raise EmulatorError(
                Code.FAILED_PRECONDITION,
                "disks cannot be attached: this emulator runs without namespaces, where a box has no mounts",
            )
        if not mount_path.startswith("/") or "\0" in mount_path:
            raise EmulatorError(Code.INVALID_ARGUMENT, f"the mount path {mount_path!r} is not absolute")
        if disk.status != READY:
            raise EmulatorError(Code.FAILED_PRECONDITION, f"disk {disk.name} is {disk.status}, not ready")
        if disk.box_id:
            raise _attached(disk, "a disk is in one box at a time")
        if any(other.box_id == box.id and other.mount_path == mount_path for other in self._table):
            raise EmulatorError(Code.ALREADY_EXISTS, f"box {box.name} has another disk at {mount_path}")
        disk.box_id, disk.mount_path, disk.read_only = box.id, mount_path, read_only
        self._table.put(disk)

    def set_up(self, box: Box, volumes: Iterable[pb.VolumeMount]) -> None:
        """Reserve what a new box's configuration names."""
        for volume in volumes:
            self.reserve(box, self.get(volume.disk_id), volume.mount_path, volume.read_only)

    def _release(self, disk: Disk) -> None:
        disk.box_id, disk.mount_path, disk.read_only = "", "", False
        self._table.put(disk)

    def forget(self, box: Box) -> None:
        """Free the disks of a box that is destroyed."""
        for disk in self._of(box):
            self._release(disk)

    def _of(self, box: Box) -> list[Disk]:
        return [disk for disk in self._table if disk.box_id == box.id]

    async def attach(self, disk_id: str, box: Box, mount_path: str, read_only: bool) -> None:
        """Mount a disk in a box: at once in one that is on, else when it starts."""
        disk = self.get(disk_id)
        async with box.lock, self._lock:
            if box.status == DESTROYED:
                raise EmulatorError(Code.NOT_FOUND, f"box {box.name} is destroyed")
            if self._table.get(disk.id) is None:
                raise EmulatorError(Code.NOT_FOUND, f"there is no disk {disk_id!r}")
            self.reserve(box, disk, mount_path, read_only)
            if box.machine is None:
                return
            try:
                await box.machine.mount(disk.id, mount_path, read_only)
            except OSError as error:
                self._release(disk)
                raise from_os_error(error, f"mounting disk {disk.name} at {mount_path}") from error

    async def detach(self, disk_id: str, box: Box) -> None:
        """Unmount a disk. FAILED_PRECONDITION when it is not attached to this box, or a program uses it."""
        disk = self.get(disk_id)
        async with box.lock, self._lock:
            if disk.box_id != box.id:
                raise EmulatorError(Code.FAILED_PRECONDITION, f"disk {disk.name} is not attached to box {box.name}")
            if box.machine is not None:
                try:
                    await box.machine.unmount(disk.id)
                except OSError as error:
                    if error.errno != errno.EBUSY:
                        raise from_os_error(error, f"unmounting disk {disk.name}") from error
                    text = f"a program in box {box.name} uses disk {disk.name}: end it, or leave the directory, first"
                    raise EmulatorError(Code.FAILED_PRECONDITION, text) from error
            self._release(disk)

    async def _mount_all(self, box: Box, machine: Machine) -> None:
        """Mount a box's disks when it boots, the outermost directory first."""
        for disk in sorted(self._of(box), key=lambda disk: len(disk.mount_path)):
            try:
                await machine.mount(disk.id, disk.mount_path, disk.read_only)
            except OSError as error:
                box.console.note(f"disk {disk.name} is not mounted at {disk.mount_path}: {error.strerror}")

    def box_name(self, disk: Disk) -> str:
        """The name of the box that a disk is attached to."""
        return self._boxes.find(disk.box_id).name


def _attached(disk: Disk, advice: str) -> EmulatorError:
    return EmulatorError(
        Code.FAILED_PRECONDITION, f"disk {disk.name} is attached to {disk.box_id} at {disk.mount_path}: {advice}"
    )
