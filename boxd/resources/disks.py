"""`c.disk`: volumes that outlive machines."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING

from boxd import methods
from boxd.messages import disk as pb
from boxd.resources._lookup import machine_id
from boxd.resources._service import Service
from boxd.sizes import parse_size
from boxd.types.storage import DiskAttachment

if TYPE_CHECKING:
    from boxd.resources._base import Session
    from boxd.resources.box import Box


class DiskHandle:
    """A disk. Comes from `c.disk.create` and `list`. The fields are what the service said when the object was made;
    `destroy` keeps `status` up to date."""

    def __init__(self, session: Session, record: pb.CreateDiskResponse | pb.DiskInfo) -> None:
        self._session = session
        self._id = record.disk_id
        self._name = record.name
        self._size_bytes = record.size_bytes
        self._status = record.status
        # A disk that was just created is attached nowhere.
        self._attachments = [
            DiskAttachment(one.vm_id, one.vm_name, one.mount_path, one.mount_mode)
            for one in (record.attachments if isinstance(record, pb.DiskInfo) else ())
        ]

    @property
    def id(self) -> str:
        """The disk's id. Never changes."""
        return self._id

    @property
    def name(self) -> str:
        """The disk's name."""
        return self._name

    @property
    def size_bytes(self) -> int:
        """Its size in bytes."""
        return self._size_bytes

    @property
    def status(self) -> str:
        """Its status as last known: `creating`, `ready`, `destroyed`, or another word that the service uses."""
        return self._status

    @property
    def attachments(self) -> list[DiskAttachment]:
        """Where it was attached when the object was made, as a copy. `c.disk.list()` asks again."""
        return [*self._attachments]

    async def attach(self, box_or_name: Box | str, mount_path: str, read_only: bool = False) -> None:
        """Mount the disk in a machine, given as a `Box`, a name or an id, at the directory `mount_path`. A disk is
        attached to one machine at a time, once it is `ready`. RPC: AttachDisk; GetVm for a name or an id.

        Raises `NotFoundError`, and `BoxdError` where it is attached already or not ready.
        """
        request = pb.AttachDiskRequest(
            disk_id=self._id,
            vm_id=await machine_id(self._session, box_or_name),
            mount_path=mount_path,
            read_only=read_only,
        )
        await self._session.unary(methods.AttachDisk, request)

    async def detach(self, box_or_name: Box | str) -> None:
        """Take the disk out of a machine, given as a `Box`, a name or an id. Raises `NotFoundError`, and `BoxdError`
        where it is not attached to that. RPC: DetachDisk; GetVm for a name or an id."""
        vm_id = await machine_id(self._session, box_or_name)
        await self._session.unary(methods.DetachDisk, pb.DetachDiskRequest(disk_id=self._id, vm_id=vm_id))

    async def destroy(self) -> None:
        """Destroy the disk and what is on it. Raises `BoxdError` while it is attached. RPC: DestroyDisk."""
        await self._session.unary(methods.DestroyDisk, pb.DestroyDiskRequest(disk_id=self._id))
        self._status = "destroyed"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DiskHandle) and other._id == self._id

    def __hash__(self) -> int:
        return hash(self._id)

    def __repr__(self) -> str:
        return f"<DiskHandle {self._name!r} id={self._id!r} status={self._status!r}>"


class DiskService(Service):
    """Disks: volumes that can be attached to machines and outlive them."""

    async def create(self, name: str, size: str | int) -> DiskHandle:
        """Make a disk of `size`: `"10G"`, or an int of bytes. It may take a moment until it is `ready`.
        RPC: CreateDisk.

        Raises `ValueError` for a bad size, `InvalidArgumentError` for a bad or taken name, and `QuotaExceededError`.
        """
        request = pb.CreateDiskRequest(name=name, size_bytes=parse_size(size))
        made = await self._session.unary(methods.CreateDisk, request)
        return DiskHandle(self._session, made)

    async def list(self) -> builtins.list[DiskHandle]:
        """The caller's disks, with where they are attached. RPC: ListDisks."""
        response = await self._session.unary(methods.ListDisks, pb.ListDisksRequest())
        return [DiskHandle(self._session, info) for info in response.disks]
