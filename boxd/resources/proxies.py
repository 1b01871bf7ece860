"""The names on the web that lead to a machine.

Older servers know the machine by its name. Newer ones take the id first, which is right too where somebody has renamed
the machine meanwhile, or another of the caller's organizations has one of that name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from boxd import methods
from boxd.messages import proxy as pb
from boxd.types.networking import Proxy

if TYPE_CHECKING:
    from boxd.resources._base import Session
    from boxd.resources.machine import Machine


async def list_proxies(session: Session, box: Machine) -> list[Proxy]:
    """All proxies of a machine."""
    response = await session.unary(methods.ListProxies, pb.ListProxiesRequest(vm_name=box.name, vm=box.id))
    return [
        Proxy(name=info.name, vm_name=info.vm_name, domain=info.domain, port=info.port, is_default=info.is_default)
        for info in response.proxies
    ]


async def create_proxy(session: Session, box: Machine, name: str, port: int) -> Proxy:
    """Add one."""
    _check_port(port)
    request = pb.CreateProxyRequest(name=name, vm_name=box.name, vm=box.id, port=port)
    made = await session.unary(methods.CreateProxy, request)
    # The default proxy comes with the machine, so one that is created is another.
    return Proxy(name=made.name, vm_name=made.vm_name, domain=made.domain, port=made.port, is_default=False)


async def delete_proxy(session: Session, box: Machine, name: str) -> None:
    """Remove one."""
    await session.unary(methods.DeleteProxy, pb.DeleteProxyRequest(name=name, vm_name=box.name, vm=box.id))


async def set_proxy_port(session: Session, box: Machine, name: str, port: int) -> None:
    """Change where one leads to."""
    _check_port(port)
    # The field is a string, because the service also takes words there.
    await session.unary(
        methods.SetProxyPort, pb.SetProxyPortRequest(name=name, vm_name=box.name, vm=box.id, port=str(port))
    )


def _check_port(port: int) -> None:
    if not 0 <= port < 65536:
        raise ValueError(f"port {port}: use 1 to 65535, or 0 for the default")
