"""Machines: made, found, copied, and their lifecycle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from boxd import messages as pb

from ..errors import Code, EmulatorError
from ..machines import Box, Spec
from ..options import GIB
from .base import Context, Handlers

_DEFAULT_VCPU = 2
_DEFAULT_MEMORY = 8 * GIB
_DEFAULT_DISK = 100 * GIB
_ADDRESS = "127.0.0.1"


class Machines(Handlers):
    """Creation and lifecycle."""

    async def create_vm(self, request: pb.CreateVmRequest, context: Context) -> pb.CreateVmResponse:
        spec = replace(
            _spec(request.config, request.env),
            image=request.image_ref,
            command=tuple(request.cmd),
            restart_policy=request.restart_policy,
            org=self._org(request.org),
            shared=request.shared,
        )
        box = await self._whole(self._create(request, spec))
        return pb.CreateVmResponse(
            vm_id=box.id,
            name=box.name,
            public_ip=_ADDRESS,
            url=self._url(box),
            image=self._image(box),
            status=box.status,
            boot_time_ms=box.boot_time_ms,
        )

    async def fork_vm(self, request: pb.ForkVmRequest, context: Context) -> pb.ForkVmResponse:
        source = self._boxes.existing(request.source_vm_id)
        box = await self._whole(self._fork(source, request))
        return pb.ForkVmResponse(
            vm_id=box.id,
            name=box.name,
            public_ip=_ADDRESS,
            url=self._url(box),
            image=self._image(box),
            status=box.status,
            forked_from=box.forked_from,
            boot_time_ms=box.boot_time_ms,
        )

    async def _create(self, request: pb.CreateVmRequest, spec: Spec) -> Box:
        box = await self._boxes.create(request.name, spec)
        try:
            await self._plane.set_up(box, request.config)
        except EmulatorError:
            await self._boxes.destroy(box)
            raise
        return box

    async def _fork(self, source: Box, request: pb.ForkVmRequest) -> Box:
        box = await self._boxes.fork(source, request.name, _spec(request.config, ()), request.shared)
        try:
            await self._plane.copy(source, box, request.config)
        except EmulatorError:
            await self._boxes.destroy(box)
            raise
        return box

    async def get_vm(self, request: pb.GetVmRequest, context: Context) -> pb.GetVmResponse:
        return self._details(self._boxes.find(request.vm_id, names=self._options.get_by_name))

    async def list_vms(self, request: pb.ListVmsRequest, context: Context) -> pb.ListVmsResponse:
        org = self._org(request.org)
        boxes = [box for box in self._boxes.all() if request.all_contexts or box.spec.org == org]
        return pb.ListVmsResponse(vms=[self._details(box) for box in boxes])

    def _details(self, box: Box) -> pb.GetVmResponse:
        spec = box.spec
        return pb.GetVmResponse(
            vm_id=box.id,
            name=box.name,
            image_ref=self._image(box),
            public_ip=_ADDRESS,
            status=box.status,
            restart_policy=spec.restart_policy or "always",
            disk_bytes=spec.disk_bytes or _DEFAULT_DISK,
            auto_suspend_timeout_secs=spec.auto_suspend_seconds or 0,
            org=spec.org,
            access_domain=self._url(box),
            vcpu=spec.vcpu or _DEFAULT_VCPU,
            memory_bytes=spec.memory_bytes or _DEFAULT_MEMORY,
            created_at=int(box.created_at),
            auto_destroy_timeout_secs=spec.auto_destroy_seconds,
            boot_time_ms=box.boot_time_ms,
        )

    def _url(self, box: Box) -> str:
        return self._plane.proxies.host(box)

    def _image(self, box: Box) -> str:
        return box.spec.image or self._options.default_image

    async def start_vm(self, request: pb.StartVmRequest, context: Context) -> pb.StartVmResponse:
        await self._whole(self._boxes.start(self._boxes.existing(request.vm_id)))
        return pb.StartVmResponse()

    async def stop_vm(self, request: pb.StopVmRequest, context: Context) -> pb.StopVmResponse:
        await self._whole(self._boxes.stop(self._boxes.existing(request.vm_id)))
        return pb.StopVmResponse()

    async def reboot_vm(self, request: pb.RebootVmRequest, context: Context) -> pb.RebootVmResponse:
        await self._whole(self._boxes.reboot(self._boxes.existing(request.vm_id)))
        return pb.RebootVmResponse()

    async def destroy_vm(self, request: pb.DestroyVmRequest, context: Context) -> pb.DestroyVmResponse:
        await self._whole(self._boxes.destroy(self._boxes.existing(request.vm_id)))
        return pb.DestroyVmResponse()

    async def suspend_vm(self, request: pb.SuspendVmRequest, context: Context) -> pb.SuspendVmResponse:
        return pb.SuspendVmResponse(
            suspend_us=await self._whole(self._boxes.suspend(self._boxes.existing(request.vm_id)))
        )

    async def resume_vm(self, request: pb.ResumeVmRequest, context: Context) -> pb.ResumeVmResponse:
        return pb.ResumeVmResponse(resume_us=await self._whole(self._boxes.resume(self._boxes.existing(request.vm_id))))

    async def share_vm(self, request: pb.ShareVmRequest, context: Context) -> pb.ShareVmResponse:
        self._boxes.share(self._boxes.existing(request.vm_id), True)
        return pb.ShareVmResponse()

    async def unshare_vm(self, request: pb.UnshareVmRequest, context: Context) -> pb.UnshareVmResponse:
        self._boxes.share(self._boxes.existing(request.vm_id), False)
        return pb.UnshareVmResponse()


def _spec(config: pb.VmConfig | None, env: Any) -> Spec:
    variables = {item.key: item.value for item in env}
    if config is None:
        return Spec(env=variables)
    if config.volumes:
        raise EmulatorError(Code.NOT_FOUND, f"there is no disk {config.volumes[0].disk_id!r}")
    lifecycle = config.srf
    return Spec(
        vcpu=config.vcpu,
        memory_bytes=config.memory_bytes,
        disk_bytes=config.disk_bytes,
        env=variables,
        auto_suspend_seconds=None if lifecycle is None else lifecycle.auto_suspend_timeout_secs,
        auto_destroy_seconds=0 if lifecycle is None else lifecycle.auto_destroy_timeout_secs,
    )
