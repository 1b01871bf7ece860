"""Templates: an image and a configuration, kept together."""

from __future__ import annotations

import secrets
from dataclasses import replace

from boxd import messages as pb

from ..account import Template
from ..box import merge_specs
from ..errors import Code, EmulatorError
from .base import Context
from .machines import Machines, spec_from


class Templates(Machines):
    """The RPCs of templates, which newer servers no longer have; here both generations do."""

    async def create_template(self, request: pb.CreateTemplateRequest, context: Context) -> pb.CreateTemplateResponse:
        if not request.name:
            raise EmulatorError(Code.INVALID_ARGUMENT, "a template needs a name")
        if any(one.name == request.name for one in self._account.templates):
            raise EmulatorError(Code.ALREADY_EXISTS, f"the template {request.name!r} exists")
        config = bytes(request.config or pb.VmConfig()).hex()
        template = Template(f"tpl-{secrets.token_hex(6)}", request.name, request.image_ref, config)
        made = self._account.templates.put(template)
        return pb.CreateTemplateResponse(template_id=made.id, name=made.name, status="ready")

    async def list_templates(self, request: pb.ListTemplatesRequest, context: Context) -> pb.ListTemplatesResponse:
        templates = [
            pb.TemplateInfo(
                template_id=one.id,
                name=one.name,
                image_ref=one.image,
                status="ready",
                vcpu=one.settings.vcpu,
                memory_bytes=one.settings.memory_bytes,
            )
            for one in self._account.templates
        ]
        return pb.ListTemplatesResponse(templates=templates)

    async def delete_template(self, request: pb.DeleteTemplateRequest, context: Context) -> pb.DeleteTemplateResponse:
        self._account.templates.remove(self._template(request.template_id).id)
        return pb.DeleteTemplateResponse()

    async def create_vm_from_template(
        self, request: pb.CreateVmFromTemplateRequest, context: Context
    ) -> pb.CreateVmFromTemplateResponse:
        template = self._template(request.template_id)
        base = replace(
            spec_from(template.settings, ()), image=template.image, source=("template", template.name, 0, template.id)
        )
        spec = merge_specs(base, spec_from(request.config, ()))
        # What leads into the box and is mounted in it: the template's where the call says nothing of it.
        config, over = template.settings, request.config or pb.VmConfig()
        config.network = over.network if over.network is not None else config.network
        config.volumes = over.volumes or config.volumes
        box = await self._whole(self._create(request.name, spec, config))
        made = self._made(box)
        return pb.CreateVmFromTemplateResponse(
            vm_id=made.vm_id,
            name=made.name,
            public_ip=made.public_ip,
            url=made.url,
            status=made.status,
            boot_time_ms=made.boot_time_ms,
        )

    def _template(self, key: str) -> Template:
        found = self._account.templates.get(key)
        if found is None:
            raise EmulatorError(Code.NOT_FOUND, f"there is no template {key!r}")
        return found
