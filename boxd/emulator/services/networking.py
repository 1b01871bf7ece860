"""What leads into machines: proxies and exposed ports."""

from __future__ import annotations

from boxd import messages as pb

from ..ports import Exposed
from ..proxies import AUTO
from .base import Context, Handlers


class Networking(Handlers):
    """Proxies and ports."""

    async def list_proxies(self, request: pb.ListProxiesRequest, context: Context) -> pb.ListProxiesResponse:
        box = self._boxes.existing(request.vm or request.vm_name)
        proxies = [
            pb.ProxyInfo(
                name=name,
                vm_name=box.name,
                vm_id=box.id,
                domain=self._plane.proxies.host(box, name),
                port=route.effective,
                is_default=not name,
                port_display="auto" if route.port == AUTO else str(route.port),
                port_mode="auto" if route.port == AUTO else "fixed",
                effective_port=route.effective,
            )
            for name, route in self._plane.proxies.named(box)
        ]
        return pb.ListProxiesResponse(proxies=proxies)

    async def create_proxy(self, request: pb.CreateProxyRequest, context: Context) -> pb.CreateProxyResponse:
        box = self._boxes.existing(request.vm or request.vm_name)
        port = self._plane.proxies.add(box, request.name, request.port)
        domain = self._plane.proxies.host(box, request.name)
        return pb.CreateProxyResponse(name=request.name, vm_name=box.name, domain=domain, port=port)

    async def set_proxy_port(self, request: pb.SetProxyPortRequest, context: Context) -> pb.SetProxyPortResponse:
        box = self._boxes.existing(request.vm or request.vm_name)
        self._plane.proxies.set_port(box, request.name, request.port)
        return pb.SetProxyPortResponse()

    async def delete_proxy(self, request: pb.DeleteProxyRequest, context: Context) -> pb.DeleteProxyResponse:
        box = self._boxes.existing(request.vm or request.vm_name)
        self._plane.proxies.remove(box, request.name)
        return pb.DeleteProxyResponse()

    # Ports.

    async def expose_port(self, request: pb.ExposePortRequest, context: Context) -> pb.ExposePortResponse:
        box = self._boxes.existing(request.vm or request.vm_id)
        return self._exposed(await self._plane.ports.expose(box, request.vm_port, request.protocol or "tcp"))

    async def unexpose_port(self, request: pb.UnexposePortRequest, context: Context) -> pb.UnexposePortResponse:
        box = self._boxes.existing(request.vm or request.vm_id)
        return pb.UnexposePortResponse(forward=self._exposed(await self._plane.ports.unexpose(box, request.vm_port)))

    async def list_exposed_ports(
        self, request: pb.ListExposedPortsRequest, context: Context
    ) -> pb.ListExposedPortsResponse:
        box = self._boxes.existing(request.vm) if request.vm else None
        return pb.ListExposedPortsResponse(forwards=[self._exposed(one) for one in self._plane.ports.of(box)])

    def _exposed(self, exposed: Exposed) -> pb.ExposePortResponse:
        return pb.ExposePortResponse(
            vm_name=self._boxes.find(exposed.box_id).name,
            vm_id=exposed.box_id,
            dns=self._plane.ports.address,
            public_port=exposed.public_port,
            vm_port=exposed.port,
            protocol=exposed.protocol,
        )
