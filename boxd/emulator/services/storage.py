"""Disks."""

from __future__ import annotations

from boxd import messages as pb

from ..disks import Disk
from .base import Context, Handlers


class Storage(Handlers):
    """Disks: made, attached and removed."""

    async def create_disk(self, request: pb.CreateDiskRequest, context: Context) -> pb.CreateDiskResponse:
        disk = await self._whole(self._plane.disks.create(request.name, request.size_bytes))
        return pb.CreateDiskResponse(disk_id=disk.id, name=disk.name, size_bytes=disk.size_bytes, status=disk.status)

    async def list_disks(self, request: pb.ListDisksRequest, context: Context) -> pb.ListDisksResponse:
        return pb.ListDisksResponse(disks=[self._info(disk) for disk in self._plane.disks.all()])

    def _info(self, disk: Disk) -> pb.DiskInfo:
        attachments = []
        if disk.box_id:
            attachments.append(
                pb.DiskAttachment(
                    vm_id=disk.box_id,
                    vm_name=self._plane.disks.box_name(disk),
                    mount_path=disk.mount_path,
                    mount_mode="ro" if disk.read_only else "rw",
                )
            )
        return pb.DiskInfo(
            disk_id=disk.id,
            name=disk.name,
            size_bytes=disk.size_bytes,
            status=disk.status,
            worker_id="local",
            attachments=attachments,
            created_at=disk.created_at,
        )

    async def attach_disk(self, request: pb.AttachDiskRequest, context: Context) -> pb.AttachDiskResponse:
        box = self._boxes.existing(request.vm_id)
        await self._whole(self._plane.disks.attach(request.disk_id, box, request.mount_path, request.read_only))
        return pb.AttachDiskResponse()

    async def detach_disk(self, request: pb.DetachDiskRequest, context: Context) -> pb.DetachDiskResponse:
        box = self._boxes.existing(request.vm_id)
        await self._whole(self._plane.disks.detach(request.disk_id, box))
        return pb.DetachDiskResponse()

    async def destroy_disk(self, request: pb.DestroyDiskRequest, context: Context) -> pb.DestroyDiskResponse:
        await self._whole(self._plane.disks.destroy(request.disk_id))
        return pb.DestroyDiskResponse()
