"""Which machine is meant: where a call takes a machine it takes a `Box`, a name or an id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from boxd import methods
from boxd.errors import NotFoundError
from boxd.messages import vm as pb
from boxd.resources.machine import Machine

if TYPE_CHECKING:
    from boxd.resources._base import Session


async def machine_id(session: Session, machine: Machine | str) -> str:
    """The id of a machine. Asks the service only where it is given as a string. Raises `NotFoundError`, and
    `TypeError` for what is no machine."""
    if isinstance(machine, Machine):
        return machine.id
    if not isinstance(machine, str):
        kind = type(machine)
        wrong = f"{kind.__module__}.{kind.__name__}".removeprefix("builtins.")
        raise TypeError(f"a machine is given as a Box of the same surface, a name or an id, not as {wrong}")
    try:
        return (await session.unary(methods.GetVm, pb.GetVmRequest(vm_id=machine))).vm_id
    except NotFoundError as error:
        missing = error
    return await by_name(session, machine, None, missing)


async def by_name(session: Session, name: str, org: str | None, missing: NotFoundError) -> str:
    """The id of the machine of this name, from the list, where the service's GetVm does not know names: then it has
    answered with `missing`. Raises that where there is none."""
    response = await session.unary(methods.ListVms, pb.ListVmsRequest(org=session.scope(org)))
    for record in response.vms:
        # A destroyed machine stays in lists for a while; its name is free.
        if record.name == name and record.status != "destroyed":
            return record.vm_id
    raise missing
