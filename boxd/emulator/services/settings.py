"""What can be changed about a machine: its name, size, labels and timers."""

from __future__ import annotations

from boxd import messages as pb

from ..errors import Code, EmulatorError
from ..timers import deletion_time
from .base import Context, Handlers
from .machines import DEFAULT_MEMORY, DEFAULT_VCPU


class MachineSettings(Handlers):
    """RenameVm, ResizeVm, UpdateVmLabels and the timers."""

    async def rename_vm(self, request: pb.RenameVmRequest, context: Context) -> pb.RenameVmResponse:
        box = self._boxes.existing(request.vm_id)
        self._boxes.rename(box, request.new_name)
        return pb.RenameVmResponse(name=box.name)

    async def resize_vm(self, request: pb.ResizeVmRequest, context: Context) -> pb.ResizeVmResponse:
        box = self._boxes.existing(request.vm_id)
        vcpu = request.vcpu or box.spec.vcpu or DEFAULT_VCPU
        memory = request.memory_bytes or box.spec.memory_bytes or DEFAULT_MEMORY
        self._boxes.change(box, vcpu=vcpu, memory_bytes=memory)
        return pb.ResizeVmResponse(vcpu=vcpu, memory_bytes=memory)

    async def update_vm_labels(self, request: pb.UpdateVmLabelsRequest, context: Context) -> pb.UpdateVmLabelsResponse:
        box = self._boxes.existing(request.vm)
        kept = {} if request.replace_all else box.spec.labels
        labels = {name: value for name, value in {**kept, **request.set}.items() if name not in request.remove}
        self._boxes.change(box, labels=labels)
        return pb.UpdateVmLabelsResponse(labels=labels)

    async def set_auto_suspend_timeout(
        self, request: pb.SetAutoSuspendTimeoutRequest, context: Context
    ) -> pb.SetAutoSuspendTimeoutResponse:
        self._boxes.change(self._boxes.existing(request.vm_id), auto_suspend_seconds=request.timeout_secs)
        return pb.SetAutoSuspendTimeoutResponse()

    async def set_auto_hibernate_timeout(
        self, request: pb.SetAutoHibernateTimeoutRequest, context: Context
    ) -> pb.SetAutoHibernateTimeoutResponse:
        self._boxes.change(self._boxes.existing(request.vm_id), auto_hibernate_seconds=request.timeout_secs)
        return pb.SetAutoHibernateTimeoutResponse()

    async def set_delete_after(self, request: pb.SetDeleteAfterRequest, context: Context) -> pb.SetDeleteAfterResponse:
        box = self._boxes.existing(request.vm_id)
        try:
            at = deletion_time(request.delete_after_secs, request.delete_after_cron, self._boxes.clock())
        except ValueError as error:
            raise EmulatorError(Code.INVALID_ARGUMENT, str(error)) from error
        self._boxes.change(box, delete_at=at, delete_cron=request.delete_after_cron)
        return pb.SetDeleteAfterResponse(delete_at_ms=int(at * 1000))

    async def suggest_vm_name(self, request: pb.SuggestVmNameRequest, context: Context) -> pb.SuggestVmNameResponse:
        return pb.SuggestVmNameResponse(name=self._boxes.free_name())
