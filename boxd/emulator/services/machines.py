"""Machines: made, found, copied, and their lifecycle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from boxd import messages as pb

from ..box import HIBERNATED, Box, Spec
from ..options import GIB
from .base import Context, Handlers

DEFAULT_VCPU = 2
DEFAULT_MEMORY = 8 * GIB
DEFAULT_DISK = 100 * GIB
_ADDRESS = "127.0.0.1"


class Machines(Handlers):
    """Creation and lifecycle."""

    async def create_vm(self, request: pb.CreateVmRequest, context: Context) -> pb.CreateVmResponse:
        spec = replace(
            spec_from(request.config, request.env),
            image=request.image_ref,
            command=tuple(request.cmd),
            restart_policy=request.restart_policy,
            org=self._org(request.org),
            shared=request.shared,
            labels={**request.labels},
            networks=tuple(request.networks),
        )
        box = await self._whole(self._create(request.name, spec, request.config))
        return self._made(box)

    def _made(self, box: Box) -> pb.CreateVmResponse:
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
        spec = replace(spec_from(request.config, ()), labels={**request.labels}, networks=tuple(request.networks))
        box = await self._whole(self._fork(source, request, spec))
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

    async def _create(self, name: str, spec: Spec, config: pb.VmConfig | None, disk: str = "") -> Box:
        """Make a box, of a copy of `disk` if that is given, with what leads into it."""
        return await self._boxes.create(name, spec, disk, lambda box: self._plane.set_up(box, config))

    async def _fork(self, source: Box, request: pb.ForkVmRequest, spec: Spec) -> Box:
        def set_up(box: Box) -> None:
            self._plane.copy(source, box, request.config)

        return await self._boxes.fork(source, request.name, spec, request.shared, set_up)

    async def get_vm(self, request: pb.GetVmRequest, context: Context) -> pb.GetVmResponse:
        return self._details(self._boxes.find(request.vm_id, names=self._options.get_by_name))

    async def list_vms(self, request: pb.ListVmsRequest, context: Context) -> pb.ListVmsResponse:
        org = self._org(request.org)
        wanted = dict(selector.partition("=")[::2] for selector in request.label_selector)
        boxes = [
            box
            for box in self._boxes.all()
            if (request.all_contexts or box.spec.org == org) and wanted.items() <= box.spec.labels.items()
        ]
        return pb.ListVmsResponse(vms=[self._details(box) for box in boxes])

    def _details(self, box: Box) -> pb.GetVmResponse:
        spec = box.spec
        details = pb.GetVmResponse(
            vm_id=box.id,
            name=box.name,
            image_ref=self._image(box),
            public_ip=_ADDRESS,
            status=box.status,
            restart_policy=spec.restart_policy or "always",
            disk_bytes=spec.disk_bytes or DEFAULT_DISK,
            auto_suspend_timeout_secs=spec.auto_suspend_seconds or 0,
            org=spec.org,
            access_domain=self._url(box),
        )
        if self._options.generation >= 2:
            self._newer_details(box, details)
        return details

    def _newer_details(self, box: Box, details: pb.GetVmResponse) -> None:
        """Fill in what an older server does not tell."""
        spec = box.spec
        details.auto_hibernate_timeout_secs = self._boxes.hibernate_after(box)
        details.vcpu = spec.vcpu or DEFAULT_VCPU
        details.memory_bytes = spec.memory_bytes or DEFAULT_MEMORY
        details.created_at = int(box.created_at)
        details.hibernated_at_ms = int(box.hibernated_at * 1000) if box.status == HIBERNATED else 0
        details.auto_destroy_timeout_secs = spec.auto_destroy_seconds
        details.boot_time_ms = box.boot_time_ms
        details.last_connected_ms = int(box.last_used * 1000)
        kind, name, version, source_id = spec.source
        if kind:
            details.source_info = pb.VmSource(kind=kind, name=name, version=version, id=source_id)
        details.networks = [*spec.networks]
        details.egress_allow = [*spec.egress_allow]
        details.delete_at_ms = int(spec.delete_at * 1000)
        details.delete_after_cron = spec.delete_cron
        details.labels = {**spec.labels}
        details.created_by = details.created_by_name = self._options.user_id

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

    async def hibernate_vm(self, request: pb.HibernateVmRequest, context: Context) -> pb.HibernateVmResponse:
        await self._whole(self._boxes.freeze(self._boxes.existing(request.vm_id), HIBERNATED))
        return pb.HibernateVmResponse()

    async def wake_vm(self, request: pb.WakeVmRequest, context: Context) -> pb.WakeVmResponse:
        await self._whole(self._boxes.resume(self._boxes.existing(request.vm_id)))
        return pb.WakeVmResponse()

    async def share_vm(self, request: pb.ShareVmRequest, context: Context) -> pb.ShareVmResponse:
        self._boxes.share(self._boxes.existing(request.vm_id), True)
        return pb.ShareVmResponse()

    async def unshare_vm(self, request: pb.UnshareVmRequest, context: Context) -> pb.UnshareVmResponse:
        self._boxes.share(self._boxes.existing(request.vm_id), False)
        return pb.UnshareVmResponse()


def spec_from(config: pb.VmConfig | None, env: Any) -> Spec:
    variables = {item.key: item.value for item in env}
    if config is None:
        return Spec(env=variables)
    lifecycle = config.srf
    return Spec(
        vcpu=config.vcpu,
        memory_bytes=config.memory_bytes,
        disk_bytes=config.disk_bytes,
        env=variables,
        auto_suspend_seconds=None if lifecycle is None else lifecycle.auto_suspend_timeout_secs,
        auto_destroy_seconds=0 if lifecycle is None else lifecycle.auto_destroy_timeout_secs,
    )
