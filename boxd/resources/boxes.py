"""`c.box`: making and finding machines."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING

from boxd import methods
from boxd.errors import NotFoundError
from boxd.messages import vm as pb
from boxd.messages.org import ListOrgsRequest
from boxd.messages.vm_config import EnvVar
from boxd.messages.vm_fork import ForkVmRequest
from boxd.resources._config import to_vm_config
from boxd.resources.box import Box
from boxd.types import BoxConfig, OrgSummary

if TYPE_CHECKING:
    from boxd.resources._base import Session


class BoxService:
    """Machines: create, find and copy them."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def create(
        self,
        name: str = "",
        image: str = "",
        config: BoxConfig | None = None,
        org: str | None = None,
        shared: bool = False,
    ) -> Box:
        """Create a machine. Returns when it is scheduled: `Box.wait_until_ready` waits for the rest. RPC: CreateVm.

        Without `name` and `image` the service chooses. `org` is the organization that it belongs to and that pays
        for it (None: the client's; empty: personal); with `shared` all of the organization sees it.

        Raises `InvalidArgumentError` for a bad or taken name, `QuotaExceededError`, and `ValueError` for a bad
        size.
        """
        request = pb.CreateVmRequest(
            name=name, image_ref=image, config=to_vm_config(config), org=self._session.scope(org), shared=shared
        )
        if config is not None:
            request.env = [
                EnvVar(key=key, value=value) for key, value in ({} if config.env is None else config.env).items()
            ]
            request.cmd = [] if config.cmd is None else [*config.cmd]
            request.restart_policy = config.restart_policy
        made = await self._session.unary(methods.CreateVm, request)
        return Box(self._session, made, full=False)

    async def list(self, org: str | None = None) -> builtins.list[Box]:
        """The machines of an organization (None: the client's; empty: personal). RPC: ListVms."""
        response = await self._session.unary(methods.ListVms, pb.ListVmsRequest(org=self._session.scope(org)))
        return [Box(self._session, record, full=False) for record in response.vms]

    async def get(self, id_or_name: str, org: str | None = None) -> Box:
        """A machine by its id or its name. RPCs: GetVm; ListVms where the service does not find names.

        `org` is where a name is looked for. Raises `NotFoundError`.
        """
        try:
            return await self._get(id_or_name)
        except NotFoundError as error:
            missing = error
        for box in await self.list(org):
            # A destroyed machine stays in lists for a while; its name is free.
            if box.name == id_or_name and box.status != "destroyed":
                # The entries of a list lack some fields.
                return await self._get(box.id)
        raise missing

    async def fork(self, source: Box | str, name: str | None = None, config: BoxConfig | None = None) -> Box:
        """Copy a machine: its disk, and while it runs its memory and processes. RPCs: GetVm, ForkVm.

        `source` is a `Box`, a name or an id. Without `name` the service makes one from the source's. Of `config`
        the sizes, timers, network and volumes apply; environment, command and restart policy are those of the
        source.

        Raises `NotFoundError`, `InvalidArgumentError` for a taken name, and `QuotaExceededError`.
        """
        source_id = await self._resolve(source)
        request = ForkVmRequest(source_vm_id=source_id, name="" if name is None else name, config=to_vm_config(config))
        made = await self._session.unary(methods.ForkVm, request)
        return Box(self._session, made, full=False)

    async def list_orgs(self) -> builtins.list[OrgSummary]:
        """The organizations that the caller belongs to. RPC: ListOrgs."""
        response = await self._session.unary(methods.ListOrgs, ListOrgsRequest())
        return [OrgSummary(id=org.id, name=org.name, is_admin=org.is_admin) for org in response.orgs]

    async def _get(self, vm_id: str) -> Box:
        record = await self._session.unary(methods.GetVm, pb.GetVmRequest(vm_id=vm_id))
        return Box(self._session, record, full=True)

    async def _resolve(self, machine: Box | str) -> str:
        """The id of a machine given as a `Box`, a name or an id."""
        return machine.id if isinstance(machine, Box) else (await self.get(machine)).id
