"""Labels, snapshots and ports of machines: what is more than one request and its answer."""

from __future__ import annotations

from typing import Any

import pytest

from boxd import aio
from boxd.aio import BoxConfig
from boxd.errors import InvalidArgumentError
from boxd.messages import port, vm, vm_fork
from boxd.resources.box import Box
from boxd.resources.boxes import BoxService
from boxd.transport import RpcError, StatusCode
from tests.client.fakes import FakeChannel, session_with

pytestmark = pytest.mark.anyio

MACHINE = vm.GetVmResponse(vm_id="vm-1", name="one", status="running")


def boxes(channel: FakeChannel) -> BoxService:
    return BoxService(session_with(channel))


def on(channel: FakeChannel) -> Box:
    return Box(session_with(channel), MACHINE, full=True)


async def test_labels_of_new_machines() -> None:
    channel = FakeChannel({"CreateVm": vm.CreateVmResponse(), "ForkVm": vm_fork.ForkVmResponse()})
    await boxes(channel).create(labels={"env": "ci"})
    await boxes(channel).fork(on(channel), labels={"env": "ci"})
    assert channel.requests == [
        ("CreateVm", vm.CreateVmRequest(labels={"env": "ci"})),
        ("ForkVm", vm_fork.ForkVmRequest(source_vm_id="vm-1", labels={"env": "ci"})),
    ]


async def test_a_list_by_labels() -> None:
    listed = vm.ListVmsResponse(
        vms=[
            vm.GetVmResponse(vm_id="vm-1", labels={"env": "ci", "job": "7"}),
            vm.GetVmResponse(vm_id="vm-2", labels={"env": "ci"}),
        ]
    )
    channel = FakeChannel({"ListVms": listed})
    found = await boxes(channel).list(labels={"env": "ci", "job": "7"})
    assert [box.id for box in found] == ["vm-1"]
    assert channel.requests == [("ListVms", vm.ListVmsRequest(label_selector=["env=ci", "job=7"]))]


async def test_an_older_server_lists_no_machine_with_a_label() -> None:
    """It ignores what it does not know and answers with all machines, which somebody may be about to destroy."""
    channel = FakeChannel({"ListVms": vm.ListVmsResponse(vms=[MACHINE])})
    assert await boxes(channel).list(labels={"env": "ci"}) == []
    assert len(await boxes(channel).list(labels={})) == 1


async def test_a_list_of_all_organizations() -> None:
    channel = FakeChannel({"ListVms": vm.ListVmsResponse()})
    await boxes(channel).list(all_orgs=True)
    assert channel.requests == [("ListVms", vm.ListVmsRequest(all_contexts=True))]


@pytest.mark.parametrize(
    "arguments",
    [
        {"image": "ubuntu"},
        {"shared": True},
        {"config": BoxConfig(env={"A": "b"})},
        {"config": BoxConfig(cmd=["x"])},
    ],
    ids=lambda arguments: next(iter(arguments)),
)
async def test_what_a_snapshot_excludes(arguments: dict[str, Any]) -> None:
    channel = FakeChannel()
    with pytest.raises(ValueError, match="with from_snapshot there is no"):
        await boxes(channel).create(from_snapshot="base", **arguments)
    assert channel.requests == []


# Ports.


async def test_ports() -> None:
    exposed = port.ExposePortResponse(
        vm_name="one", dns="one.boxd.sh", public_port=40000, vm_port=5432, protocol="tcp", vm_id="vm-1"
    )
    channel = FakeChannel({"ExposePort": exposed, "UnexposePort": port.UnexposePortResponse(forward=exposed)})
    ports = on(channel).ports
    assert await ports.expose(5432) == aio.ExposedPort("one", "one.boxd.sh", 40000, 5432, "tcp")
    await ports.expose(53, "udp")
    assert await ports.unexpose(5432) is None
    assert channel.requests == [
        ("ExposePort", port.ExposePortRequest(vm_id="vm-1", vm_port=5432, protocol="tcp")),
        ("ExposePort", port.ExposePortRequest(vm_id="vm-1", vm_port=53, protocol="udp")),
        ("UnexposePort", port.UnexposePortRequest(vm_id="vm-1", vm_port=5432)),
    ]


@pytest.mark.parametrize(
    "call",
    [
        lambda ports: ports.expose(0),
        lambda ports: ports.expose(65536),
        lambda ports: ports.unexpose(-1),
        lambda ports: ports.expose(80, "icmp"),
    ],
)
async def test_a_port_that_cannot_be(call: Any) -> None:
    channel = FakeChannel()
    with pytest.raises(ValueError, match=r"use 1 to 65535|use 'tcp' or 'udp'"):
        await call(on(channel).ports)
    assert channel.requests == []


async def test_the_ports_of_one_machine_where_the_server_lists_those_of_all() -> None:
    def forward(vm_id: str, vm_name: str, vm_port: int) -> port.ExposePortResponse:
        return port.ExposePortResponse(vm_id=vm_id, vm_name=vm_name, vm_port=vm_port)

    listed = [
        forward("vm-1", "before-it-was-renamed", 1),
        forward("vm-2", "one", 2),
        forward("", "one", 3),
        forward("", "two", 4),
    ]
    channel = FakeChannel({"ListExposedPorts": port.ListExposedPortsResponse(forwards=listed)})
    assert [one.port for one in await on(channel).ports.list()] == [1, 3]
    assert channel.requests == [("ListExposedPorts", port.ListExposedPortsRequest(vm="vm-1"))]


async def test_a_port_that_is_exposed_already() -> None:
    taken = RpcError("it is exposed", StatusCode.ALREADY_EXISTS, origin="server")
    with pytest.raises(InvalidArgumentError, match="it is exposed"):
        await on(FakeChannel({"ExposePort": taken})).ports.expose(80)
