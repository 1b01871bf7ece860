"""`box.ports`: TCP and UDP ports of a machine that can be reached from everywhere."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING

from boxd import methods
from boxd.messages import port as pb
from boxd.types.networking import ExposedPort

if TYPE_CHECKING:
    from boxd.resources._base import Session
    from boxd.resources.machine import Machine


class PortService:
    """The exposed ports of one machine."""

    def __init__(self, session: Session, box: Machine) -> None:
        self._session = session
        self._box = box

    async def expose(self, port: int, protocol: str = "tcp") -> ExposedPort:
        """Let `port` of the machine be reached from everywhere, at the host and port that the result tells.
        `protocol` is `tcp` or `udp`. RPC: ExposePort.

        Raises `ValueError` for a port or protocol that cannot be, and `QuotaExceededError`.
        """
        _check(port)
        if protocol not in ("tcp", "udp"):
            raise ValueError(f"protocol {protocol!r}: use 'tcp' or 'udp'")
        request = pb.ExposePortRequest(vm_id=self._box.id, vm_port=port, protocol=protocol)
        return _exposed(await self._session.unary(methods.ExposePort, request))

    async def unexpose(self, port: int) -> None:
        """Let `port` of the machine no longer be reached. Raises `NotFoundError`. RPC: UnexposePort."""
        _check(port)
        await self._session.unary(methods.UnexposePort, pb.UnexposePortRequest(vm_id=self._box.id, vm_port=port))

    async def list(self) -> builtins.list[ExposedPort]:
        """The machine's exposed ports. RPC: ListExposedPorts."""
        request = pb.ListExposedPortsRequest(vm=self._box.id)
        response = await self._session.unary(methods.ListExposedPorts, request)
        # Older servers list those of all machines, and know a machine by its name.
        return [
            _exposed(one)
            for one in response.forwards
            if (one.vm_id == self._box.id if one.vm_id else one.vm_name == self._box.name)
        ]

    def __repr__(self) -> str:
        return f"<PortService of {self._box.id!r}>"


def _exposed(info: pb.ExposePortResponse) -> ExposedPort:
    return ExposedPort(
        vm_name=info.vm_name,
        host=info.dns,
        public_port=info.public_port,
        port=info.vm_port,
        protocol=info.protocol,
    )


def _check(port: int) -> None:
    if not 0 < port < 65536:
        raise ValueError(f"port {port}: use 1 to 65535")
