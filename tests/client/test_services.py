"""The services beside machines: what each call sends, field by field, and what it makes of the answer."""

from __future__ import annotations

from typing import Any

import pytest

from boxd import aio
from boxd.aio import BoxConfig, Compute
from boxd.errors import BoxdError, NotFoundError, QuotaExceededError, UnsupportedError
from boxd.messages import api_key, disk, domain, template, var, vm
from boxd.messages.custom_domain import (
    AddCustomDomainRequest,
    AddCustomDomainResponse,
    ListCustomDomainsRequest,
    ListCustomDomainsResponse,
    RemoveCustomDomainRequest,
    RemoveCustomDomainResponse,
)
from boxd.messages.custom_domain_info import CustomDomainInfo
from boxd.messages.vm_config import VmConfig
from boxd.resources.box import Box
from boxd.transport import RpcError, StatusCode
from tests.client.fakes import FakeCall, FakeChannel, session_with
from tests.client.newer_cases import NEWER
from tests.client.service_cases import CASES, TEMPLATE, Case

pytestmark = pytest.mark.anyio

MACHINE = vm.GetVmResponse(vm_id="vm-1", name="one", status="running")
MISSING = RpcError("no such thing", StatusCode.NOT_FOUND, origin="server")
UNKNOWN = RpcError("", StatusCode.UNIMPLEMENTED, origin="server")


def client(channel: FakeChannel, org: str = "") -> Compute:
    made = Compute(token="test", api_url="http://localhost:1")
    made._session = session_with(channel, org=org)
    return made


def machine(channel: FakeChannel) -> Box:
    return Box(session_with(channel), MACHINE, full=True)


@pytest.mark.parametrize("case", [*CASES, *NEWER], ids=lambda case: case.rpc)
async def test_a_call(case: Case) -> None:
    channel = FakeChannel({case.rpc: case.response})
    assert await case.call(client(channel), machine(channel)) == case.result
    assert channel.requests == [(case.rpc, case.request)]
    assert bytes(channel.requests[0][1]) == bytes(case.request)  # Presence too.


async def test_reprs() -> None:
    c, box = client(FakeChannel()), machine(FakeChannel(calls=[FakeCall()]))
    names = [name for name, member in vars(aio.Compute).items() if isinstance(member, property)]
    services = [getattr(c, name) for name in names]
    assert [repr(one) for one in services] == [f"<{type(one).__name__} at http://localhost:1>" for one in services]
    for part in (box.files, box.ports, box.checkpoints, box.backups, box.stream_logs()):
        assert repr(part) == f"<{type(part).__name__} of 'vm-1'>"
    process = await box.exec("cat", stream=True)
    assert repr(process.stdin) == "<StreamWriter open>"
    assert repr((process.stdout, process.stderr)) == "(<StreamReader of stdout>, <StreamReader of stderr>)"
    assert repr(process.output()) == "<OutputReader of stdout and stderr>"
    await process.stdin.write_eof()
    assert repr(process.stdin) == "<StreamWriter closed>"


@pytest.mark.parametrize("case", [*CASES, *NEWER], ids=lambda case: case.rpc)
async def test_its_error(case: Case) -> None:
    full = RpcError("too many", StatusCode.RESOURCE_EXHAUSTED, origin="server")
    channel = FakeChannel({case.rpc: full})
    with pytest.raises(QuotaExceededError, match="too many"):
        await case.call(client(channel), machine(channel))


@pytest.mark.parametrize(("template_", "image"), [(TEMPLATE, "ubuntu"), ("t-1", "")], ids=["a Template", "an id"])
async def test_a_machine_from_a_template(template_: Any, image: str) -> None:
    made = template.CreateVmFromTemplateResponse(
        vm_id="vm-2", name="two", public_ip="192.0.2.2", url="two.boxd.sh", status="pending", boot_time_ms=5
    )
    channel = FakeChannel({"CreateVmFromTemplate": made})
    box = await client(channel).template.create_vm(template_, "two", BoxConfig(disk="1T"))
    assert channel.requests == [
        (
            "CreateVmFromTemplate",
            template.CreateVmFromTemplateRequest(template_id="t-1", name="two", config=VmConfig(disk_bytes=1 << 40)),
        )
    ]
    assert (box.id, box.name, box.public_ip, box.url, box.status) == (
        *("vm-2", "two", "192.0.2.2", "two.boxd.sh", "pending"),
    )
    assert (box.image, box.boot_time_ms, box.forked_from, box.labels) == (image, 5, None, None)


# Disks.


async def test_a_disk() -> None:
    channel = FakeChannel(
        {
            "CreateDisk": disk.CreateDiskResponse(disk_id="d-1", name="data", size_bytes=10 << 30, status="creating"),
            "AttachDisk": disk.AttachDiskResponse(),
            "DetachDisk": disk.DetachDiskResponse(),
            "DestroyDisk": disk.DestroyDiskResponse(),
            "GetVm": MACHINE,
        }
    )
    made = await client(channel).disk.create("data", "10G")
    assert (made.id, made.name, made.size_bytes, made.status) == ("d-1", "data", 10 << 30, "creating")
    assert made.attachments == []
    assert repr(made) == "<DiskHandle 'data' id='d-1' status='creating'>"
    await made.attach(machine(channel), "/data")
    await made.attach("one", "/data", read_only=True)
    await made.detach(machine(channel))
    await made.detach("one")
    await made.destroy()
    assert made.status == "destroyed"
    found = vm.GetVmRequest(vm_id="one")
    assert [request for _, request in channel.requests] == [
        disk.CreateDiskRequest(name="data", size_bytes=10 << 30),
        disk.AttachDiskRequest(disk_id="d-1", vm_id="vm-1", mount_path="/data"),
        found,
        disk.AttachDiskRequest(disk_id="d-1", vm_id="vm-1", mount_path="/data", read_only=True),
        disk.DetachDiskRequest(disk_id="d-1", vm_id="vm-1"),
        found,
        disk.DetachDiskRequest(disk_id="d-1", vm_id="vm-1"),
        disk.DestroyDiskRequest(disk_id="d-1"),
    ]


async def test_the_list_of_disks_tells_where_they_are() -> None:
    where = disk.DiskAttachment(vm_id="vm-1", vm_name="one", mount_path="/data", mount_mode="ro")
    info = disk.DiskInfo(disk_id="d-1", name="data", size_bytes=1, status="ready", attachments=[where])
    channel = FakeChannel({"ListDisks": disk.ListDisksResponse(disks=[info, disk.DiskInfo(disk_id="d-2")])})
    first, second = await client(channel).disk.list()
    assert first.attachments == [aio.DiskAttachment("vm-1", "one", "/data", "ro")]
    assert second.attachments == []
    assert first == aio.DiskHandle(session_with(channel), info) != second
    assert len({first, second}) == 2
    assert channel.requests == [("ListDisks", disk.ListDisksRequest())]


@pytest.mark.parametrize("size", ["", "lots", -1])
async def test_a_bad_size_of_a_disk_is_refused_before_any_call(size: Any) -> None:
    channel = FakeChannel()
    with pytest.raises(ValueError, match="not a size"):
        await client(channel).disk.create("data", size)
    assert channel.requests == []


async def test_a_disk_that_is_not_there_stays_as_it_was() -> None:
    attached = RpcError("it is attached", StatusCode.FAILED_PRECONDITION, origin="server")
    made = aio.DiskHandle(session_with(FakeChannel({"DestroyDisk": attached})), disk.DiskInfo(status="ready"))
    with pytest.raises(BoxdError, match="it is attached"):
        await made.destroy()
    assert made.status == "ready"


# Which machine is meant.


async def test_a_machine_by_name_where_the_service_finds_ids_only() -> None:
    tombstone = vm.GetVmResponse(vm_id="vm-0", name="one", status="destroyed")
    channel = FakeChannel(
        {
            "GetVm": MISSING,
            "ListVms": vm.ListVmsResponse(vms=[tombstone, MACHINE]),
            "BindDomain": domain.BindDomainResponse(),
        }
    )
    await client(channel, org="acme").domain.bind("www.example.org", "one")
    assert channel.requests == [
        ("GetVm", vm.GetVmRequest(vm_id="one")),
        ("ListVms", vm.ListVmsRequest(org="acme")),
        ("BindDomain", domain.BindDomainRequest(domain="www.example.org", vm_id="vm-1")),
    ]


async def test_a_machine_that_is_not_there() -> None:
    channel = FakeChannel({"GetVm": MISSING, "ListVms": vm.ListVmsResponse(vms=[MACHINE])})
    with pytest.raises(NotFoundError, match="no such thing"):
        await client(channel).domain.bind("www.example.org", "other")
    assert [name for name, _ in channel.requests] == ["GetVm", "ListVms"]


# Domains of both generations.


async def test_domains_of_a_newer_server() -> None:
    info = CustomDomainInfo(domain="www.example.org", vm_id="vm-1", status="pending", last_error="no record")
    channel = FakeChannel(
        {
            "BindDomain": UNKNOWN,
            "AddCustomDomain": AddCustomDomainResponse(),
            "ListCustomDomains": ListCustomDomainsResponse(domains=[info]),
            "RemoveCustomDomain": RemoveCustomDomainResponse(),
        }
    )
    c = client(channel)
    await c.domain.bind("www.example.org", machine(channel))
    assert await c.domain.list() == [aio.Domain("www.example.org", "vm-1", "pending", "no record")]
    await c.domain.unbind("www.example.org")
    assert channel.requests == [
        ("BindDomain", domain.BindDomainRequest(domain="www.example.org", vm_id="vm-1")),
        ("AddCustomDomain", AddCustomDomainRequest(vm_id="vm-1", domain="www.example.org")),
        ("ListCustomDomains", ListCustomDomainsRequest()),
        ("RemoveCustomDomain", RemoveCustomDomainRequest(domain="www.example.org")),
    ]


@pytest.mark.parametrize(
    ("older", "newer", "call"),
    [
        ("UnbindDomain", "RemoveCustomDomain", lambda c: c.domain.unbind("x.org")),
        ("ListDomains", "ListCustomDomains", lambda c: c.domain.list()),
    ],
)
async def test_domains_where_no_server_has_them(older: str, newer: str, call: Any) -> None:
    channel = FakeChannel({older: UNKNOWN, newer: UNKNOWN})
    with pytest.raises(UnsupportedError, match=newer):
        await call(client(channel))
    assert [name for name, _ in channel.requests] == [older, newer]


@pytest.mark.parametrize("case", NEWER, ids=lambda case: case.rpc)
async def test_a_newer_call_on_an_older_server(case: Case) -> None:
    channel = FakeChannel({case.rpc: UNKNOWN})
    with pytest.raises(UnsupportedError, match=f"does not support {case.rpc}") as caught:
        await case.call(client(channel), machine(channel))
    assert caught.value.grpc_code == 12


# Secrets stay secret, and arguments are checked.


@pytest.mark.parametrize(
    "value",
    [
        aio.Token("hush", 1),
        aio.ApiKey("k", "hush", 1),
        aio.EnvVariable("A", "hush", "all"),
        aio.OrgInvite("a@example.org", "member", "hush", "https://boxd.sh/invite/hush", 1, 2),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_repr_has_no_secret(value: Any) -> None:
    assert "hush" not in repr(value)
    assert "hush" not in str(value)


def test_a_secret_has_no_value() -> None:
    assert not hasattr(aio.Secret("A", "all", []), "value")


@pytest.mark.parametrize(
    "call", [lambda c: c.token.create(-1), lambda c: c.api_key.create("x", expires_in=-1)], ids=["token", "api_key"]
)
async def test_a_negative_time_is_refused_before_any_call(call: Any) -> None:
    channel = FakeChannel()
    with pytest.raises(ValueError, match="expires_in=-1"):
        await call(client(channel))
    assert channel.requests == []


async def test_the_client_s_organization_is_where_variables_and_keys_go() -> None:
    channel = FakeChannel(
        {"SetVar": var.VarReply(), "CreateApiKey": api_key.CreateApiKeyResponse(), "ListVars": var.VarListReply()}
    )
    c = client(channel, org="acme")
    await c.env.set("A", "1")
    await c.secret.set("B", "2")
    await c.secret.list()
    await c.api_key.create("k")
    await c.env.set("A", "1", org="")
    assert [request.org for _, request in channel.requests] == ["acme", "acme", "acme", "acme", ""]
    with pytest.raises(TypeError, match="`domains` is one string"):
        await c.secret.set("B", "2", domains="api.example.org")
