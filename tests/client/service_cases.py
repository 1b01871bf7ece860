"""Calls of the services beside machines: for each the one RPC that is to come of it, field by field, and what it makes
of the answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from boxd import aio
from boxd.aio import BoxConfig
from boxd.messages import api_key, billing, billing_info, domain, network, org, ssh_key, template, token, var
from boxd.messages.vm_config import VmConfig

TEMPLATE = aio.Template("t-1", "base", "ubuntu", "ready", 2, 8 << 30)


@dataclass(frozen=True)
class Case:
    """A call, and the one RPC that is to come of it."""

    rpc: str
    call: Callable[[Any, Any], Awaitable[Any]]
    """Takes a client and a box of it, on any surface."""
    request: Any
    response: Any
    result: Any = None


CASES = [
    Case(
        "CreateTemplate",
        lambda c, _: c.template.create("base"),
        template.CreateTemplateRequest(name="base"),
        template.CreateTemplateResponse(template_id="t-1", name="base", status="ready"),
        aio.Template("t-1", "base", "", "ready", 0, 0),
    ),
    Case(
        "CreateTemplate",
        lambda c, _: c.template.create("base", "ubuntu", BoxConfig(vcpu=2, memory="8G")),
        template.CreateTemplateRequest(name="base", image_ref="ubuntu", config=VmConfig(vcpu=2, memory_bytes=8 << 30)),
        template.CreateTemplateResponse(template_id="t-1", name="base", status="ready"),
        TEMPLATE,
    ),
    Case(
        "ListTemplates",
        lambda c, _: c.template.list(),
        template.ListTemplatesRequest(),
        template.ListTemplatesResponse(
            templates=[
                template.TemplateInfo(
                    template_id="t-1", name="base", image_ref="ubuntu", status="ready", vcpu=2, memory_bytes=8 << 30
                )
            ]
        ),
        [TEMPLATE],
    ),
    Case(
        "DeleteTemplate",
        lambda c, _: c.template.delete("t-1"),
        template.DeleteTemplateRequest(template_id="t-1"),
        template.DeleteTemplateResponse(),
    ),
    Case(
        "UnbindDomain",
        lambda c, _: c.domain.unbind("www.example.org"),
        domain.UnbindDomainRequest(domain="www.example.org"),
        domain.UnbindDomainResponse(),
    ),
    Case(
        "ListDomains",
        lambda c, _: c.domain.list(),
        domain.ListDomainsRequest(),
        domain.ListDomainsResponse(domains=[domain.DomainInfo(domain="www.example.org", vm_id="vm-1")]),
        [aio.Domain("www.example.org", "vm-1", None, None)],
    ),
    Case(
        "CreateNetwork",
        lambda c, _: c.network.create(),
        network.CreateNetworkRequest(),
        network.CreateNetworkResponse(network_id="net-1"),
        aio.Network("net-1", None, None),
    ),
    Case(
        "CreateNetwork",
        lambda c, _: c.network.create("db"),
        network.CreateNetworkRequest(name="db"),
        network.CreateNetworkResponse(network_id="net-1"),
        aio.Network("net-1"),
    ),
    Case(
        "ListNetworks",
        lambda c, _: c.network.list(),
        network.ListNetworksRequest(),
        network.ListNetworksResponse(
            networks=[network.NetworkInfo(network_id="net-1", subnet="10.1.0.0/24", status="active")]
        ),
        [aio.Network("net-1", "10.1.0.0/24", "active")],
    ),
    Case(
        "CreateToken",
        lambda c, _: c.token.create(),
        token.CreateTokenRequest(),
        token.CreateTokenResponse(token="a.b.c", expires_at=7),
        aio.Token("a.b.c", 7),
    ),
    Case(
        "CreateToken",
        lambda c, _: c.token.create(expires_in=60),
        token.CreateTokenRequest(expires_in_secs=60),
        token.CreateTokenResponse(token="a.b.c", expires_at=7),
        aio.Token("a.b.c", 7),
    ),
    Case(
        "ListTokens",
        lambda c, _: c.token.list(),
        token.ListTokensRequest(),
        token.ListTokensResponse(tokens=[token.TokenInfo(jti="j", created_at=1, expires_at=2)]),
        [aio.TokenInfo("j", 1, 2)],
    ),
    Case(
        "RevokeToken", lambda c, _: c.token.revoke("j"), token.RevokeTokenRequest(jti="j"), token.RevokeTokenResponse()
    ),
    Case(
        "CreateApiKey",
        lambda c, _: c.api_key.create("ci", expires_in=60, org="acme"),
        api_key.CreateApiKeyRequest(name="ci", expires_in_secs=60, org="acme"),
        api_key.CreateApiKeyResponse(id="k-1", api_key="bxd_secret", expires_at=7),
        aio.ApiKey("k-1", "bxd_secret", 7),
    ),
    Case(
        "ListApiKeys",
        lambda c, _: c.api_key.list(),
        api_key.ListApiKeysRequest(),
        api_key.ListApiKeysResponse(
            keys=[
                api_key.ApiKeyInfo(id="k-1", name="ci", key_prefix="bxd_se", created_at=1, last_used_at=2, expires_at=3)
            ]
        ),
        [aio.ApiKeyInfo("k-1", "ci", "bxd_se", 1, 2, 3)],
    ),
    Case(
        "DeleteApiKey",
        lambda c, _: c.api_key.delete("k-1"),
        api_key.DeleteApiKeyRequest(id="k-1"),
        api_key.DeleteApiKeyResponse(),
    ),
    Case(
        "SetVar",
        lambda c, _: c.env.set("A", "1"),
        var.SetVarRequest(kind="env", name="A", value="1"),
        var.VarReply(message="set"),
    ),
    Case(
        "SetVar",
        lambda c, _: c.secret.set("A", "1", "private", ["api.example.org"], "acme"),
        var.SetVarRequest(kind="secret", name="A", value="1", scope="private", domains=["api.example.org"], org="acme"),
        var.VarReply(),
    ),
    Case(
        "ListVars",
        lambda c, _: c.env.list(org="acme"),
        var.ListVarsRequest(org="acme", kind="env"),
        var.VarListReply(
            vars=[
                var.VarItem(name="A", kind="env", value="1", scope="all"),
                var.VarItem(name="B", kind="secret", scope="all"),
            ]
        ),
        [aio.EnvVariable("A", "1", "all")],
    ),
    Case(
        "ListVars",
        lambda c, _: c.secret.list(),
        var.ListVarsRequest(kind="secret"),
        var.VarListReply(vars=[var.VarItem(name="B", kind="secret", scope="all", domains=["x.org"])]),
        [aio.Secret("B", "all", ["x.org"])],
    ),
    Case(
        "RemoveVar",
        lambda c, _: c.env.remove("A", "shared", "acme"),
        var.RemoveVarRequest(org="acme", kind="env", name="A", scope="shared"),
        var.VarReply(),
    ),
    Case("RemoveVar", lambda c, _: c.secret.remove("A"), var.RemoveVarRequest(kind="secret", name="A"), var.VarReply()),
    Case(
        "SetSecretScope",
        lambda c, _: c.secret.set_scope("A", "all", old_scope="shared"),
        var.SetSecretScopeRequest(name="A", from_="shared", to="all"),
        var.VarReply(),
    ),
    Case(
        "ListOrgs",
        lambda c, _: c.org.list(),
        org.ListOrgsRequest(),
        org.ListOrgsResponse(orgs=[org.OrgSummary(id="o", name="Acme", is_admin=True)]),
        [aio.OrgSummary("o", "Acme", True)],
    ),
    Case(
        "LinkSshKey",
        lambda c, _: c.link_ssh_key("ssh-ed25519 AAAA", "laptop"),
        ssh_key.LinkSshKeyRequest(pubkey="ssh-ed25519 AAAA", label="laptop"),
        ssh_key.LinkSshKeyResponse(),
    ),
    Case(
        "ListPlans",
        lambda c, _: c.billing.list_plans(),
        billing.ListPlansRequest(),
        billing.ListPlansResponse(
            plans=[billing.PlanInfo(monthly_eur=20, lookup_key="pro", description="Pro", vcpu=2, memory_bytes=8 << 30)]
        ),
        [aio.Plan(20, "pro", "Pro", 2, 8 << 30)],
    ),
    Case(
        "GetBilling",
        lambda c, _: c.billing.status(),
        billing.GetBillingRequest(),
        billing.GetBillingResponse(
            billing=billing_info.BillingInfo(
                subscription_status="active",
                stripe_customer_id="cus",
                stripe_subscription_id="sub",
                past_due_since=1,
                max_vms=10,
                vcpu=2,
                memory_bytes=8 << 30,
                balance_micro=-5,
                billing_mode="prepaid",
                currency="eur",
            )
        ),
        aio.Billing("active", "cus", "sub", 1, 10, 2, 8 << 30, -5, "prepaid", "eur"),
    ),
    Case(
        "GetBilling",
        lambda c, _: c.billing.status(),
        billing.GetBillingRequest(),
        billing.GetBillingResponse(),
        aio.Billing("", "", "", 0, 0, 0, 0),
    ),
    Case(
        "CreateCheckoutSession",
        lambda c, _: c.billing.create_checkout_session("https://a", "https://b"),
        billing.CreateCheckoutSessionRequest(success_url="https://a", cancel_url="https://b"),
        billing.CreateCheckoutSessionResponse(checkout_url="https://pay"),
        "https://pay",
    ),
    Case(
        "CreateBillingPortalSession",
        lambda c, _: c.billing.create_billing_portal_session("https://a"),
        billing.CreateBillingPortalSessionRequest(return_url="https://a"),
        billing.CreateBillingPortalSessionResponse(portal_url="https://portal"),
        "https://portal",
    ),
    Case(
        "GetOrgBilling",
        lambda c, _: c.billing.org_status("acme"),
        billing.GetOrgBillingRequest(org="acme"),
        billing.GetOrgBillingResponse(
            id="o",
            name="Acme",
            is_admin=True,
            max_vms=50,
            vm_count=1,
            vms=[billing.OrgBilledVm(name="one", owner="u", status="running", billing="org")],
            accruing_micro=0,
        ),
        aio.OrgBilling("o", "Acme", True, 50, 0, 0, 1, [aio.OrgBilledVm("one", "u", "running", "org")], 0, 0, ""),
    ),
]
