"""`box.checkpoints`: states of a machine that it can be put back to."""

from __future__ import annotations

import builtins

from boxd import methods
from boxd.messages import checkpoint as pb
from boxd.resources._service import MachineService
from boxd.types.storage import Checkpoint


class CheckpointService(MachineService):
    """The checkpoints of one machine. Older servers answer with `UnsupportedError`."""

    async def create(self, name: str = "") -> Checkpoint:
        """Keep the machine's state of now. Without `name` the service chooses one. Raises `InvalidArgumentError` for a
        bad or taken name, and `QuotaExceededError`. RPC: CreateCheckpoint."""
        request = pb.CreateCheckpointRequest(vm=self._vm_id, name=name)
        made = await self._session.unary(methods.CreateCheckpoint, request)
        return Checkpoint(id=made.checkpoint_id, name=made.name, status=made.status)

    async def list(self) -> builtins.list[Checkpoint]:
        """The machine's checkpoints. RPC: ListCheckpoints."""
        response = await self._session.unary(methods.ListCheckpoints, pb.ListCheckpointsRequest(vm=self._vm_id))
        return [
            Checkpoint(
                id=info.checkpoint_id,
                name=info.name,
                status=info.status,
                size_bytes=info.size_bytes,
                created_at=info.created_at,
                created_by=info.created_by,
                available=info.available,
            )
            for info in response.checkpoints
        ]

    async def restore(self, checkpoint: Checkpoint | str) -> None:
        """Put the machine back to a checkpoint, given as such or by its name. What came after it is lost. Raises
        `NotFoundError`. RPC: RestoreCheckpoint."""
        request = pb.RestoreCheckpointRequest(vm=self._vm_id, name=_name(checkpoint))
        await self._session.unary(methods.RestoreCheckpoint, request)

    async def delete(self, checkpoint: Checkpoint | str) -> None:
        """Delete a checkpoint, given as such or by its name. Raises `NotFoundError`. RPC: DeleteCheckpoint."""
        request = pb.DeleteCheckpointRequest(vm=self._vm_id, name=_name(checkpoint))
        await self._session.unary(methods.DeleteCheckpoint, request)


def _name(checkpoint: Checkpoint | str) -> str:
    return checkpoint.name if isinstance(checkpoint, Checkpoint) else checkpoint
