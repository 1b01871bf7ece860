"""`c.template`: images and configurations, frozen together."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING

from boxd import methods
from boxd.messages import template as pb
from boxd.resources._config import to_vm_config
from boxd.resources._service import Service
from boxd.resources.box import Box
from boxd.types.storage import Template

if TYPE_CHECKING:
    from boxd.types.config import BoxConfig


class TemplateService(Service):
    """Templates: an image and a configuration, to make machines from. Newer servers have snapshots instead, and answer
    with `UnsupportedError`."""

    async def create(self, name: str, image: str = "", config: BoxConfig | None = None) -> Template:
        """Make a template. Without `image` the service's default. Of `config` the sizes, timers, network and volumes
        are kept. RPC: CreateTemplate.

        Raises `InvalidArgumentError` for a bad or taken name, and `ValueError` for a bad size.
        """
        sizes = to_vm_config(config)
        request = pb.CreateTemplateRequest(name=name, image_ref=image, config=sizes)
        made = await self._session.unary(methods.CreateTemplate, request)
        return Template(
            id=made.template_id,
            name=made.name,
            image=image,
            status=made.status,
            vcpu=0 if sizes is None else sizes.vcpu,
            memory_bytes=0 if sizes is None else sizes.memory_bytes,
        )

    async def list(self) -> builtins.list[Template]:
        """The caller's templates. RPC: ListTemplates."""
        response = await self._session.unary(methods.ListTemplates, pb.ListTemplatesRequest())
        return [
            Template(
                id=info.template_id,
                name=info.name,
                image=info.image_ref,
                status=info.status,
                vcpu=info.vcpu,
                memory_bytes=info.memory_bytes,
            )
            for info in response.templates
        ]

    async def delete(self, id: str) -> None:
        """Delete a template. The machines made from it stay. Raises `NotFoundError`. RPC: DeleteTemplate."""
        await self._session.unary(methods.DeleteTemplate, pb.DeleteTemplateRequest(template_id=id))

    async def create_vm(self, template: Template | str, name: str = "", config: BoxConfig | None = None) -> Box:
        """Make a machine from a template, given as such or by its id. Without `name` the service chooses one. What
        `config` has of sizes, timers, network and volumes goes before the template's. RPC: CreateVmFromTemplate.

        Raises `NotFoundError`, `InvalidArgumentError` for a bad or taken name, `QuotaExceededError`, and `ValueError`
        for a bad size.
        """
        template_id, image = (template, "") if isinstance(template, str) else (template.id, template.image)
        request = pb.CreateVmFromTemplateRequest(template_id=template_id, name=name, config=to_vm_config(config))
        made = await self._session.unary(methods.CreateVmFromTemplate, request)
        return Box(self._session, made, full=False, image=image)
