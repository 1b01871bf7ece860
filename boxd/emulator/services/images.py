"""Snapshots, checkpoints and backups: copies of a machine's files, and machines made from them."""

from __future__ import annotations

from dataclasses import replace

from boxd import messages as pb

from ..box import Box, Spec, merge_specs
from ..errors import Code, EmulatorError
from ..images import BACKUP, CHECKPOINT, SNAPSHOT, Image, spec_of
from .base import Context
from .machines import DEFAULT_MEMORY, DEFAULT_VCPU, Machines, spec_from


class DiskImages(Machines):
    """The RPCs of the three."""

    # Snapshots.

    async def create_snapshot(self, request: pb.CreateSnapshotRequest, context: Context) -> pb.CreateSnapshotResponse:
        box = self._boxes.existing(request.vm)
        name = _name(request.name, SNAPSHOT)
        image = await self._whole(self._images.capture(SNAPSHOT, box, name, org=box.spec.org))
        return pb.CreateSnapshotResponse(snapshot_id=image.id, name=image.name, version=image.version, status="ready")

    async def list_snapshots(self, request: pb.ListSnapshotsRequest, context: Context) -> pb.ListSnapshotsResponse:
        images = self._images.of(SNAPSHOT, org=self._org(request.org))
        return pb.ListSnapshotsResponse(snapshots=[_snapshot(image) for image in images])

    async def get_snapshot(self, request: pb.GetSnapshotRequest, context: Context) -> pb.GetSnapshotResponse:
        image = self._images.find(SNAPSHOT, request.name, org=self._org(request.org))
        return pb.GetSnapshotResponse(snapshot=_snapshot(image))

    async def delete_snapshot(self, request: pb.DeleteSnapshotRequest, context: Context) -> pb.DeleteSnapshotResponse:
        image = self._images.find(SNAPSHOT, request.name, org=self._org(request.org))
        await self._whole(self._images.delete(image))
        return pb.DeleteSnapshotResponse()

    async def create_vm_from_snapshot(
        self, request: pb.CreateVmFromSnapshotRequest, context: Context
    ) -> pb.CreateVmResponse:
        org = self._org(request.org)
        image = self._images.find(SNAPSHOT, request.snapshot, org=org)
        over = replace(spec_from(request.config, ()), labels={**request.labels})
        spec = replace(merge_specs(spec_of(image), over), org=org)
        box = await self._whole(self._create_from(image, request, spec))
        return self._made(box)

    async def _create_from(self, image: Image, request: pb.CreateVmFromSnapshotRequest, spec: Spec) -> Box:
        async with self._images.reading(image) as disk:
            box = await self._create(request.name, spec, request.config, disk)
        self._images.used(image)
        return box

    async def _restore(self, box: Box, image: Image) -> None:
        async with self._images.reading(image) as disk:
            await self._boxes.replace_disk(box, disk)

    # Checkpoints.

    async def create_checkpoint(
        self, request: pb.CreateCheckpointRequest, context: Context
    ) -> pb.CreateCheckpointResponse:
        box = self._boxes.existing(request.vm)
        image = await self._whole(self._images.capture(CHECKPOINT, box, request.name, vm_id=box.id))
        return pb.CreateCheckpointResponse(checkpoint_id=image.id, name=image.name, status="ready")

    async def list_checkpoints(
        self, request: pb.ListCheckpointsRequest, context: Context
    ) -> pb.ListCheckpointsResponse:
        images = self._images.of(CHECKPOINT, vm_id=self._boxes.existing(request.vm).id)
        checkpoints = [
            pb.CheckpointInfo(
                checkpoint_id=image.id,
                name=image.name,
                status="ready",
                created_at=int(image.created_at),
                created_by=self._options.user_id,
                available=True,
            )
            for image in images
        ]
        return pb.ListCheckpointsResponse(checkpoints=checkpoints)

    async def restore_checkpoint(
        self, request: pb.RestoreCheckpointRequest, context: Context
    ) -> pb.RestoreCheckpointResponse:
        box = self._boxes.existing(request.vm)
        image = self._images.find(CHECKPOINT, request.name, vm_id=box.id)
        await self._whole(self._restore(box, image))
        return pb.RestoreCheckpointResponse()

    async def delete_checkpoint(
        self, request: pb.DeleteCheckpointRequest, context: Context
    ) -> pb.DeleteCheckpointResponse:
        box = self._boxes.existing(request.vm)
        await self._whole(self._images.delete(self._images.find(CHECKPOINT, request.name, vm_id=box.id)))
        return pb.DeleteCheckpointResponse()

    # Backups.

    async def trigger_backup(self, request: pb.TriggerBackupRequest, context: Context) -> pb.TriggerBackupResponse:
        box = self._boxes.existing(request.vm)
        image = await self._whole(self._images.capture(BACKUP, box, "", vm_id=box.id))
        return pb.TriggerBackupResponse(backup_id=image.id)

    async def list_backups(self, request: pb.ListBackupsRequest, context: Context) -> pb.ListBackupsResponse:
        images = self._images.of(BACKUP, vm_id=self._boxes.existing(request.vm).id)
        backups = [pb.BackupInfo(backup_id=one.id, status="ready", created_at=int(one.created_at)) for one in images]
        return pb.ListBackupsResponse(backups=backups)

    async def restore_backup(self, request: pb.RestoreBackupRequest, context: Context) -> pb.RestoreBackupResponse:
        box = self._boxes.existing(request.vm)
        image = self._images.find(BACKUP, request.backup_id, vm_id=box.id)
        await self._whole(self._restore(box, image))
        return pb.RestoreBackupResponse()

    async def delete_backup(self, request: pb.DeleteBackupRequest, context: Context) -> pb.DeleteBackupResponse:
        box = self._boxes.existing(request.vm)
        await self._whole(self._images.delete(self._images.find(BACKUP, request.backup_id, vm_id=box.id)))
        return pb.DeleteBackupResponse()


def _name(name: str, kind: str) -> str:
    if not name or len(name) > 63 or not name.isprintable() or "/" in name:
        raise EmulatorError(Code.INVALID_ARGUMENT, f"{name!r} is no name for a {kind}: use 1 to 63 characters")
    return name


def _snapshot(image: Image) -> pb.SnapshotInfo:
    return pb.SnapshotInfo(
        snapshot_id=image.id,
        name=image.name,
        version=image.version,
        status="ready",
        updated_at=int(image.updated_at),
        vcpu=image.spec.get("vcpu") or DEFAULT_VCPU,
        memory_bytes=image.spec.get("memory_bytes") or DEFAULT_MEMORY,
        use_count=image.use_count,
        created_at=int(image.created_at),
    )
