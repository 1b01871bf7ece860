"""`c.domain`: host names of the user's own."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING

from boxd import methods
from boxd.errors import UnsupportedError
from boxd.resources._lookup import machine_id
from boxd.resources._service import Service
from boxd.types.networking import Domain

if TYPE_CHECKING:
    from boxd.resources.box import Box

_OLDER = "BindDomain"
"""The RPCs of a generation come and go together: that this one is missing tells of all three."""


class DomainService(Service):
    """Host names of your own that lead to machines, over HTTPS.

    Older and newer servers have different RPCs for them. The older is tried first, and what a server does not know is
    remembered.
    """

    async def bind(self, domain: str, box_name_or_id: Box | str) -> None:
        """Let `domain` lead to a machine, given as a `Box`, a name or an id. Its DNS must lead to the service's proxy
        already; newer servers take it before that, and `list` tells how it stands.

        Raises `NotFoundError`, and `InvalidArgumentError` for a bad or taken domain. RPC: BindDomain, or on newer
        servers AddCustomDomain; GetVm for a name or an id.
        """
        vm_id = await machine_id(self._session, box_name_or_id)
        if self._is_older:
            from boxd.messages.domain import BindDomainRequest

            try:
                await self._session.unary(methods.BindDomain, BindDomainRequest(domain=domain, vm_id=vm_id))
                return
            except UnsupportedError:
                self._note_newer()
        from boxd.messages.custom_domain import AddCustomDomainRequest

        await self._session.unary(methods.AddCustomDomain, AddCustomDomainRequest(vm_id=vm_id, domain=domain))

    async def unbind(self, domain: str) -> None:
        """Let `domain` lead nowhere. Raises `NotFoundError`. RPC: UnbindDomain, or on newer servers
        RemoveCustomDomain."""
        if self._is_older:
            from boxd.messages.domain import UnbindDomainRequest

            try:
                await self._session.unary(methods.UnbindDomain, UnbindDomainRequest(domain=domain))
                return
            except UnsupportedError:
                self._note_newer()
        from boxd.messages.custom_domain import RemoveCustomDomainRequest

        await self._session.unary(methods.RemoveCustomDomain, RemoveCustomDomainRequest(domain=domain))

    async def list(self) -> builtins.list[Domain]:
        """The caller's domains. RPC: ListDomains, or on newer servers ListCustomDomains."""
        if self._is_older:
            from boxd.messages.domain import ListDomainsRequest

            try:
                older = await self._session.unary(methods.ListDomains, ListDomainsRequest())
                return [Domain(domain=info.domain, vm_id=info.vm_id) for info in older.domains]
            except UnsupportedError:
                self._note_newer()
        from boxd.messages.custom_domain import ListCustomDomainsRequest

        newer = await self._session.unary(methods.ListCustomDomains, ListCustomDomainsRequest())
        return [
            Domain(domain=info.domain, vm_id=info.vm_id, status=info.status, last_error=info.last_error)
            for info in newer.domains
        ]

    @property
    def _is_older(self) -> bool:
        return _OLDER not in self._session.missing

    def _note_newer(self) -> None:
        self._session.missing.add(_OLDER)
