"""`c.network`: private networks between machines."""

from __future__ import annotations

import builtins

from boxd import methods
from boxd.messages import network as pb
from boxd.resources._service import Service
from boxd.types.networking import Network


class NetworkService(Service):
    """Private networks between machines."""

    async def create(self, name: str = "") -> Network:
        """Make a network. Only its `id` is known then: `list` tells the rest. Raises `QuotaExceededError`, and
        `InvalidArgumentError` for a bad or taken name. RPC: CreateNetwork."""
        made = await self._session.unary(methods.CreateNetwork, pb.CreateNetworkRequest(name=name))
        return Network(id=made.network_id)

    async def list(self) -> builtins.list[Network]:
        """The caller's networks. RPC: ListNetworks."""
        response = await self._session.unary(methods.ListNetworks, pb.ListNetworksRequest())
        return [Network(id=info.network_id, subnet=info.subnet, status=info.status) for info in response.networks]
