"""The calls that change a machine as a whole: what they send, and what they leave in the object."""

from __future__ import annotations

from typing import Any

import pytest

from boxd import aio
from boxd.aio import Box
from boxd.errors import InvalidArgumentError, UnsupportedError
from boxd.messages import vm, vm_lifecycle, vm_settings
from boxd.transport import RpcError, StatusCode
from tests.client.fakes import FakeChannel, session_with

pytestmark = pytest.mark.anyio

RECORD = vm.GetVmResponse(
    vm_id="vm-1",
    name="one",
    status="running",
    vcpu=2,
    memory_bytes=8 << 30,
    created_at=1_700_000_000,
    delete_at_ms=1_800_000_000_000,
    auto_hibernate_timeout_secs=14400,
    labels={"env": "ci"},
)
UNKNOWN = RpcError("", StatusCode.UNIMPLEMENTED, origin="server")


def box_on(channel: FakeChannel, record: Any = RECORD, *, full: bool = True) -> Box:
    return Box(session_with(channel), record, full=full)


def newer_fields(box: Box) -> tuple[Any, ...]:
    names = ("vcpu", "memory_bytes", "created_at", "delete_at_ms", "auto_hibernate_timeout_secs", "labels")
    return tuple(getattr(box, name) for name in names)


async def test_where_the_newer_fields_come_from() -> None:
    channel = FakeChannel()
    assert newer_fields(box_on(channel)) == (2, 8 << 30, 1_700_000_000, 1_800_000_000_000, 14400, {"env": "ci"})
    assert newer_fields(box_on(channel, full=False)) == (None, None, None, None, None, {"env": "ci"})
    older = vm.GetVmResponse(vm_id="vm-1", name="one", status="running")
    assert newer_fields(box_on(channel, older)) == (None, None, None, None, 0, {})
    made = vm.CreateVmResponse(vm_id="vm-1", name="one")
    assert newer_fields(box_on(channel, made, full=False)) == (None,) * 6


async def test_the_labels_of_a_box_are_a_copy() -> None:
    box = box_on(FakeChannel())
    assert box.labels is not None
    box.labels["x"] = "y"
    assert box.labels == {"env": "ci"}


async def test_hibernate_and_wake() -> None:
    channel = FakeChannel({"HibernateVm": vm_lifecycle.HibernateVmResponse(), "WakeVm": vm_lifecycle.WakeVmResponse()})
    box = box_on(channel)
    await box.hibernate()
    assert box.status == "hibernated"
    await box.wake()
    assert box.status == "running"
    assert channel.requests == [
        ("HibernateVm", vm_lifecycle.HibernateVmRequest(vm_id="vm-1")),
        ("WakeVm", vm_lifecycle.WakeVmRequest(vm_id="vm-1")),
    ]


async def test_rename() -> None:
    channel = FakeChannel({"RenameVm": vm_settings.RenameVmResponse(name="two")})
    box = box_on(channel)
    await box.rename("two")
    assert box.name == "two"
    assert channel.requests == [("RenameVm", vm_settings.RenameVmRequest(vm_id="vm-1", new_name="two"))]


async def test_a_name_that_is_taken() -> None:
    taken = RpcError("taken", StatusCode.ALREADY_EXISTS, origin="server")
    box = box_on(FakeChannel({"RenameVm": taken}))
    with pytest.raises(InvalidArgumentError, match="taken"):
        await box.rename("two")
    assert box.name == "one"


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ({"vcpu": 4}, {"vcpu": 4}),
        ({"memory": "16G"}, {"memory_bytes": 16 << 30}),
        ({"vcpu": 4, "memory": 1 << 30}, {"vcpu": 4, "memory_bytes": 1 << 30}),
    ],
)
async def test_resize(arguments: dict[str, Any], sent: dict[str, int]) -> None:
    channel = FakeChannel({"ResizeVm": vm_settings.ResizeVmResponse(vcpu=4, memory_bytes=16 << 30, rebooted=True)})
    box = box_on(channel)
    assert await box.resize(**arguments) == aio.ResizeResult(4, 16 << 30, True)
    assert (box.vcpu, box.memory_bytes) == (4, 16 << 30)
    assert channel.requests == [("ResizeVm", vm_settings.ResizeVmRequest(vm_id="vm-1", **sent))]


@pytest.mark.parametrize("arguments", [{}, {"memory": "lots"}, {"vcpu": -1}, {"memory": 0}])
async def test_a_resize_that_cannot_be(arguments: dict[str, Any]) -> None:
    channel = FakeChannel()
    with pytest.raises(ValueError, match=r"resize needs|not a size|vcpu=-1"):
        await box_on(channel).resize(**arguments)
    assert channel.requests == []


async def test_update_labels() -> None:
    channel = FakeChannel({"UpdateVmLabels": vm_settings.UpdateVmLabelsResponse(labels={"a": "1"})})
    box = box_on(channel)
    assert await box.update_labels({"a": "1"}, remove=["env"]) == {"a": "1"}
    assert box.labels == {"a": "1"}
    await box.update_labels(replace=True)
    assert [request for _, request in channel.requests] == [
        vm_settings.UpdateVmLabelsRequest(vm="vm-1", set={"a": "1"}, remove=["env"]),
        vm_settings.UpdateVmLabelsRequest(vm="vm-1", replace_all=True),
    ]
    with pytest.raises(TypeError, match="`remove` is one string"):
        await box.update_labels(remove="env")


async def test_timers() -> None:
    channel = FakeChannel(
        {
            "SetAutoSuspendTimeout": vm_settings.SetAutoSuspendTimeoutResponse(),
            "SetAutoHibernateTimeout": vm_settings.SetAutoHibernateTimeoutResponse(),
        }
    )
    box = box_on(channel)
    await box.set_auto_suspend(30)
    await box.set_auto_hibernate(0)
    assert (box.auto_suspend_timeout_secs, box.auto_hibernate_timeout_secs) == (30, 0)
    assert [request for _, request in channel.requests] == [
        vm_settings.SetAutoSuspendTimeoutRequest(vm_id="vm-1", timeout_secs=30),
        vm_settings.SetAutoHibernateTimeoutRequest(vm_id="vm-1", timeout_secs=0),
    ]
    for call in (box.set_auto_suspend, box.set_auto_hibernate):
        for value in (-1, 2**32):
            with pytest.raises(ValueError, match="timeout="):
                await call(value)
    assert len(channel.requests) == 2


async def test_delete_after() -> None:
    answers = [vm_settings.SetDeleteAfterResponse(delete_at_ms=at) for at in (1_700_000_000_000, 0, 5)]
    channel = FakeChannel({"SetDeleteAfter": answers})
    box = box_on(channel)
    assert await box.delete_after(3600) == box.delete_at_ms == 1_700_000_000_000
    assert await box.delete_after() is box.delete_at_ms is None
    assert await box.delete_after(cron="0 3 * * *") == 5
    assert [request for _, request in channel.requests] == [
        vm_settings.SetDeleteAfterRequest(vm_id="vm-1", delete_after_secs=3600),
        vm_settings.SetDeleteAfterRequest(vm_id="vm-1"),
        vm_settings.SetDeleteAfterRequest(vm_id="vm-1", delete_after_cron="0 3 * * *"),
    ]
    with pytest.raises(ValueError, match="not both"):
        await box.delete_after(1, "0 3 * * *")
    with pytest.raises(ValueError, match="seconds=-1"):
        await box.delete_after(-1)


@pytest.mark.parametrize(
    ("rpc", "call"),
    [
        ("HibernateVm", lambda box: box.hibernate()),
        ("WakeVm", lambda box: box.wake()),
        ("ResizeVm", lambda box: box.resize(vcpu=1)),
        ("UpdateVmLabels", lambda box: box.update_labels({})),
        ("SetDeleteAfter", lambda box: box.delete_after(1)),
    ],
)
async def test_an_older_server(rpc: str, call: Any) -> None:
    box = box_on(FakeChannel({rpc: UNKNOWN}))
    with pytest.raises(UnsupportedError, match=f"does not support {rpc}"):
        await call(box)
    assert newer_fields(box) == newer_fields(box_on(FakeChannel()))
    assert box.status == "running"
