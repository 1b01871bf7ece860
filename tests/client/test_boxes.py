"""Machines: making and finding them, their lifecycle, readiness, proxies and logs."""

from __future__ import annotations

import gc
from typing import Any

import anyio
import pytest

import boxd
from boxd import aio
from boxd.aio import Box, BoxConfig, LifecycleConfig, NetworkConfig, ProxyEntry, VolumeMount
from boxd.errors import BoxdError, InvalidArgumentError, NotFoundError, TimeoutError
from boxd.messages import logs, org, proxy, vm, vm_config, vm_fork, vm_lifecycle, vm_sharing
from boxd.messages.exec import ExecChunk
from boxd.resources.boxes import BoxService
from boxd.transport import RpcError, StatusCode
from boxd.types.identity import OrgSummary
from boxd.types.networking import Proxy
from tests.client.fakes import FakeCall, FakeChannel, session_with

both = pytest.mark.anyio

CREATED = vm.CreateVmResponse(
    vm_id="vm-1", name="one", public_ip="192.0.2.1", url="one.boxd.sh", image="img", status="pending", boot_time_ms=12
)
FORKED = vm_fork.ForkVmResponse(
    vm_id="vm-2", name="two", public_ip="192.0.2.2", url="two.boxd.sh", image="img", status="running", boot_time_ms=3
)
FORKED.forked_from = "vm-1"
RECORD = vm.GetVmResponse(
    vm_id="vm-1",
    name="one",
    image_ref="img",
    public_ip="192.0.2.1",
    status="running",
    restart_policy="always",
    disk_bytes=100,
    auto_suspend_timeout_secs=0,
    ssh_port=2222,
    boot_time_ms=99,
)
MISSING = RpcError("no such machine", StatusCode.NOT_FOUND, origin="server")
FIELDS = ("url", "boot_time_ms", "forked_from", "restart_policy", "disk_bytes", "auto_suspend_timeout_secs", "ssh_port")


def fields(box: Box) -> dict[str, Any]:
    return {name: value for name in FIELDS if (value := getattr(box, name)) is not None}


def service(channel: FakeChannel, **options: Any) -> BoxService:
    return BoxService(session_with(channel, **options))


@both
async def test_create_with_nothing_sends_nothing() -> None:
    channel = FakeChannel({"CreateVm": CREATED})
    box = await service(channel).create()
    assert channel.requests == [("CreateVm", vm.CreateVmRequest())]
    assert (box.id, box.name, box.image, box.public_ip, box.status) == ("vm-1", "one", "img", "192.0.2.1", "pending")
    assert fields(box) == {"url": "one.boxd.sh", "boot_time_ms": 12}
    assert repr(box) == "<Box 'one' id='vm-1' status='pending'>"


@both
async def test_create_with_everything() -> None:
    channel = FakeChannel({"CreateVm": CREATED})
    config = BoxConfig(
        2,
        "4G",
        "10GiB",
        {"A": "b"},
        ["run", "it"],
        "never",
        LifecycleConfig(0, 60),
        NetworkConfig(False, [ProxyEntry("api", 3000)]),
        [VolumeMount("d-1", "/mnt", True)],
    )
    await service(channel, org="acme").create("n", "i", config, shared=True)
    assert channel.requests[0][1] == vm.CreateVmRequest(
        name="n",
        image_ref="i",
        env=[vm_config.EnvVar(key="A", value="b")],
        cmd=["run", "it"],
        restart_policy="never",
        org="acme",
        shared=True,
        config=vm_config.VmConfig(
            vcpu=2,
            memory_bytes=4 << 30,
            disk_bytes=10 << 30,
            srf=vm_config.SrfConfig(auto_suspend_timeout_secs=0, auto_destroy_timeout_secs=60),
            network=vm_config.NetworkConfig(ssh=False, proxies=[vm_config.ProxyEntry(name="api", port=3000)]),
            volumes=[vm_config.VolumeMount(disk_id="d-1", mount_path="/mnt", read_only=True)],
        ),
    )


@both
async def test_an_empty_config_sends_the_policy_only() -> None:
    channel = FakeChannel({"CreateVm": CREATED})
    await service(channel).create(config=BoxConfig())
    assert channel.requests[0][1] == vm.CreateVmRequest(restart_policy="always")


@both
async def test_an_explicit_zero_switches_suspending_off() -> None:
    channel = FakeChannel({"CreateVm": CREATED})
    await service(channel).create(config=BoxConfig(lifecycle=LifecycleConfig()))
    request = channel.requests[0][1]
    assert request.config.srf.auto_suspend_timeout_secs == 0
    assert b"\x08\x00" in bytes(request.config.srf)


@both
@pytest.mark.parametrize("size", ["lots", "8X", -1])
async def test_a_bad_size_is_refused_before_any_call(size: Any) -> None:
    channel = FakeChannel()
    for config in (BoxConfig(memory=size), BoxConfig(disk=size)):
        with pytest.raises(ValueError, match="not a size"):
            await service(channel).create(config=config)
    assert channel.requests == []


@both
@pytest.mark.parametrize(
    ("own", "argument", "sent"), [("", None, ""), ("a", None, "a"), ("a", "b", "b"), ("a", "", "")]
)
async def test_the_organization_of_a_call(own: str, argument: str | None, sent: str) -> None:
    channel = FakeChannel({"CreateVm": CREATED, "ListVms": vm.ListVmsResponse()})
    boxes = service(channel, org=own)
    await boxes.create(org=argument)
    await boxes.list(org=argument)
    assert [request.org for _, request in channel.requests] == [sent, sent]


@both
async def test_list() -> None:
    channel = FakeChannel({"ListVms": vm.ListVmsResponse(vms=[RECORD, vm.GetVmResponse(vm_id="vm-9")])})
    boxes = await service(channel).list()
    assert [box.id for box in boxes] == ["vm-1", "vm-9"]
    assert [fields(box) for box in boxes] == [{}, {}]
    assert boxes[0].image == "img"


@both
async def test_get() -> None:
    box = await service(FakeChannel({"GetVm": RECORD})).get("vm-1")
    assert fields(box) == {
        "restart_policy": "always",
        "disk_bytes": 100,
        "auto_suspend_timeout_secs": 0,
        "ssh_port": 2222,
    }
    pending = await service(FakeChannel({"GetVm": vm.GetVmResponse(vm_id="x")})).get("x")
    assert pending.ssh_port is None


@both
@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"vcpu": 2}, "config is of type dict: use a BoxConfig"),
        (BoxConfig(lifecycle={"auto_suspend_timeout": 1}), "config.lifecycle .* use a LifecycleConfig"),  # type: ignore
        (BoxConfig(network={"ssh": True}), "config.network .* use a NetworkConfig"),  # type: ignore[arg-type]
        (BoxConfig(env=["A=b"]), "config.env is of type list: use a Mapping"),  # type: ignore[arg-type]
        (BoxConfig(cmd="run it"), "config.cmd is one string: give a list"),  # type: ignore[arg-type]
    ],
    ids=str,
)
async def test_a_config_that_is_none(config: Any, message: str) -> None:
    channel = FakeChannel()
    with pytest.raises(TypeError, match=message):
        await service(channel).create(config=config)
    assert channel.requests == []


@both
async def test_what_is_no_machine() -> None:
    channel = FakeChannel()
    box = Box(session_with(channel), CREATED, full=False)
    for wrong in (None, 5, ["one"]):
        with pytest.raises(TypeError, match="a name or an id"):
            await service(channel).fork(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"not as boxd\.blocking\.box\.Box"):
        await service(channel).fork(boxd.Box._wrap(box))  # type: ignore[arg-type]
    for wrong in (None, box):
        with pytest.raises(TypeError, match="use a name or an id"):
            await service(channel).get(wrong)  # type: ignore[arg-type]
    assert channel.requests == []


@both
async def test_get_by_name_where_the_service_finds_ids_only() -> None:
    tombstone = vm.GetVmResponse(vm_id="vm-0", name="one", status="destroyed")
    channel = FakeChannel({"GetVm": [MISSING, RECORD], "ListVms": vm.ListVmsResponse(vms=[tombstone, RECORD])})
    box = await service(channel).get("one", org="acme")
    assert box.ssh_port == 2222
    assert channel.requests == [
        ("GetVm", vm.GetVmRequest(vm_id="one")),
        ("ListVms", vm.ListVmsRequest(org="acme")),
        ("GetVm", vm.GetVmRequest(vm_id="vm-1")),
    ]


@both
async def test_get_of_what_is_not_there() -> None:
    with pytest.raises(NotFoundError, match="no such machine") as caught:
        await service(FakeChannel({"GetVm": MISSING, "ListVms": vm.ListVmsResponse(vms=[RECORD])})).get("other")
    assert caught.value.grpc_code == 5


@both
@pytest.mark.parametrize("source", ["one", Box(session_with(FakeChannel()), CREATED, full=False)])
async def test_fork(source: Any) -> None:
    channel = FakeChannel({"GetVm": RECORD, "ForkVm": FORKED})
    box = await service(channel).fork(source, name="two", config=BoxConfig(vcpu=4))
    assert fields(box) == {"url": "two.boxd.sh", "boot_time_ms": 3, "forked_from": "vm-1"}
    request = vm_fork.ForkVmRequest(source_vm_id="vm-1", name="two", config=vm_config.VmConfig(vcpu=4))
    assert channel.requests[-1] == ("ForkVm", request)


@both
async def test_list_orgs() -> None:
    orgs = org.ListOrgsResponse(orgs=[org.OrgSummary(id="o", name="Acme", is_admin=True)])
    assert await service(FakeChannel({"ListOrgs": orgs})).list_orgs() == [OrgSummary("o", "Acme", True)]


@both
async def test_lifecycle() -> None:
    channel = FakeChannel(
        {
            "StartVm": vm_lifecycle.StartVmResponse(),
            "StopVm": vm_lifecycle.StopVmResponse(),
            "RebootVm": vm_lifecycle.RebootVmResponse(),
            "DestroyVm": vm_lifecycle.DestroyVmResponse(),
            "SuspendVm": vm_lifecycle.SuspendVmResponse(suspend_us=7),
            "ResumeVm": vm_lifecycle.ResumeVmResponse(resume_us=8),
            "ShareVm": vm_sharing.ShareVmResponse(),
            "UnshareVm": vm_sharing.UnshareVmResponse(),
        }
    )
    box = Box(session_with(channel), CREATED, full=False)
    for method, status in [
        ("stop", "stopped"),
        ("start", "running"),
        ("suspend", "suspended"),
        ("resume", "running"),
        ("reboot", "running"),
        ("share", "running"),
        ("unshare", "running"),
        ("destroy", "destroyed"),
    ]:
        await getattr(box, method)()
        assert box.status == status
        name, request = channel.requests[-1]
        assert name == f"{method.title()}Vm"
        assert request.vm_id == "vm-1"
    assert await box.suspend() == aio.SuspendResult(7)
    assert await box.resume() == aio.ResumeResult(8)


@both
async def test_a_failed_lifecycle_call_leaves_the_status() -> None:
    stopped = RpcError("it is stopped", StatusCode.FAILED_PRECONDITION, origin="server")
    box = Box(session_with(FakeChannel({"SuspendVm": stopped})), CREATED, full=False)
    with pytest.raises(BoxdError, match="it is stopped") as caught:
        await box.suspend()
    assert caught.value.grpc_code == 9
    assert box.status == "pending"


def test_boxes_are_equal_by_id() -> None:
    session = session_with(FakeChannel())
    one, again = Box(session, CREATED, full=False), Box(session, RECORD, full=True)
    assert one == again
    assert hash(one) == hash(again)
    assert one != Box(session, FORKED, full=False)
    assert one != "vm-1"


# Readiness.


def record(status: str) -> vm.GetVmResponse:
    return vm.GetVmResponse(vm_id="vm-1", name="one", status=status, public_ip="192.0.2.9")


@both
async def test_ready_is_running_and_a_command_that_works() -> None:
    starting = RpcError("it is starting", StatusCode.FAILED_PRECONDITION, origin="server")
    calls = [FakeCall([starting]), FakeCall([ExecChunk(exit_code=1)]), FakeCall([ExecChunk()])]
    channel = FakeChannel({"GetVm": [record("pending"), *[record("running")] * 4]}, calls)
    box = Box(session_with(channel), CREATED, full=False)
    with anyio.fail_after(5):
        await box.wait_until_ready(poll_interval=0.001)
    assert box.status == "running"
    assert box.public_ip == "192.0.2.9"
    # After the command that failed, one more question: whether the machine is off.
    asked = ["GetVm", *["GetVm", "Exec", "GetVm"], *["GetVm", "Exec"], *["GetVm", "Exec"]]
    assert [name for name, _ in channel.requests] == asked
    assert calls[-1].sent[0].command == "true"


@both
@pytest.mark.parametrize("status", ["destroyed", "failed", "stopped"])
async def test_a_machine_that_will_not_become_ready(status: str) -> None:
    channel = FakeChannel({"GetVm": [record("starting"), record(status)]})
    box = Box(session_with(channel), CREATED, full=False)
    with anyio.fail_after(5), pytest.raises(BoxdError, match=status):
        await box.wait_until_ready(poll_interval=0.001)
    assert box.status == status


@both
@pytest.mark.parametrize("timeout", [0, 0.02])
async def test_readiness_has_a_timeout(timeout: float) -> None:
    box = Box(session_with(FakeChannel({"GetVm": lambda request: record("starting")})), CREATED, full=False)
    with anyio.fail_after(5), pytest.raises(TimeoutError, match="not ready"):
        await box.wait_until_ready(timeout=timeout, poll_interval=0.001)


@both
async def test_the_timeout_tells_why_no_command_ran() -> None:
    refused = RpcError("no shell", StatusCode.INTERNAL, origin="server")
    channel = FakeChannel(
        {"GetVm": lambda request: record("running")}, [FakeCall([refused]), FakeCall([anyio.Event()])]
    )
    box = Box(session_with(channel), CREATED, full=False)
    with anyio.fail_after(5), pytest.raises(TimeoutError, match="no command") as caught:
        await box.wait_until_ready(timeout=0.1, poll_interval=0.001)
    assert "no shell" in str(caught.value.__cause__)


@both
async def test_an_error_that_waiting_does_not_cure() -> None:
    bad = RpcError("bad", StatusCode.INVALID_ARGUMENT, origin="server")
    box = Box(session_with(FakeChannel({"GetVm": record("running")}, [FakeCall([bad])])), CREATED, full=False)
    with anyio.fail_after(5), pytest.raises(InvalidArgumentError):
        await box.wait_until_ready()


# Proxies and logs.


@both
async def test_proxies() -> None:
    info = proxy.ProxyInfo(name="", vm_name="one", domain="one.boxd.sh", port=8000, is_default=True)
    channel = FakeChannel(
        {
            "ListProxies": proxy.ListProxiesResponse(proxies=[info]),
            "CreateProxy": proxy.CreateProxyResponse(name="api", vm_name="one", domain="api.one.boxd.sh", port=3001),
            "SetProxyPort": proxy.SetProxyPortResponse(),
            "DeleteProxy": proxy.DeleteProxyResponse(),
        }
    )
    box = Box(session_with(channel), CREATED, full=False)
    assert await box.proxies() == [Proxy("", "one", "one.boxd.sh", 8000, True)]
    assert await box.create_proxy("api", port=3001) == Proxy("api", "one", "api.one.boxd.sh", 3001, False)
    await box.set_proxy_port(port=3000)
    await box.set_proxy_port(3001, name="api")
    await box.delete_proxy("api")
    assert [request for _, request in channel.requests] == [
        proxy.ListProxiesRequest(vm_name="one", vm="vm-1"),
        proxy.CreateProxyRequest(name="api", vm_name="one", vm="vm-1", port=3001),
        proxy.SetProxyPortRequest(name="", vm_name="one", vm="vm-1", port="3000"),
        proxy.SetProxyPortRequest(name="api", vm_name="one", vm="vm-1", port="3001"),
        proxy.DeleteProxyRequest(name="api", vm_name="one", vm="vm-1"),
    ]
    with pytest.raises(ValueError, match="65536"):
        await box.create_proxy("x", 65536)


@both
async def test_logs() -> None:
    call = FakeCall([[logs.LogChunk(data=b"a"), logs.LogChunk(data=b"b")], logs.LogChunk(), logs.LogChunk(data=b"c")])
    channel = FakeChannel(calls=[call])
    stream = Box(session_with(channel), CREATED, full=False).stream_logs(follow=True)
    assert channel.requests == []
    assert [piece async for piece in stream] == [b"a", b"b", b"c"]
    assert call.sent == [logs.StreamLogsRequest(vm_id="vm-1", follow=True)]


@both
async def test_leaving_logs_ends_the_call() -> None:
    call = FakeCall([[logs.LogChunk(data=b"a"), logs.LogChunk(data=b"b")], anyio.Event()])
    async with Box(session_with(FakeChannel(calls=[call])), CREATED, full=False).stream_logs() as stream:
        async for piece in stream:
            assert piece == b"a"
            break
    assert call.cancelled
    assert [piece async for piece in stream] == []
    await stream.close()
    gc.collect()
