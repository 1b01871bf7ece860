"""`c.billing`: plans, payment, and what was used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from boxd import methods
from boxd.messages import billing as pb
from boxd.messages.billing_info import BillingInfo
from boxd.resources._service import Service
from boxd.types.billing import Billing, BillingActivity, BillingActivityPage, OrgBilledVm, OrgBilling, Plan

if TYPE_CHECKING:
    from boxd.types.billing import UsageReport


class BillingService(Service):
    """Plans, payment, and what was used."""

    async def list_plans(self) -> list[Plan]:
        """The plans that can be subscribed to. RPC: ListPlans."""
        response = await self._session.unary(methods.ListPlans, pb.ListPlansRequest())
        return [
            Plan(
                monthly_eur=info.monthly_eur,
                lookup_key=info.lookup_key,
                description=info.description,
                vcpu=info.vcpu,
                memory_bytes=info.memory_bytes,
            )
            for info in response.plans
        ]

    async def status(self) -> Billing:
        """How the caller's account stands. RPC: GetBilling."""
        response = await self._session.unary(methods.GetBilling, pb.GetBillingRequest())
        info = BillingInfo() if response.billing is None else response.billing
        return Billing(
            subscription_status=info.subscription_status,
            stripe_customer_id=info.stripe_customer_id,
            stripe_subscription_id=info.stripe_subscription_id,
            past_due_since=info.past_due_since,
            max_vms=info.max_vms,
            vcpu=info.vcpu,
            memory_bytes=info.memory_bytes,
            balance_micro=info.balance_micro,
            billing_mode=info.billing_mode,
            currency=info.currency,
        )

    async def create_checkout_session(self, success_url: str = "", cancel_url: str = "") -> str:
        """The URL of a page where a plan can be bought; it leads back to the two that are given.
        RPC: CreateCheckoutSession."""
        request = pb.CreateCheckoutSessionRequest(success_url=success_url, cancel_url=cancel_url)
        return (await self._session.unary(methods.CreateCheckoutSession, request)).checkout_url

    async def create_billing_portal_session(self, return_url: str = "") -> str:
        """The URL of a page where payment can be changed; it leads back to `return_url`.
        RPC: CreateBillingPortalSession."""
        request = pb.CreateBillingPortalSessionRequest(return_url=return_url)
        return (await self._session.unary(methods.CreateBillingPortalSession, request)).portal_url

    async def org_status(self, org: str | None = None) -> OrgBilling:
        """How an organization's account stands (None: the client's). Raises `NotFoundError`. RPC: GetOrgBilling."""
        request = pb.GetOrgBillingRequest(org=self._session.scope(org))
        found = await self._session.unary(methods.GetOrgBilling, request)
        return OrgBilling(
            id=found.id,
            name=found.name,
            is_admin=found.is_admin,
            max_vms=found.max_vms,
            vcpu=found.vcpu,
            memory_bytes=found.memory_bytes,
            vm_count=found.vm_count,
            vms=[OrgBilledVm(name=vm.name, owner=vm.owner, status=vm.status, billing=vm.billing) for vm in found.vms],
            balance_micro=found.balance_micro,
            accruing_micro=found.accruing_micro,
            currency=found.currency,
        )

    async def activity(
        self, since: int = 0, until: int = 0, page_token: str = "", page_size: int = 0, org: str | None = None
    ) -> BillingActivityPage:
        """Charges and payments between two times in seconds since 1970 (0: no bound), a page of at most `page_size` (0:
        the service's default) at a time; `page_token` is the page before's `next_page_token`. Raises
        `UnsupportedError` on an older server. RPC: ListBillingActivity."""
        request = pb.ListBillingActivityRequest(
            org=self._session.scope(org), since=since, until=until, page_token=page_token, page_size=page_size
        )
        found = await self._session.unary(methods.ListBillingActivity, request)
        entries = [BillingActivity(one.entry_id, one.kind, one.amount_micro, one.created_at) for one in found.entries]
        return BillingActivityPage(entries, found.balance_micro, found.currency, found.next_page_token)

    async def usage(self, since: int = 0, until: int = 0, org: str | None = None) -> UsageReport:
        """What all machines of an organization (None: the client's; empty: personal) used between two times in seconds
        since 1970 (0: the service's default). Raises `UnsupportedError` on an older server. RPC: GetOrgUsage."""
        from boxd.resources.usage import org_usage

        return await org_usage(self._session, self._session.scope(org), since, until)
