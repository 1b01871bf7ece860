"""Disks without a machine: snapshots, checkpoints and backups. Copies of a box's files; memory is not in them."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import itertools
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from .box import Box, Spec
from .errors import Code, EmulatorError
from .machines import Boxes
from .sandbox import SandboxError
from .store import Record, Store, Table

SNAPSHOT, CHECKPOINT, BACKUP = "snapshot", "checkpoint", "backup"


@dataclass
class Image(Record):
    """One kept disk."""

    kind: str = ""
    name: str = ""
    vm_id: str = ""
    """The box of a checkpoint or a backup."""
    org: str = ""
    disk: str = ""
    """The id of the disk in the sandbox."""
    version: int = 1
    use_count: int = 0
    created_at: float = 0.0
    updated_at: float = 0.0
    spec: dict[str, Any] = field(default_factory=dict)
    """What the box was then."""


class Images:
    """All kept disks."""

    def __init__(self, boxes: Boxes, store: Store) -> None:
        self._boxes = boxes
        self._images = Table(store, "image", Image)
        self._capturing = asyncio.Lock()
        self._readers: collections.Counter[str] = collections.Counter()
        self._unwanted: set[str] = set()

    @property
    def disks(self) -> set[str]:
        """The ids of all their disks."""
        return {image.disk for image in self._images}

    def of(self, kind: str, *, vm_id: str = "", org: str | None = None) -> Iterator[Image]:
        """Those of a kind: of a box, or of an organization."""
        for image in self._images:
            if image.kind == kind and image.vm_id == vm_id and (org is None or image.org == org):
                yield image

    def find(self, kind: str, key: str, *, vm_id: str = "", org: str | None = None) -> Image:
        """The one with this name or id. NOT_FOUND."""
        for image in self.of(kind, vm_id=vm_id, org=org):
            if key in (image.name, image.id):
                return image
        raise EmulatorError(Code.NOT_FOUND, f"there is no {kind} {key!r}")

    async def capture(self, kind: str, box: Box, name: str, *, vm_id: str = "", org: str = "") -> Image:
        """Keep a box's disk as it is now. A snapshot of a name that exists is its next version; without a name there is
        a new one."""
        # One at a time: two of one name must not both find it free.
        async with self._capturing:
            return await self._capture(kind, box, name or self._free_name(kind, vm_id), vm_id, org)

    def _free_name(self, kind: str, vm_id: str) -> str:
        taken = {image.name for image in self.of(kind, vm_id=vm_id)}
        return next(name for number in itertools.count(1) if (name := f"{kind}-{number}") not in taken)

    async def _capture(self, kind: str, box: Box, name: str, vm_id: str, org: str) -> Image:
        old = next((image for image in self.of(kind, vm_id=vm_id, org=org) if image.name == name), None)
        if old is not None and kind != SNAPSHOT:
            raise EmulatorError(Code.ALREADY_EXISTS, f"the {kind} {name!r} exists")
        disk = f"{kind}-{secrets.token_hex(8)}"
        try:
            await self._boxes.copy_disk(box, disk, name)
        except (OSError, SandboxError) as error:
            await self._drop(disk)
            raise EmulatorError(Code.INTERNAL, f"the {kind} could not be made: {error}") from error
        now = self._boxes.clock()
        old_disk = "" if old is None else old.disk
        image = Image(
            disk if old is None else old.id,
            kind=kind,
            name=name,
            vm_id=vm_id,
            org=org,
            disk=disk,
            version=1 if old is None else old.version + 1,
            use_count=0 if old is None else old.use_count,
            created_at=now if old is None else old.created_at,
            updated_at=now,
            spec=asdict(box.spec),
        )
        self._images.put(image)
        if old is not None:
            await self._drop(old_disk)
        return image

    def rename_org(self, old: str, new: str) -> None:
        """An organization has another name."""
        for image in self._images:
            if image.org == old:
                image.org = new
                self._images.put(image)

    def used(self, image: Image) -> None:
        """Count a box that was made from it, unless it was removed meanwhile."""
        now = self._images.get(image.id)
        if now is not None:
            now.use_count += 1
            self._images.put(now)

    async def delete(self, image: Image) -> None:
        """Forget an image and remove its disk."""
        self._images.remove(image.id)
        await self._drop(image.disk)

    @contextlib.asynccontextmanager
    async def reading(self, image: Image) -> AsyncIterator[str]:
        """The id of its disk, which stays until the end of the block, whatever becomes of the image. NOT_FOUND."""
        now = self._images.get(image.id)
        if now is None:
            raise EmulatorError(Code.NOT_FOUND, f"the {image.kind} {image.name!r} was removed")
        disk = now.disk
        self._readers[disk] += 1
        try:
            yield disk
        finally:
            self._readers[disk] -= 1
            if not self._readers[disk]:
                del self._readers[disk]
                if disk in self._unwanted:
                    await self._drop(disk)

    async def _drop(self, disk: str) -> None:
        if disk in self._readers:
            self._unwanted.add(disk)
            return
        self._unwanted.discard(disk)
        await self._boxes.sandbox.delete(disk)

    async def forget_box(self, box: Box) -> None:
        """Remove the checkpoints of a box that is gone. Backups outlive it."""
        for image in list(self.of(CHECKPOINT, vm_id=box.id)):
            await self.delete(image)


def spec_of(image: Image) -> Spec:
    """The sizes, environment and command that the image's box had."""
    kept = {name: image.spec.get(name) for name in ("image", "vcpu", "memory_bytes", "disk_bytes", "env", "command")}
    source = (image.kind, image.name, image.version, image.id)
    return Spec(**{name: value for name, value in kept.items() if value}, source=source)
