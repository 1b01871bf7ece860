"""What belongs to an account: kept over a restart, and true after a change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import boxd
from boxd import BoxConfig, NetworkConfig, ProxyEntry, emulator
from boxd.emulator.account import INVITE_SECONDS, Account, Invite
from boxd.emulator.options import Options
from boxd.emulator.store import Store


@pytest.fixture
def client() -> Iterator[boxd.Compute]:
    with (
        emulator.running(sandbox="plain") as local,
        boxd.Compute(token=local.token, api_url=local.api_url) as c,
    ):
        yield c


def test_an_organization_keeps_what_it_has_under_a_new_name(client: boxd.Compute) -> None:
    org = client.org.create("before")
    box = client.box.create(org="before")
    client.env.set("V", "value", org="before")
    client.snapshot.create(box, "base")
    client.org.rename(org.id, "before")
    client.org.rename(org.id, "after")
    assert [one.id for one in client.box.list("after")] == [box.id]
    assert [one.name for one in client.env.list("after")] == ["V"]
    assert [one.name for one in client.snapshot.list("after")] == ["base"]
    assert box.exec("printenv", "V").stdout == "value\n"
    with pytest.raises(boxd.NotFoundError):
        client.box.list("before")
    with pytest.raises(boxd.InvalidArgumentError):
        client.org.rename(org.id, "local")


def test_who_is_invited_becomes_a_member(client: boxd.Compute) -> None:
    org = client.org.create("acme")
    invite = client.org.invite(org.id, "new@example.org", "admin")
    assert httpx.get(invite.accept_url).json() == {"accepted": "new@example.org"}
    assert httpx.get(invite.accept_url).status_code == 404
    assert client.org.invites(org.id) == []
    assert {one.user_id: one.role for one in client.org.members(org.id)} == {
        "local-user": "admin",
        "new@example.org": "admin",
    }
    client.org.set_member_role(org.id, "local-user", "member")
    for last in (
        lambda: client.org.set_member_role(org.id, "new@example.org", "member"),
        lambda: client.org.remove_member(org.id, "new@example.org"),
    ):
        with pytest.raises(boxd.BoxdError, match="last admin") as caught:
            last()
        assert caught.value.grpc_code == 9
    client.org.set_member_role(org.id, "new@example.org", "admin")
    client.org.remove_member(org.id, "local-user")
    assert [one.user_id for one in client.org.members(org.id)] == ["new@example.org"]


def test_an_invitation_that_has_expired_is_gone() -> None:
    account = Account(Store(), Options())
    account.invites.put(Invite("token", "org-local", "new@example.org", "member", 1000))
    assert [one.id for one in account.open_invites("org-local", 1000 + INVITE_SECONDS - 1)] == ["token"]
    assert account.accept_invite("token", 1000 + INVITE_SECONDS) is None
    assert account.open_invites("org-local", 1000 + INVITE_SECONDS) == []
    assert account.accept_invite("token", 1000) is None


def test_a_secret_s_scope_does_not_push_out_another(client: boxd.Compute) -> None:
    client.secret.set("S", "one", scope="all")
    client.secret.set("S", "two", scope="shared")
    with pytest.raises(boxd.InvalidArgumentError, match="another"):
        client.secret.set_scope("S", "shared", old_scope="all")
    client.secret.set_scope("S", "all", old_scope="all")
    assert sorted(one.scope for one in client.secret.list()) == ["all", "shared"]


def test_a_start_command_has_the_variables_too(client: boxd.Compute) -> None:
    client.env.set("V", "value")
    client.env.set("W", "of the account")
    box = client.box.create(config=BoxConfig(cmd=["sh", "-c", "echo is $V $W"], env={"W": "of the box"}))
    text = b""
    with box.stream_logs(follow=True) as logs:
        while b"ended with" not in text:
            text += next(logs)
    assert b"is value of the box\r\n" in text
    assert box.exec("printenv", "W").stdout == "of the box\n"


def test_backups_have_ids_of_their_own(client: boxd.Compute) -> None:
    box = client.box.create()
    first = box.backups.create()
    box.backups.create()
    box.backups.delete(first)
    box.backups.create()
    assert len({one.id for one in box.backups.list()}) == 2


def test_a_token_that_would_live_for_ever(client: boxd.Compute) -> None:
    for make in (lambda: client.token.create(2**64 - 1), lambda: client.api_key.create("key", 2**64 - 1)):
        with pytest.raises(boxd.InvalidArgumentError):
            make()
    assert client.token.list() == []
    assert client.api_key.list() == []


def test_a_template_gives_what_the_call_does_not(client: boxd.Compute) -> None:
    config = BoxConfig(vcpu=1, network=NetworkConfig(proxies=[ProxyEntry("api", 9000)]))
    template = client.template.create("base", config=config)
    box = client.template.create_vm(template, config=BoxConfig(vcpu=2))
    assert client.box.get(box.id).vcpu == 2
    assert {one.name: one.port for one in box.proxies()}["api"] == 9000
    other = client.template.create_vm(template, config=BoxConfig(network=NetworkConfig()))
    assert [one.name for one in other.proxies() if not one.is_default] == []


def test_a_domain_is_free_when_its_box_is_gone(client: boxd.Compute) -> None:
    box = client.box.create()
    client.domain.bind("www.example.org", box)
    box.destroy()
    assert client.domain.list() == []
    client.domain.bind("www.example.org", client.box.create())


def test_a_domain_may_be_bound_again_to_its_box_only(client: boxd.Compute) -> None:
    box = client.box.create()
    client.domain.bind("www.example.org", box)
    client.domain.bind("www.example.org", box)
    with pytest.raises(boxd.InvalidArgumentError, match="another box"):
        client.domain.bind("www.example.org", client.box.create())
    assert [(one.domain, one.vm_id) for one in client.domain.list()] == [("www.example.org", box.id)]


def test_the_default_network_is_one(client: boxd.Compute) -> None:
    assert client.whoami().default_network_id in [one.id for one in client.network.list()]


def test_credentials_and_variables_are_kept(tmp_path: Path) -> None:
    with (
        emulator.running(sandbox="plain", state=str(tmp_path)) as local,
        boxd.Compute(token=local.token, api_url=local.api_url) as c,
    ):
        kept, revoked = c.token.create(), c.token.create()
        (jti,) = [one.jti for one in c.token.list() if one.jti in _claims(revoked.token)]
        c.token.revoke(jti)
        key = c.api_key.create("ci")
        c.secret.set("S", "hush")
    with emulator.running(sandbox="plain", state=str(tmp_path)) as local:
        for credential in ({"token": kept.token}, {"api_key": key.key, "exchange_url": local.exchange_url}):
            with boxd.Compute(api_url=local.api_url, **credential) as c:
                assert [one.name for one in c.secret.list()] == ["S"]
                assert c.box.create().exec("printenv", "S").stdout == "hush\n"
        with boxd.Compute(token=revoked.token, api_url=local.api_url) as c, pytest.raises(boxd.AuthenticationError):
            c.whoami()


def _claims(token: str) -> str:
    import base64

    payload = token.split(".")[1]
    return base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).decode()
