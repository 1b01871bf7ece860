"""What newer servers do with machines: names, sizes, labels, timers, hibernation, snapshots, checkpoints."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Any

import pytest

import boxd
from tests.acceptance.conftest import Connect
from tests.acceptance.shell import sh, until
from tests.conftest import StartServer
from tests.fixtures.servers import Server

pytestmark = pytest.mark.anyio


async def becomes(client: Any, box: Any, status: str) -> None:
    """Wait until the service says that the box has a status."""

    async def has() -> bool:
        return bool((await client.box.get(box.id)).status == status)

    await until(has)


async def test_rename(client: Any, new_box: Any, box: Any) -> None:
    name = f"renamed-{secrets.token_hex(4)}"
    before = new_box.name
    assert await new_box.rename(name) is None
    assert new_box.name == (await client.box.get(new_box.id)).name == name
    assert await client.box.get(name) == new_box
    with pytest.raises(boxd.NotFoundError):
        await client.box.get(before)
    for taken in (box.name, "No Name"):
        with pytest.raises(boxd.InvalidArgumentError):
            await new_box.rename(taken)
    assert new_box.name == name


async def test_hibernate_and_wake(client: Any, new_box: Any) -> None:
    async with await sh(new_box, 'while read line; do echo "<$line>"; done', stream=True) as process:
        assert await new_box.hibernate() is None
        assert (new_box.status, (await client.box.get(new_box.id)).status) == ("hibernated", "hibernated")
        assert await new_box.wake() is None
        assert (new_box.status, (await client.box.get(new_box.id)).status) == ("running", "running")
        await process.stdin.write("awake\n")
        assert await process.stdout.read() == b"<awake>\n"
    await new_box.hibernate()
    assert (await new_box.exec("echo", "a command wakes it")).success
    await new_box.stop()
    with pytest.raises(boxd.BoxdError) as caught:
        await new_box.hibernate()
    assert caught.value.grpc_code == 9


async def test_resize(client: Any, new_box: Any) -> None:
    result = await new_box.resize(vcpu=1, memory="4G")
    assert (result.vcpu, result.memory_bytes) == (new_box.vcpu, new_box.memory_bytes) == (1, 4 << 30)
    assert isinstance(result.rebooted, bool)
    found = await client.box.get(new_box.id)
    assert (found.vcpu, found.memory_bytes) == (1, 4 << 30)
    await new_box.resize(vcpu=2)
    assert (await client.box.get(new_box.id)).memory_bytes == 4 << 30
    await new_box.destroy()
    with pytest.raises(boxd.NotFoundError):
        await new_box.resize(vcpu=1)


async def test_labels(client: Any) -> None:
    job = secrets.token_hex(4)
    box = await client.box.create(labels={"job": job})
    other = await client.box.create(labels={"job": job, "kind": "other"})
    fork = await client.box.fork(other, labels={"more": "1"})
    try:
        assert {one.id for one in await client.box.list(labels={"job": job})} == {box.id, other.id, fork.id}
        assert [one.id for one in await client.box.list(labels={"job": job, "more": "1"})] == [fork.id]
        assert await client.box.list(labels={"job": "none"}) == []
        assert await box.update_labels({"a": "1"}) == {"job": job, "a": "1"}
        assert await box.update_labels(remove=["a", "never-there"]) == {"job": job}
        assert await box.update_labels({"b": "2"}, replace=True) == {"b": "2"}
        assert box.labels == (await client.box.get(box.id)).labels == {"b": "2"}
    finally:
        for one in (box, other, fork):
            await one.destroy()
    with pytest.raises(boxd.NotFoundError):
        await box.update_labels({})


async def test_auto_suspend(client: Any, new_box: Any) -> None:
    assert await new_box.set_auto_suspend(1) is None
    assert (await client.box.get(new_box.id)).auto_suspend_timeout_secs == 1
    await becomes(client, new_box, "suspended")
    await new_box.set_auto_suspend(0)
    assert (await new_box.exec("echo", "awake")).success
    assert (await client.box.get(new_box.id)).status == "running"
    await new_box.destroy()
    with pytest.raises(boxd.NotFoundError):
        await new_box.set_auto_suspend(1)


async def test_auto_hibernate(client: Any, new_box: Any) -> None:
    assert await new_box.set_auto_hibernate(1) is None
    assert (await client.box.get(new_box.id)).auto_hibernate_timeout_secs == 1
    await becomes(client, new_box, "hibernated")
    await new_box.destroy()
    with pytest.raises(boxd.NotFoundError):
        await new_box.set_auto_hibernate(1)


async def test_delete_after(client: Any, new_box: Any) -> None:
    at = await new_box.delete_after(3600)
    assert abs(at / 1000 - time.time() - 3600) < 60
    assert (await client.box.get(new_box.id)).delete_at_ms == at
    assert await new_box.delete_after() is None
    assert (await client.box.get(new_box.id)).delete_at_ms is None
    assert await new_box.delete_after(cron="0 3 * * *") > time.time() * 1000
    with pytest.raises(boxd.InvalidArgumentError):
        await new_box.delete_after(cron="now and then")
    await new_box.delete_after(1)
    await becomes(client, new_box, "destroyed")


async def test_a_name_that_is_free(client: Any) -> None:
    name = await client.box.suggest_name()
    with pytest.raises(boxd.NotFoundError):
        await client.box.get(name)
    box = await client.box.create(name=name)
    await box.destroy()


async def test_snapshots(client: Any, new_box: Any) -> None:
    name = f"base-{secrets.token_hex(4)}"
    await new_box.write_file(b"one", "file")
    made = await client.snapshot.create(new_box, name)
    assert (made.name, made.version) == (name, 1)
    await new_box.write_file(b"two", "file")
    again = await client.snapshot.create(new_box.name, name)
    assert (again.id, again.version) == (made.id, 2)
    found = await client.snapshot.get(name)
    assert (found.id, found.version, found.status) == (made.id, 2, "ready")
    assert found in await client.snapshot.list()
    box = await client.box.create(from_snapshot=found, labels={"from": name})
    try:
        assert await box.read_file("file") == b"two"
        assert (await client.box.get(box.id)).labels["from"] == name
    finally:
        await box.destroy()
    assert await client.snapshot.delete(found) is None
    for call in (client.snapshot.get, client.snapshot.delete):
        with pytest.raises(boxd.NotFoundError, match=name):
            await call(name)
    with pytest.raises(boxd.NotFoundError):
        await client.box.create(from_snapshot=name)
    with pytest.raises(boxd.NotFoundError):
        await client.snapshot.create("nowhere", name)


async def test_checkpoints(client: Any, new_box: Any) -> None:
    await new_box.write_file(b"before", "file")
    made = await new_box.checkpoints.create("before")
    assert made.name == "before"
    unnamed = await new_box.checkpoints.create()
    assert unnamed.name
    listed = {one.name: one for one in await new_box.checkpoints.list()}
    assert set(listed) == {"before", unnamed.name}
    assert listed["before"].available
    await new_box.write_file(b"after", "file")
    await new_box.write_file(b"after", "new")
    assert await new_box.checkpoints.restore(made) is None
    assert await new_box.read_file("file") == b"before"
    with pytest.raises(boxd.NotFoundError):
        await new_box.read_file("new")
    with pytest.raises(boxd.InvalidArgumentError):  # The name is taken.
        await new_box.checkpoints.create("before")
    assert await new_box.checkpoints.delete("before") is None
    for call in (new_box.checkpoints.restore, new_box.checkpoints.delete):
        with pytest.raises(boxd.NotFoundError, match="before"):
            await call("before")


async def test_backups(new_box: Any) -> None:
    await new_box.write_file(b"before", "file")
    key = await new_box.backups.create()
    (found,) = await new_box.backups.list()
    assert (found.id, found.status) == (key, "ready")
    assert abs(found.created_at - time.time()) < 60
    await new_box.write_file(b"after", "file")
    assert await new_box.backups.restore(found) is None
    assert await new_box.read_file("file") == b"before"
    assert await new_box.backups.delete(key) is None
    assert await new_box.backups.list() == []
    for call in (new_box.backups.restore, new_box.backups.delete):
        with pytest.raises(boxd.NotFoundError):
            await call(key)


async def test_backup_schedules(new_box: Any) -> None:
    """The words in which the service says them are not known, so that the emulator has none."""
    for call in (
        new_box.backups.schedule,
        new_box.backups.clear_schedule,
        lambda: new_box.backups.set_schedule("cron", "0 3 * * *"),
    ):
        with pytest.raises(boxd.UnsupportedError, match="BackupSchedule"):
            await call()


# An older server.


@pytest.fixture(scope="module")
def older(start_server: StartServer) -> Iterator[Server]:
    """A server of generation 1."""
    with start_server("emulator", generation=1) as server:
        yield server


async def test_an_older_server_says_what_it_does_not_know(older: Server, compute: Connect) -> None:
    async with compute(**older.settings) as c:
        box = await c.box.create()
        for rpc, call in {
            "HibernateVm": box.hibernate,
            "WakeVm": box.wake,
            "ResizeVm": lambda: box.resize(vcpu=1),
            "UpdateVmLabels": box.update_labels,
            "SetDeleteAfter": box.delete_after,
            "CreateCheckpoint": box.checkpoints.create,
            "TriggerBackup": box.backups.create,
            "GetVmUsage": box.usage,
            "CreateSnapshot": lambda: c.snapshot.create(box, "base"),
            "CreateVmFromSnapshot": lambda: c.box.create(from_snapshot="base"),
            "SuggestVmName": c.box.suggest_name,
            "CreateOrg": lambda: c.org.create("Acme"),
        }.items():
            with pytest.raises(boxd.UnsupportedError, match=f"does not support {rpc}") as caught:
                await call()
            assert caught.value.grpc_code == 12
        assert await c.box.list(labels={"a": "b"}) == []
        await box.destroy()
