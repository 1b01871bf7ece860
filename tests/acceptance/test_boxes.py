"""Making and finding machines."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

import boxd
from boxd import BoxConfig, LifecycleConfig, NetworkConfig, OrgSummary, ProxyEntry
from tests.acceptance.conftest import Connect
from tests.conftest import StartServer

pytestmark = pytest.mark.anyio

# Which fields are known, by where a box comes from: the table of the API.
EVERYWHERE = {"id", "name", "image", "public_ip", "status"}
WHEN_MADE = {"url", "boot_time_ms"}
FULL = {"restart_policy", "disk_bytes", "auto_suspend_timeout_secs"}
FIELDS = EVERYWHERE | WHEN_MADE | FULL | {"forked_from", "ssh_port"}


def known(box: Any) -> set[str]:
    return {name for name in FIELDS if getattr(box, name) is not None}


@pytest.fixture
async def name(client: Any) -> AsyncIterator[str]:
    """A name; boxes whose names begin with it are destroyed at the end."""
    prefix = f"t-{secrets.token_hex(6)}"
    yield prefix
    with anyio.CancelScope(shield=True):
        for org in ("", "local"):
            for box in await client.box.list(org):
                if box.name.startswith(prefix):
                    await box.destroy()


async def test_create(client: Any, name: str) -> None:
    box = await client.box.create(name=name)
    assert known(box) == EVERYWHERE | WHEN_MADE
    zone = (await client.config()).zone
    assert (box.name, box.status, box.url) == (name, "running", f"{name}.{zone}")
    assert repr(box) == f"<Box {name!r} id={box.id!r} status='running'>"


async def test_the_service_names_a_box_that_has_no_name(new_box: Any) -> None:
    assert new_box.name
    assert new_box.name != new_box.id


async def test_get_by_id_and_by_name(client: Any, name: str) -> None:
    made = await client.box.create(name=name, image="ubuntu:24.04")
    for key in (made.id, made.name):
        box = await client.box.get(key)
        assert known(box) >= EVERYWHERE | FULL
        assert known(box) <= EVERYWHERE | FULL | {"ssh_port"}
        assert (box.id, box.name, box.image, box.status) == (made.id, name, "ubuntu:24.04", "running")
        assert box.restart_policy == "always"
        assert box == made
        assert hash(box) == hash(made)


async def test_list(client: Any, name: str) -> None:
    made = await client.box.create(name=name)
    found = [box for box in await client.box.list() if box.name == name]
    assert found == [made]
    assert known(found[0]) == EVERYWHERE
    await found[0].destroy()
    assert [box for box in await client.box.list() if box.name == name] == []


async def test_a_box_that_is_not_there(client: Any) -> None:
    with pytest.raises(boxd.NotFoundError, match="nowhere") as caught:
        await client.box.get("nowhere")
    assert caught.value.grpc_code == 5
    with pytest.raises(boxd.NotFoundError, match="nowhere"):
        await client.box.fork("nowhere")


@pytest.mark.parametrize("kind", ["emulator", "grpcio"])
async def test_a_server_that_finds_no_names(compute: Connect, start_server: StartServer, kind: str) -> None:
    with start_server(kind, get_by_name=False) as old:
        async with compute(**old.settings) as client:
            made = await client.box.create(name="by-name")
            box = await client.box.get("by-name")
            assert box == made
            assert known(box) >= FULL
            with pytest.raises(boxd.NotFoundError, match="another"):
                await client.box.get("another")
            assert (await client.box.fork("by-name")).forked_from == made.id


@pytest.mark.parametrize("by", ["box", "name", "id"])
async def test_fork(client: Any, name: str, by: str) -> None:
    source = await client.box.create(name=name)
    await source.write_file(b"inherited", "file")
    copy = await client.box.fork({"box": source, "name": source.name, "id": source.id}[by], name=f"{name}-copy")
    assert known(copy) == EVERYWHERE | WHEN_MADE | {"forked_from"}
    assert (copy.name, copy.status, copy.forked_from) == (f"{name}-copy", "running", source.id)
    assert copy != source
    assert (await copy.exec("cat", "file")).stdout == "inherited"
    await copy.write_file(b"changed", "file")
    assert await source.read_file("file") == b"inherited"


async def test_a_fork_is_named_after_its_source(client: Any, name: str) -> None:
    source = await client.box.create(name=name)
    assert (await client.box.fork(source)).name == f"{name}-fork"
    with pytest.raises(boxd.InvalidArgumentError, match="taken") as caught:
        await client.box.fork(source)
    assert caught.value.grpc_code == 6


@pytest.mark.parametrize("bad", ["Upper", "under_score", "-dash", "dash-", "a" * 64, "dot.dot"])
async def test_bad_names(client: Any, bad: str) -> None:
    with pytest.raises(boxd.InvalidArgumentError, match="name") as caught:
        await client.box.create(name=bad)
    assert caught.value.grpc_code == 3


async def test_a_name_that_is_taken_and_then_free(client: Any, name: str) -> None:
    first = await client.box.create(name=name)
    with pytest.raises(boxd.InvalidArgumentError, match="taken") as caught:
        await client.box.create(name=name)
    assert caught.value.grpc_code == 6
    await first.destroy()
    assert await client.box.create(name=name) != first


@pytest.mark.parametrize(
    ("config", "value"),
    [
        (BoxConfig(memory="lots"), "'lots'"),
        (BoxConfig(disk="8X"), "'8X'"),
        (BoxConfig(memory="-1G"), "'-1G'"),
        (BoxConfig(disk=-5), "-5"),
    ],
)
async def test_a_bad_size_is_refused_before_any_call(client: Any, name: str, config: BoxConfig, value: str) -> None:
    with pytest.raises(ValueError, match=value):
        await client.box.create(name=name, config=config)
    assert name not in [box.name for box in await client.box.list()]


async def test_a_configuration(client: Any, name: str) -> None:
    config = BoxConfig(
        vcpu=4,
        memory="2G",
        disk="10GiB",
        env={"GREETING": "hello box"},
        restart_policy="never",
        lifecycle=LifecycleConfig(auto_suspend_timeout=600),
        network=NetworkConfig(proxies=[ProxyEntry("web", 3000)]),
    )
    box = await client.box.get((await client.box.create(name=name, config=config)).id)
    assert (box.disk_bytes, box.restart_policy, box.auto_suspend_timeout_secs) == (10 << 30, "never", 600)
    assert (await box.exec("printenv", "GREETING")).stdout == "hello box\n"
    copy = await client.box.fork(box, config=BoxConfig(disk="20G"))
    assert (await client.box.get(copy.id)).disk_bytes == 20 << 30


async def test_a_size_above_the_limit(client: Any, name: str) -> None:
    with pytest.raises(boxd.QuotaExceededError) as caught:
        await client.box.create(name=name, config=BoxConfig(memory="1T"))
    assert caught.value.grpc_code == 8


@pytest.mark.parametrize("kind", ["emulator", "grpcio"])
async def test_the_quota(compute: Connect, start_server: StartServer, kind: str) -> None:
    with start_server(kind, max_boxes=1) as small:
        async with compute(**small.settings) as client:
            first = await client.box.create()
            with pytest.raises(boxd.QuotaExceededError, match="limit of 1"):
                await client.box.create()
            with pytest.raises(boxd.QuotaExceededError):
                await client.box.fork(first)
            await first.destroy()
            await client.box.create()


async def test_organizations(client: Any, compute: Connect, server: Any, name: str) -> None:
    assert OrgSummary("org-local", "local", True) in await client.box.list_orgs()
    theirs = await client.box.create(name=name, org="local", shared=True)
    assert theirs in await client.box.list("local")
    assert theirs not in await client.box.list()
    assert await client.box.get(name, org="local") == theirs
    async with compute(**server.settings, org="local") as member:
        assert theirs in await member.box.list()
        assert theirs not in await member.box.list(org="")
        mine = await member.box.create(name=f"{name}-mine")
        assert mine in await client.box.list("local")
    with pytest.raises(boxd.NotFoundError, match="nobody"):
        await client.box.list("nobody")


async def test_whoami_and_config(client: Any) -> None:
    me = await client.whoami()
    assert me.user_id == "local-user"
    assert all(fingerprint.startswith("SHA256:") for fingerprint in me.fingerprints)
    config = await client.config()
    assert config.default_image == "ubuntu:latest"
    assert re.fullmatch(r"localhost:\d+", config.zone)
