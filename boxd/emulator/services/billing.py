"""Billing and usage. Nothing is charged: the figures are plain, and the pages do not exist."""

from __future__ import annotations

from boxd import messages as pb

from ..box import RUNNING, STOPPED, SUSPENDED, Box
from ..errors import Code, EmulatorError
from ..options import GIB
from .base import Context
from .machines import DEFAULT_DISK, DEFAULT_MEMORY, DEFAULT_VCPU, Machines

_PAGE = "https://emulator.invalid"
_MONTH = 30 * 24 * 3600
_MODE, _CURRENCY = "emulator", "EUR"


class Billing(Machines):
    """Plans, accounts and what machines used."""

    async def list_plans(self, request: pb.ListPlansRequest, context: Context) -> pb.ListPlansResponse:
        plans = [
            pb.PlanInfo(
                monthly_eur=0,
                lookup_key="emulator",
                description="everything that this machine has, for nothing",
                vcpu=DEFAULT_VCPU,
                memory_bytes=DEFAULT_MEMORY,
            )
        ]
        return pb.ListPlansResponse(plans=plans)

    async def get_billing(self, request: pb.GetBillingRequest, context: Context) -> pb.GetBillingResponse:
        info = pb.BillingInfo(
            subscription_status="active",
            max_vms=self._options.max_boxes,
            vcpu=DEFAULT_VCPU,
            memory_bytes=DEFAULT_MEMORY,
        )
        if self._options.generation >= 2:
            info.billing_mode, info.currency = _MODE, _CURRENCY
        return pb.GetBillingResponse(billing=info)

    async def create_checkout_session(
        self, request: pb.CreateCheckoutSessionRequest, context: Context
    ) -> pb.CreateCheckoutSessionResponse:
        return pb.CreateCheckoutSessionResponse(checkout_url=f"{_PAGE}/checkout")

    async def create_billing_portal_session(
        self, request: pb.CreateBillingPortalSessionRequest, context: Context
    ) -> pb.CreateBillingPortalSessionResponse:
        return pb.CreateBillingPortalSessionResponse(portal_url=f"{_PAGE}/billing")

    async def get_org_billing(self, request: pb.GetOrgBillingRequest, context: Context) -> pb.GetOrgBillingResponse:
        name = self._org(request.org)
        boxes = [box for box in self._boxes.all() if box.spec.org == name]
        owner = self._options.user_id
        return pb.GetOrgBillingResponse(
            id=self._org_id(name),
            name=name,
            is_admin=True,
            max_vms=self._options.max_boxes,
            vcpu=sum(box.spec.vcpu or DEFAULT_VCPU for box in boxes),
            memory_bytes=sum(box.spec.memory_bytes or DEFAULT_MEMORY for box in boxes),
            vm_count=len(boxes),
            vms=[pb.OrgBilledVm(name=box.name, owner=owner, status=box.status, owner_name=owner) for box in boxes],
            billing_mode=_MODE,
            currency=_CURRENCY,
        )

    async def list_billing_activity(
        self, request: pb.ListBillingActivityRequest, context: Context
    ) -> pb.ListBillingActivityResponse:
        self._org(request.org)
        return pb.ListBillingActivityResponse(currency=_CURRENCY)

    async def get_vm_usage(self, request: pb.GetVmUsageRequest, context: Context) -> pb.GetVmUsageResponse:
        box = self._boxes.existing(request.vm_id)
        start, end = self._period(request.since, request.until)
        return pb.GetVmUsageResponse(
            period_start=start,
            period_end=end,
            currency=_CURRENCY,
            rates=pb.UsageRates(),
            usage=self._usage(box, start, end),
        )

    async def get_org_usage(self, request: pb.GetOrgUsageRequest, context: Context) -> pb.GetOrgUsageResponse:
        name = self._org(request.org)
        start, end = self._period(request.since, request.until)
        return pb.GetOrgUsageResponse(
            org_id=self._org_id(name),
            org=name,
            period_start=start,
            period_end=end,
            currency=_CURRENCY,
            rates=pb.UsageRates(),
            vms=[self._usage(box, start, end) for box in self._boxes.all() if box.spec.org == name],
        )

    def _period(self, since: int, until: int) -> tuple[int, int]:
        end = until or int(self._boxes.clock()) + 1
        start = since or end - _MONTH
        if start >= end:
            raise EmulatorError(Code.INVALID_ARGUMENT, f"the period ends at {end}, before it begins at {start}")
        return start, end

    def _usage(self, box: Box, start: int, end: int) -> pb.VmUsage:
        """What a box used; all of its time counts as in its present status, since no history is kept."""
        spec = box.spec
        seconds = max(0, int(min(end, self._boxes.clock()) - max(start, box.created_at)))
        states = {RUNNING: "running", SUSPENDED: "standby", STOPPED: "stopped"}
        state = states.get(box.status, "hibernated" if box.status == "hibernated" else "stopped")
        hours = seconds / 3600
        on = hours if state == "running" else 0.0
        vcpu, memory = spec.vcpu or DEFAULT_VCPU, spec.memory_bytes or DEFAULT_MEMORY
        disk = spec.disk_bytes or DEFAULT_DISK
        return pb.VmUsage(
            vm_id=box.id,
            name=box.name,
            owner=self._options.user_id,
            owner_name=self._options.user_id,
            sharing="shared" if spec.shared else "private",
            status=box.status,
            vcpu=vcpu,
            memory_bytes=memory,
            disk_bytes=disk,
            seconds=pb.StateSeconds(**{state: seconds}),
            vcpu_hours=vcpu * on,
            ram_gib_hours=memory / GIB * on,
            disk_gib_hours=disk / GIB * hours,
        )
