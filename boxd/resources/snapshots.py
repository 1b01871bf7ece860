"""`c.snapshot`: machines frozen under a name, to make others from."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING

from boxd import methods
from boxd.messages import snapshot as pb
from boxd.resources._lookup import machine_id
from boxd.resources._service import Service
from boxd.types.storage import Snapshot

if TYPE_CHECKING:
    from boxd.resources.box import Box


class SnapshotService(Service):
    """Snapshots: `c.box.create(from_snapshot=...)` makes machines from them. Older servers have templates instead, and
    answer with `UnsupportedError`."""

    async def create(self, box_or_name: Box | str, name: str) -> Snapshot:
        """Take a snapshot of a machine, given as a `Box`, a name or an id. A `name` that exists gets a new version.
        RPC: CreateSnapshot; GetVm for a name or an id.

        Raises `NotFoundError`, `InvalidArgumentError` for a bad name, and `QuotaExceededError`.
        """
        request = pb.CreateSnapshotRequest(vm=await machine_id(self._session, box_or_name), name=name)
        made = await self._session.unary(methods.CreateSnapshot, request)
        return Snapshot(id=made.snapshot_id, name=made.name, version=made.version, status=made.status)

    async def list(self, org: str | None = None) -> builtins.list[Snapshot]:
        """The snapshots of an organization (None: the client's; empty: personal). RPC: ListSnapshots."""
        request = pb.ListSnapshotsRequest(org=self._session.scope(org))
        response = await self._session.unary(methods.ListSnapshots, request)
        return [_snapshot(info) for info in response.snapshots]

    async def get(self, name: str, org: str | None = None) -> Snapshot:
        """A snapshot by its name. Raises `NotFoundError`. RPC: GetSnapshot."""
        request = pb.GetSnapshotRequest(name=name, org=self._session.scope(org))
        response = await self._session.unary(methods.GetSnapshot, request)
        return _snapshot(pb.SnapshotInfo() if response.snapshot is None else response.snapshot)

    async def delete(self, snapshot: Snapshot | str, org: str | None = None) -> None:
        """Delete a snapshot, given as such or by its name, with all its versions. The machines made from it stay.
        Raises `NotFoundError`. RPC: DeleteSnapshot."""
        name = snapshot.name if isinstance(snapshot, Snapshot) else snapshot
        request = pb.DeleteSnapshotRequest(name=name, org=self._session.scope(org))
        await self._session.unary(methods.DeleteSnapshot, request)


def _snapshot(info: pb.SnapshotInfo) -> Snapshot:
    return Snapshot(
        id=info.snapshot_id,
        name=info.name,
        version=info.version,
        status=info.status,
        size_bytes=info.size_bytes,
        vcpu=info.vcpu,
        memory_bytes=info.memory_bytes,
        created_at=info.created_at,
        updated_at=info.updated_at,
        use_count=info.use_count,
        failure_reason=info.failure_reason,
    )
