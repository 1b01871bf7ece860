"""Domains and private networks. Both are kept and told; neither is routed."""

from __future__ import annotations

import re
import secrets

from boxd import messages as pb

from ..account import Domain, Network
from ..errors import Code, EmulatorError
from .base import Context, Handlers

_DOMAIN = re.compile(r"(?=.{4,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")


class Names(Handlers):
    """The RPCs of both."""

    # Domains, as older servers have them.

    async def bind_domain(self, request: pb.BindDomainRequest, context: Context) -> pb.BindDomainResponse:
        self._bind(request.domain, request.vm_id)
        return pb.BindDomainResponse()

    async def unbind_domain(self, request: pb.UnbindDomainRequest, context: Context) -> pb.UnbindDomainResponse:
        self._unbind(request.domain)
        return pb.UnbindDomainResponse()

    async def list_domains(self, request: pb.ListDomainsRequest, context: Context) -> pb.ListDomainsResponse:
        domains = [pb.DomainInfo(domain=one.id, vm_id=one.vm_id) for one in self._account.domains]
        return pb.ListDomainsResponse(domains=domains)

    # And as newer ones.

    async def add_custom_domain(
        self, request: pb.AddCustomDomainRequest, context: Context
    ) -> pb.AddCustomDomainResponse:
        return pb.AddCustomDomainResponse(domain=self._domain_info(self._bind(request.domain, request.vm_id)))

    async def remove_custom_domain(
        self, request: pb.RemoveCustomDomainRequest, context: Context
    ) -> pb.RemoveCustomDomainResponse:
        self._unbind(request.domain)
        return pb.RemoveCustomDomainResponse()

    async def list_custom_domains(
        self, request: pb.ListCustomDomainsRequest, context: Context
    ) -> pb.ListCustomDomainsResponse:
        return pb.ListCustomDomainsResponse(domains=[self._domain_info(one) for one in self._account.domains])

    def _bind(self, domain: str, vm_id: str) -> Domain:
        box = self._boxes.existing(vm_id)
        if not _DOMAIN.fullmatch(domain):
            raise EmulatorError(Code.INVALID_ARGUMENT, f"{domain!r} is no domain")
        bound = self._account.domains.get(domain)
        if bound is not None and bound.vm_id != box.id:
            raise EmulatorError(Code.ALREADY_EXISTS, f"the domain {domain!r} is bound to another box")
        return self._account.domains.put(Domain(domain, box.id))

    def _unbind(self, domain: str) -> None:
        if self._account.domains.get(domain) is None:
            raise EmulatorError(Code.NOT_FOUND, f"there is no domain {domain!r}")
        self._account.domains.remove(domain)

    def _domain_info(self, domain: Domain) -> pb.CustomDomainInfo:
        name = self._boxes.find(domain.vm_id).name
        # Nobody looks at DNS here.
        return pb.CustomDomainInfo(domain=domain.id, vm_id=domain.vm_id, vm_name=name, status="active")

    # Networks.

    async def create_network(self, request: pb.CreateNetworkRequest, context: Context) -> pb.CreateNetworkResponse:
        number = 1 + max((one.number for one in self._account.networks), default=0)
        made = self._account.networks.put(Network(f"net-{secrets.token_hex(6)}", request.name, number))
        return pb.CreateNetworkResponse(network_id=made.id)

    async def list_networks(self, request: pb.ListNetworksRequest, context: Context) -> pb.ListNetworksResponse:
        networks = [
            pb.NetworkInfo(network_id=one.id, subnet=f"10.{one.number // 256}.{one.number % 256}.0/24", status="active")
            for one in self._account.networks
        ]
        return pb.ListNetworksResponse(networks=networks)

    async def set_vm_networks(self, request: pb.SetVmNetworksRequest, context: Context) -> pb.SetVmNetworksResponse:
        box = self._boxes.existing(request.vm_id)
        for network in request.networks:
            if self._account.networks.get(network) is None:
                raise EmulatorError(Code.NOT_FOUND, f"there is no network {network!r}")
        self._boxes.change(box, networks=tuple(request.networks))
        return pb.SetVmNetworksResponse(networks=request.networks)

    async def set_vm_egress_allow(
        self, request: pb.SetVmEgressAllowRequest, context: Context
    ) -> pb.SetVmEgressAllowResponse:
        box = self._boxes.existing(request.vm)
        for entry in request.entries:
            if not re.fullmatch(r"[A-Za-z0-9.:*/_-]{1,253}", entry):
                raise EmulatorError(Code.INVALID_ARGUMENT, f"{entry!r} is neither a host nor an address")
        self._boxes.change(box, egress_allow=tuple(request.entries))
        return pb.SetVmEgressAllowResponse(entries=request.entries)
