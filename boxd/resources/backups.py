"""`box.backups`: copies of a machine's disk that the service keeps apart from it."""

from __future__ import annotations

import builtins

from boxd import methods
from boxd.messages import backup as pb
from boxd.resources._config import check_duration
from boxd.resources._service import MachineService
from boxd.types.storage import Backup, BackupSchedule


class BackupService(MachineService):
    """The backups of one machine. Older servers answer with `UnsupportedError`."""

    async def create(self) -> str:
        """Make a backup now. Returns its id; `list` tells how it stands. RPC: TriggerBackup."""
        response = await self._session.unary(methods.TriggerBackup, pb.TriggerBackupRequest(vm=self._vm_id))
        return response.backup_id

    async def list(self) -> builtins.list[Backup]:
        """The machine's backups. RPC: ListBackups."""
        response = await self._session.unary(methods.ListBackups, pb.ListBackupsRequest(vm=self._vm_id))
        return [
            Backup(
                id=info.backup_id,
                status=info.status,
                size_bytes=info.size_bytes,
                created_at=info.created_at,
                expires_at=info.expires_at,
            )
            for info in response.backups
        ]

    async def restore(self, backup: Backup | str) -> None:
        """Put the machine's disk back to a backup, given as such or by its id. What came after it is lost. Raises
        `NotFoundError`. RPC: RestoreBackup."""
        request = pb.RestoreBackupRequest(vm=self._vm_id, backup_id=_id(backup))
        await self._session.unary(methods.RestoreBackup, request)

    async def delete(self, backup: Backup | str) -> None:
        """Delete a backup, given as such or by its id. Raises `NotFoundError`. RPC: DeleteBackup."""
        request = pb.DeleteBackupRequest(vm=self._vm_id, backup_id=_id(backup))
        await self._session.unary(methods.DeleteBackup, request)

    async def schedule(self) -> BackupSchedule:
        """When backups are made. RPC: GetBackupSchedule."""
        request = pb.GetBackupScheduleRequest(vm=self._vm_id)
        found = await self._session.unary(methods.GetBackupSchedule, request)
        return BackupSchedule(
            enabled=found.enabled,
            kind=found.schedule_kind,
            value=found.schedule_value,
            retention_secs=found.retention_secs,
            next_backup_at=found.next_backup_at,
            last_backup_at=found.last_backup_at,
        )

    async def set_schedule(self, kind: str, value: str, retention: int = 0) -> None:
        """Make backups regularly. `kind` says how `value` is to be read, both in the service's words; a backup is kept
        for `retention` seconds (0: the service's default). Raises `InvalidArgumentError` for what is no schedule, and
        `ValueError` for a negative time. RPC: SetBackupSchedule."""
        check_duration("retention", retention)
        request = pb.SetBackupScheduleRequest(
            vm=self._vm_id, schedule_kind=kind, schedule_value=value, retention_secs=retention
        )
        await self._session.unary(methods.SetBackupSchedule, request)

    async def clear_schedule(self) -> None:
        """Make no more backups by themselves; those there are stay. RPC: ClearBackupSchedule."""
        await self._session.unary(methods.ClearBackupSchedule, pb.ClearBackupScheduleRequest(vm=self._vm_id))


def _id(backup: Backup | str) -> str:
    return backup.id if isinstance(backup, Backup) else backup
