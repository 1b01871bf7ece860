"""Who may do what: tokens, keys, variables, organizations; and what it costs."""

from __future__ import annotations

import secrets
import time
from typing import Any

import httpx
import pytest

import boxd
from tests.acceptance.conftest import Connect
from tests.acceptance.shell import sh, until
from tests.fixtures.servers import Server

pytestmark = pytest.mark.anyio


async def accepted(compute: Connect, server: Server, **credential: str) -> bool:
    """Whether the server takes a credential."""
    try:
        async with compute(api_url=server.api_url, exchange_url=server.exchange_url, **credential) as c:
            await c.whoami()
    except boxd.AuthenticationError:
        return False
    return True


async def test_tokens(client: Any, compute: Connect, server: Server) -> None:
    before = {one.jti for one in await client.token.list()}
    made = await client.token.create(expires_in=600)
    assert abs(made.expires_at - time.time() - 600) < 60
    assert made.token not in repr(made)
    assert await accepted(compute, server, token=made.token)
    (found,) = [one for one in await client.token.list() if one.jti not in before]
    assert found.expires_at == made.expires_at
    assert found.created_at <= time.time() + 1
    assert await client.token.revoke(found.jti) is None
    assert not await accepted(compute, server, token=made.token)
    assert found.jti not in {one.jti for one in await client.token.list()}
    with pytest.raises(boxd.NotFoundError):
        await client.token.revoke(found.jti)


async def test_a_token_expires(client: Any, compute: Connect, server: Server) -> None:
    made = await client.token.create(expires_in=1)

    async def expired() -> bool:
        return not await accepted(compute, server, token=made.token)

    await until(expired)
    assert time.time() >= made.expires_at
    assert (await client.token.create()).expires_at > time.time() + 3600


async def test_api_keys(client: Any, compute: Connect, server: Server) -> None:
    made = await client.api_key.create("ci")
    assert made.key not in repr(made)
    assert await accepted(compute, server, api_key=made.key)
    (found,) = [one for one in await client.api_key.list() if one.id == made.id]
    assert (found.name, found.expires_at) == ("ci", made.expires_at)
    assert made.key.startswith(found.key_prefix)
    assert found.key_prefix != made.key
    assert await client.api_key.delete(made.id) is None
    assert not await accepted(compute, server, api_key=made.key)
    with pytest.raises(boxd.NotFoundError):
        await client.api_key.delete(made.id)


async def test_variables_reach_machines(client: Any, new_box: Any) -> None:
    name = f"V_{secrets.token_hex(4).upper()}"
    assert await client.env.set(name, "clear") is None
    assert await client.secret.set(f"{name}_S", "hush") is None
    (found,) = [one for one in await client.env.list() if one.name == name]
    assert found.value == "clear"
    (secret,) = [one for one in await client.secret.list() if one.name == f"{name}_S"]
    assert "hush" not in repr(secret)
    assert (await sh(new_box, f'echo "${name} ${name}_S"')).stdout == "clear hush\n"
    await client.env.set(name, "changed")
    assert (await sh(new_box, f'echo "${name}"')).stdout == "changed\n"
    assert await client.env.remove(name) is None
    assert await client.secret.remove(f"{name}_S") is None
    assert (await sh(new_box, f'echo "${name} ${name}_S"')).stdout == " \n"
    for service in (client.env, client.secret):
        with pytest.raises(boxd.NotFoundError):
            await service.remove(name)


@pytest.mark.parametrize("name", ["1A", "A-B", "", "BOXD_TOKEN"])
async def test_a_variable_that_cannot_be(client: Any, name: str) -> None:
    for service in (client.env, client.secret):
        with pytest.raises(boxd.InvalidArgumentError):
            await service.set(name, "x")


async def test_the_scope_of_a_secret(client: Any) -> None:
    name = f"S_{secrets.token_hex(4).upper()}"
    await client.secret.set(name, "hush", scope="shared", org="local")
    await client.secret.set_scope(name, "all", old_scope="shared", org="local")
    (found,) = [one for one in await client.secret.list(org="local") if one.name == name]
    assert found.scope == "all"
    assert name not in [one.name for one in await client.secret.list()]
    await client.secret.remove(name, org="local")
    with pytest.raises(boxd.NotFoundError):
        await client.secret.set_scope(name, "shared", org="local")


async def test_organizations(client: Any) -> None:
    assert await client.org.list() == await client.box.list_orgs()


async def test_an_organization_of_one_s_own(client: Any) -> None:
    name = f"org-{secrets.token_hex(4)}"
    made = await client.org.create(name)
    assert made in await client.org.list()
    await client.org.rename(made.id, f"{name}-2")
    assert f"{name}-2" in [one.name for one in await client.org.list()]
    me = (await client.whoami()).user_id
    assert me in [one.user_id for one in await client.org.members(made.id)]
    with pytest.raises(boxd.NotFoundError):
        await client.org.members("nowhere")


async def test_invitations(client: Any) -> None:
    org = await client.org.create(f"org-{secrets.token_hex(4)}")
    invite = await client.org.invite(org.id, "new@example.org", "member")
    assert invite.token not in repr(invite)
    assert [one.email for one in await client.org.invites(org.id)] == ["new@example.org"]
    assert await client.org.revoke_invite(invite) is None
    assert await client.org.invites(org.id) == []
    with pytest.raises(boxd.NotFoundError):
        await client.org.revoke_invite(invite)


async def test_members(client: Any) -> None:
    org = await client.org.create(f"org-{secrets.token_hex(4)}")
    me = (await client.whoami()).user_id
    assert await client.org.set_member_role(org.id, me, "admin") is None
    for last in (client.org.set_member_role(org.id, me, "member"), client.org.remove_member(org.id, me)):
        with pytest.raises(boxd.BoxdError, match="last admin") as caught:
            await last
        assert caught.value.grpc_code == 9
    invite = await client.org.invite(org.id, "new@example.org", "member")
    if invite.accept_url.startswith("http://127.0.0.1"):
        async with httpx.AsyncClient() as browser:
            assert (await browser.get(invite.accept_url)).status_code == 200
        await client.org.set_member_role(org.id, "new@example.org", "admin")
        members = {one.user_id: one.role for one in await client.org.members(org.id)}
        assert members == {me: "admin", "new@example.org": "admin"}
        assert await client.org.remove_member(org.id, "new@example.org") is None
    with pytest.raises(boxd.NotFoundError):
        await client.org.remove_member(org.id, "new@example.org")


async def test_billing(client: Any) -> None:
    plans = await client.billing.list_plans()
    assert all(plan.lookup_key and plan.vcpu and plan.memory_bytes for plan in plans)
    assert plans
    assert (await client.billing.status()).max_vms == 64
    checkout = await client.billing.create_checkout_session("https://example.org/ok", "https://example.org/no")
    page = await client.billing.activity()
    assert (page.entries, page.balance_micro, page.next_page_token) == ([], 0, "")
    portal = await client.billing.create_billing_portal_session("https://example.org/back")
    assert checkout.startswith("http")
    assert portal.startswith("http")


async def test_what_an_organization_pays(client: Any) -> None:
    (org,) = [one for one in await client.org.list() if one.name == "local"]
    box = await client.box.create(org="local")
    try:
        found = await client.billing.org_status("local")
        assert (found.id, found.name) == (org.id, "local")
        assert box.name in [one.name for one in found.vms]
        assert found.vm_count == len(found.vms)
    finally:
        await box.destroy()
    with pytest.raises(boxd.NotFoundError):
        await client.billing.org_status("nowhere")


async def test_usage(client: Any, new_box: Any) -> None:
    used = await new_box.usage()
    assert [one.vm_id for one in used.vms] == [new_box.id]
    assert used.vms[0].vcpu > 0
    assert used.period_start < used.period_end
    everything = await client.billing.usage()
    assert new_box.id in [one.vm_id for one in everything.vms]
    with pytest.raises(boxd.NotFoundError):
        await client.billing.usage(org="nowhere")


async def test_an_ssh_key(client: Any) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHcBoiXjVJn6SLBHmJlnO8/+M4F0FEfJTtMwGHyjLJ9V me@example.org"
    before = (await client.whoami()).fingerprints
    assert await client.link_ssh_key(key, "laptop") is None
    assert len((await client.whoami()).fingerprints) >= len(before)
    with pytest.raises(boxd.InvalidArgumentError):
        await client.link_ssh_key("no key")
