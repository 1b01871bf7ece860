"""Domains, networks and exposed ports."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

import boxd
from tests.acceptance.conftest import Connect
from tests.conftest import StartServer
from tests.fixtures.servers import Server

pytestmark = pytest.mark.anyio


async def test_domains(client: Any, box: Any, new_box: Any) -> None:
    names = [f"{secrets.token_hex(4)}.example.org" for _ in range(2)]
    assert await client.domain.bind(names[0], box) is None
    await client.domain.bind(names[1], box.name)
    found = {one.domain: one.vm_id for one in await client.domain.list()}
    assert {name: found.get(name) for name in names} == dict.fromkeys(names, box.id)
    await client.domain.bind(names[0], box.id)
    with pytest.raises(boxd.InvalidArgumentError):  # It is taken.
        await client.domain.bind(names[0], new_box)
    for name in names:
        assert await client.domain.unbind(name) is None
    assert not {one.domain for one in await client.domain.list()} & {*names}


async def test_a_domain_that_cannot_be(client: Any, box: Any) -> None:
    with pytest.raises(boxd.NotFoundError):
        await client.domain.unbind("nobody.example.org")
    with pytest.raises(boxd.NotFoundError, match="nowhere"):
        await client.domain.bind("www.example.org", "nowhere")
    with pytest.raises(boxd.InvalidArgumentError):
        await client.domain.bind("no domain", box)


async def test_networks(client: Any) -> None:
    made = await client.network.create(f"net-{secrets.token_hex(4)}")
    assert made == boxd.Network(made.id)
    (found,) = [one for one in await client.network.list() if one.id == made.id]
    assert found.subnet
    assert found.status
    unnamed = await client.network.create()
    assert unnamed.id != made.id
    assert (await client.whoami()).default_network_id


async def test_the_networks_of_a_machine(client: Any, new_box: Any) -> None:
    network = await client.network.create()
    assert await new_box.set_networks([network.id]) == [network.id]
    with pytest.raises(boxd.NotFoundError):
        await new_box.set_networks(["net-nowhere"])


async def test_what_a_machine_may_reach(new_box: Any) -> None:
    assert await new_box.set_egress_allow(["example.org"]) == ["example.org"]
    assert await new_box.set_egress_allow([]) == []


async def test_proxies(new_box: Any) -> None:
    (default,) = await new_box.proxies()
    assert (default.name, default.vm_name, default.port, default.is_default) == ("", new_box.name, 8000, True)
    assert default.domain == new_box.url
    made = await new_box.create_proxy("api", 3000)
    assert (made.name, made.vm_name, made.port) == ("api", new_box.name, 3000)
    assert made.domain == f"api.{default.domain}"
    await new_box.set_proxy_port(4000, "api")
    await new_box.set_proxy_port(5000)
    assert {one.name: one.port for one in await new_box.proxies()} == {"": 5000, "api": 4000}
    await new_box.delete_proxy("api")
    assert [one.name for one in await new_box.proxies()] == [""]


async def test_proxies_that_cannot_be(new_box: Any) -> None:
    await new_box.create_proxy("api")
    with pytest.raises(boxd.InvalidArgumentError):  # It is taken.
        await new_box.create_proxy("api")
    with pytest.raises(boxd.InvalidArgumentError):
        await new_box.create_proxy("No_label")
    with pytest.raises(boxd.NotFoundError):
        await new_box.delete_proxy("web")
    with pytest.raises(boxd.NotFoundError):
        await new_box.set_proxy_port(3000, "default")


async def test_ports(client: Any, new_box: Any) -> None:
    made = await new_box.ports.expose(5432)
    assert (made.vm_name, made.port, made.protocol) == (new_box.name, 5432, "tcp")
    assert 0 < made.public_port < 65536
    assert made.host
    assert await new_box.ports.list() == [made]
    assert await new_box.ports.unexpose(5432) is None
    assert await new_box.ports.list() == []
    with pytest.raises(boxd.NotFoundError):
        await new_box.ports.unexpose(5432)


async def test_more_ports_than_a_machine_may_have(new_box: Any) -> None:
    for port in (1001, 1002, 1003):
        await new_box.ports.expose(port)
    with pytest.raises(boxd.QuotaExceededError):
        await new_box.ports.expose(1004)


# A server of one generation has one of the two ways to bind domains.


@pytest.mark.parametrize("missing", [{"generation": 1}, {"older_rpcs": False}], ids=["older", "newer"])
async def test_domains_of_one_generation(
    request: pytest.FixtureRequest, start_server: StartServer, server: Server, compute: Connect, missing: dict[str, Any]
) -> None:
    with start_server(server.kind, **missing) as one:
        async with compute(**one.settings) as c:
            box = await c.box.create()
            await c.domain.bind("www.example.org", box)
            assert [(one.domain, one.vm_id) for one in await c.domain.list()] == [("www.example.org", box.id)]
            await c.domain.unbind("www.example.org")
            assert await c.domain.list() == []
            with pytest.raises(boxd.NotFoundError):
                await c.domain.unbind("www.example.org")
            await box.destroy()


async def test_templates_of_a_newer_server(start_server: StartServer, server: Server, compute: Connect) -> None:
    with start_server(server.kind, older_rpcs=False) as newer:
        async with compute(**newer.settings) as c:
            with pytest.raises(boxd.UnsupportedError, match="does not support ListTemplates"):
                await c.template.list()
