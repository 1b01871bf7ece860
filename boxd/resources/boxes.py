"""`c.box`: making and finding machines."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import TYPE_CHECKING

from boxd import methods
from boxd.errors import NotFoundError
from boxd.messages import vm as pb
from boxd.messages.vm_config import EnvVar
from boxd.messages.vm_fork import ForkVmRequest
from boxd.resources._config import to_vm_config
from boxd.resources._lookup import by_name, machine_id
from boxd.resources._service import Service
from boxd.resources.box import Box

if TYPE_CHECKING:
    from boxd.types.config import BoxConfig
    from boxd.types.identity import OrgSummary
    from boxd.types.storage import Snapshot


class BoxService(Service):
    """Machines: create, find and copy them."""

    async def create(
        self,
        name: str = "",
        image: str = "",
        config: BoxConfig | None = None,
        org: str | None = None,
        shared: bool = False,
        *,
        from_snapshot: Snapshot | str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Box:
        """Create a machine. Returns when it is scheduled: `Box.wait_until_ready` waits for the rest.
        RPC: CreateVm, or with `from_snapshot` CreateVmFromSnapshot.

        Without `name` and `image` the service chooses. `org` is the organization that it belongs to and that pays
        for it (None: the client's; empty: personal); with `shared` all of the organization sees it. On newer servers
        `labels` are its labels, and `from_snapshot` makes it from a snapshot, given as such or by its name: then of
        `config` the sizes, timers, network and volumes apply, and the rest is the snapshot's.

        Raises `InvalidArgumentError` for a bad or taken name, `QuotaExceededError`, `ValueError` for a bad size and
        for what a snapshot excludes, and with `from_snapshot` `NotFoundError`, and `UnsupportedError` on an older
        server.
        """
        if from_snapshot is not None:
            if image or shared or (config is not None and (config.env or config.cmd)):
                raise ValueError("with from_snapshot there is no image, shared, config.env or config.cmd")
            return await self._create_from(from_snapshot, name, config, org, labels)
        request = pb.CreateVmRequest(
            name=name, image_ref=image, config=to_vm_config(config), org=self._session.scope(org), shared=shared
        )
        if labels:
            request.labels = {**labels}
        if config is not None:
            request.env = [
                EnvVar(key=key, value=value) for key, value in ({} if config.env is None else config.env).items()
            ]
            request.cmd = [] if config.cmd is None else [*config.cmd]
            request.restart_policy = config.restart_policy
        made = await self._session.unary(methods.CreateVm, request)
        return Box(self._session, made, full=False)

    async def list(
        self, org: str | None = None, *, labels: Mapping[str, str] | None = None, all_orgs: bool = False
    ) -> builtins.list[Box]:
        """The machines of an organization (None: the client's; empty: personal), or with `all_orgs` of all that the
        caller belongs to. With `labels` those that have all of these; on an older server none has. RPC: ListVms."""
        wanted = {} if labels is None else labels
        request = pb.ListVmsRequest(
            org=self._session.scope(org),
            all_contexts=all_orgs,
            label_selector=[f"{key}={value}" for key, value in wanted.items()],
        )
        response = await self._session.unary(methods.ListVms, request)
        # An older server does not know labels and lists all machines: whoever destroys what is listed must not get
        # those.
        chosen = [record for record in response.vms if wanted.items() <= record.labels.items()]
        return [Box(self._session, record, full=False) for record in chosen]

    async def get(self, id_or_name: str, org: str | None = None) -> Box:
        """A machine by its id or its name. RPCs: GetVm; ListVms where the service does not find names.

        `org` is where a name is looked for. Raises `NotFoundError`.
        """
        if not isinstance(id_or_name, str):
            raise TypeError(f"id_or_name is of type {type(id_or_name).__name__}: use a name or an id, such as `box.id`")
        try:
            return await self._get(id_or_name)
        except NotFoundError as error:
            missing = error
        # The entries of a list lack some fields.
        return await self._get(await by_name(self._session, id_or_name, org, missing))

    async def fork(
        self,
        source: Box | str,
        name: str | None = None,
        config: BoxConfig | None = None,
        *,
        labels: Mapping[str, str] | None = None,
    ) -> Box:
        """Copy a machine: its disk, and while it runs its memory and processes. RPC: ForkVm; GetVm for a name or an
        id.

        `source` is a `Box`, a name or an id. Without `name` the service makes one from the source's. Of `config`
        the sizes, timers, network and volumes apply; environment, command and restart policy are those of the
        source. On newer servers `labels` are set beside those of the source.

        Raises `NotFoundError`, `InvalidArgumentError` for a taken name, and `QuotaExceededError`.
        """
        source_id = await machine_id(self._session, source)
        request = ForkVmRequest(source_vm_id=source_id, name="" if name is None else name, config=to_vm_config(config))
        if labels:
            request.labels = {**labels}
        made = await self._session.unary(methods.ForkVm, request)
        return Box(self._session, made, full=False)

    async def list_orgs(self) -> builtins.list[OrgSummary]:
        """The organizations that the caller belongs to. The same as `c.org.list`. RPC: ListOrgs."""
        from boxd.resources.orgs import list_orgs

        return await list_orgs(self._session)

    async def suggest_name(self) -> str:
        """A name that is free. Raises `UnsupportedError` on an older server. RPC: SuggestVmName."""
        from boxd.messages.vm_settings import SuggestVmNameRequest

        return (await self._session.unary(methods.SuggestVmName, SuggestVmNameRequest())).name

    async def _create_from(
        self,
        snapshot: Snapshot | str,
        name: str,
        config: BoxConfig | None,
        org: str | None,
        labels: Mapping[str, str] | None,
    ) -> Box:
        from boxd.messages.snapshot import CreateVmFromSnapshotRequest

        request = CreateVmFromSnapshotRequest(
            snapshot=snapshot if isinstance(snapshot, str) else snapshot.name,
            name=name,
            config=to_vm_config(config),
            org=self._session.scope(org),
        )
        if labels:
            request.labels = {**labels}
        made = await self._session.unary(methods.CreateVmFromSnapshot, request)
        return Box(self._session, made, full=False)

    async def _get(self, vm_id: str) -> Box:
        record = await self._session.unary(methods.GetVm, pb.GetVmRequest(vm_id=vm_id))
        return Box(self._session, record, full=True)
