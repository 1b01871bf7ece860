"""What machines have used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from boxd import methods
from boxd.messages import usage as pb
from boxd.types.billing import UsageRates, UsageReport, VmUsage

if TYPE_CHECKING:
    from boxd.resources._base import Session


async def org_usage(session: Session, org: str, since: int, until: int) -> UsageReport:
    """What all machines of an organization used."""
    found = await session.unary(methods.GetOrgUsage, pb.GetOrgUsageRequest(org=org, since=since, until=until))
    return UsageReport(
        period_start=found.period_start,
        period_end=found.period_end,
        currency=found.currency,
        rates=_rates(found.rates),
        total_cost_micro=found.total_cost_micro,
        vms=[_usage(one) for one in found.vms],
        complete=found.complete,
    )


async def vm_usage(session: Session, vm_id: str, since: int, until: int) -> UsageReport:
    """What one machine used."""
    found = await session.unary(methods.GetVmUsage, pb.GetVmUsageRequest(vm_id=vm_id, since=since, until=until))
    usage = _usage(pb.VmUsage() if found.usage is None else found.usage)
    return UsageReport(
        period_start=found.period_start,
        period_end=found.period_end,
        currency=found.currency,
        rates=_rates(found.rates),
        total_cost_micro=usage.cost_micro,
        vms=[usage],
        complete=usage.complete,
    )


def _rates(rates: pb.UsageRates | None) -> UsageRates:
    known = pb.UsageRates() if rates is None else rates
    return UsageRates(known.vcpu_hour_micro, known.ram_gib_hour_micro, known.disk_gib_hour_micro)


def _usage(usage: pb.VmUsage) -> VmUsage:
    seconds = pb.StateSeconds() if usage.seconds is None else usage.seconds
    return VmUsage(
        vm_id=usage.vm_id,
        name=usage.name,
        owner=usage.owner,
        status=usage.status,
        vcpu=usage.vcpu,
        memory_bytes=usage.memory_bytes,
        disk_bytes=usage.disk_bytes,
        running_secs=seconds.running,
        suspended_secs=seconds.standby,
        hibernated_secs=seconds.hibernated,
        stopped_secs=seconds.stopped,
        vcpu_hours=usage.vcpu_hours,
        ram_gib_hours=usage.ram_gib_hours,
        disk_gib_hours=usage.disk_gib_hours,
        cost_micro=usage.cost_micro,
        complete=usage.complete,
    )
