"""What it costs: plans, an account's state, usage. Amounts whose name ends in `_micro` are millionths of `currency`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """A plan that can be subscribed to."""

    monthly_eur: int
    """What it costs a month, in euros."""
    lookup_key: str
    """Its key."""
    description: str
    """What it is, for people."""
    vcpu: int
    """The number of virtual CPUs in it."""
    memory_bytes: int
    """The memory in it."""


@dataclass(frozen=True)
class Billing:
    """How the caller's account stands. What a server of one generation does not know is empty or 0."""

    subscription_status: str
    """The state of the subscription, in the service's words."""
    stripe_customer_id: str
    """The account's id at the payment service; from older servers."""
    stripe_subscription_id: str
    """The subscription's id at the payment service; from older servers."""
    past_due_since: int
    """Since when a payment is due, in seconds since 1970; 0 where none is."""
    max_vms: int
    """How many machines the account may have."""
    vcpu: int
    """How many virtual CPUs each may have."""
    memory_bytes: int
    """How much memory each may have."""
    balance_micro: int = 0
    """The account's balance; from newer servers, as is all that follows."""
    billing_mode: str = ""
    """How it is charged, in the service's words."""
    currency: str = ""
    """The currency of its amounts."""


@dataclass(frozen=True)
class OrgBilledVm:
    """A machine that an organization pays for."""

    name: str
    """The machine's name."""
    owner: str
    """Its owner's id."""
    status: str
    """Its status."""
    billing: str
    """How it is charged, in the service's words."""


@dataclass(frozen=True)
class OrgBilling:
    """How an organization's account stands."""

    id: str
    """The organization's id."""
    name: str
    """Its name."""
    is_admin: bool
    """Whether the caller administers it."""
    max_vms: int
    """How many machines it may have."""
    vcpu: int
    """How many virtual CPUs each may have."""
    memory_bytes: int
    """How much memory each may have."""
    vm_count: int
    """How many machines it has."""
    vms: list[OrgBilledVm]
    """The machines."""
    balance_micro: int
    """Its balance; 0 from older servers."""
    accruing_micro: int | None
    """What has been used and is not charged yet; None where the service does not tell."""
    currency: str
    """The currency of its amounts; empty from older servers."""


@dataclass(frozen=True)
class BillingActivity:
    """An entry of an account's history."""

    id: str
    """Its id."""
    kind: str
    """What happened, in the service's words."""
    amount_micro: int
    """The amount; negative where it was taken from the account."""
    created_at: int
    """When, in seconds since 1970."""


@dataclass(frozen=True)
class BillingActivityPage:
    """A page of an account's history, newest entries first."""

    entries: list[BillingActivity]
    """The entries."""
    balance_micro: int
    """The account's balance."""
    currency: str
    """The currency of the amounts."""
    next_page_token: str
    """What `activity` takes for the next page; empty on the last."""


@dataclass(frozen=True)
class VmUsage:
    """What a machine has used in a period."""

    vm_id: str
    """The machine's id."""
    name: str
    """Its name."""
    owner: str
    """Its owner's id."""
    status: str
    """Its status."""
    vcpu: int
    """Its number of virtual CPUs."""
    memory_bytes: int
    """The size of its memory."""
    disk_bytes: int
    """The size of its disk."""
    running_secs: int
    """How long it ran, in seconds."""
    suspended_secs: int
    """How long it was suspended, in seconds."""
    hibernated_secs: int
    """How long it was hibernated, in seconds."""
    stopped_secs: int
    """How long it was stopped, in seconds."""
    vcpu_hours: float
    """Its use of virtual CPUs."""
    ram_gib_hours: float
    """Its use of memory."""
    disk_gib_hours: float
    """Its use of disk."""
    cost_micro: int
    """What that costs."""
    complete: bool
    """Whether the figures cover the whole period."""


@dataclass(frozen=True)
class UsageRates:
    """What use costs."""

    vcpu_hour_micro: int
    """A virtual CPU for an hour."""
    ram_gib_hour_micro: int
    """A GiB of memory for an hour."""
    disk_gib_hour_micro: int
    """A GiB of disk for an hour."""


@dataclass(frozen=True)
class UsageReport:
    """What machines have used in a period."""

    period_start: int
    """The period's start, in seconds since 1970."""
    period_end: int
    """The period's end, in seconds since 1970."""
    currency: str
    """The currency of the amounts."""
    rates: UsageRates
    """The prices."""
    total_cost_micro: int
    """What all the machines cost together."""
    vms: list[VmUsage]
    """The machines."""
    complete: bool
    """Whether the figures cover the whole period."""
