"""Disks: mounted in one box at a time, and still there afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from grpclib import Status

from boxd import messages as pb
from tests.emulator.support import asynchronous, mounts, new_machine, run, sandbox_of, works
from tests.emulator.test_server import Client, emulator, status_of


@asynchronous
async def test_a_volume_is_mounted_written_and_unmounted(isolated: str, state: Path) -> None:
    before = mounts()
    async with sandbox_of(isolated, state) as sandbox:
        await sandbox.make_volume("v")
        one, two = [await new_machine(sandbox, name) for name in ("one", "two")]
        await one.mount("v", "/mnt/deep/data", False)
        assert (await run(one, "echo mine >/mnt/deep/data/file && stat -c %a /mnt/deep/data")).out == "755\n"
        assert (await run(two, "ls -A /mnt")).out == ""
        await one.unmount("v")
        assert (await run(one, "ls -A /mnt/deep/data")).out == ""
        await two.mount("v", "data", True)
        assert (await run(two, "cat data/file")).out == "mine\n"
        for attempt in ("touch data/new", "rm data/file", "mount -o remount,bind,rw data", "umount data"):
            assert (await run(two, f"sudo {attempt}")).code != 0
        assert (await run(two, "unshare -Urm mount -o remount,bind,rw data && touch data/x")).code != 0
        assert (await run(two, "cat data/file")).out == "mine\n"
        assert mounts() == before
        await two.kill()
        await sandbox.delete_volume("v")
        assert not list((state / "volumes").iterdir())


@asynchronous
async def test_where_nothing_can_be_mounted(isolated: str, state: Path) -> None:
    async with sandbox_of(isolated, state) as sandbox:
        await sandbox.make_volume("v")
        machine = await new_machine(sandbox, "one")
        await run(machine, "touch file; ln -s /proc/sys link; ln -s /../.. up; ln -s loop loop")
        for path in ("/", "/proc/sys", "/proc/1/root", "/dev", "/sys/x", "link", "up", "file", "file/below", "loop"):
            with pytest.raises(OSError, match=r"mounted at|irectory|xists|levels"):
                await machine.mount("v", path, False)
        with pytest.raises(FileNotFoundError):
            await machine.mount("other", "/mnt/data", False)


@pytest.fixture
def _mounting() -> None:
    if works("root") and works("user-namespace"):
        pytest.skip("nothing can be mounted here")


async def disk(client: Client, name: str = "data") -> str:
    made = await client("CreateDisk", pb.CreateDiskRequest(name=name, size_bytes=1 << 20))
    assert (made.name, made.size_bytes, made.status) == (name, 1 << 20, "ready")
    return str(made.disk_id)


@pytest.mark.usefixtures("_mounting")
@asynchronous
async def test_a_disk_survives_stops_boxes_and_belongs_to_one() -> None:
    async with emulator() as client:
        one = (await client("CreateVm", pb.CreateVmRequest(name="one"))).vm_id
        key = await disk(client)
        await client("AttachDisk", pb.AttachDiskRequest(disk_id=key, vm_id=one, mount_path="/data"))
        assert (await client.run(one, "echo kept >/data/file"))[2] == 0
        await client("StopVm", pb.StopVmRequest(vm_id=one))
        await client("StartVm", pb.StartVmRequest(vm_id=one))
        assert (await client.run(one, "cat /data/file"))[0] == b"kept\n"
        (listed,) = (await client("ListDisks", pb.ListDisksRequest())).disks
        (attachment,) = listed.attachments
        assert (attachment.vm_id, attachment.vm_name, attachment.mount_path) == (one, "one", "/data")
        assert attachment.mount_mode == "rw"
        fork = (await client("ForkVm", pb.ForkVmRequest(source_vm_id=one))).vm_id
        assert (await client.run(fork, "ls -A /data"))[0] == b""
        again = pb.AttachDiskRequest(disk_id=key, vm_id=fork, mount_path="/data")
        assert (await status_of(client("AttachDisk", again)))[0] is Status.FAILED_PRECONDITION
        assert (await status_of(client("DestroyDisk", pb.DestroyDiskRequest(disk_id=key))))[0] is (
            Status.FAILED_PRECONDITION
        )
        await client("DestroyVm", pb.DestroyVmRequest(vm_id=one))
        # A box that is off gets it when it starts.
        await client("StopVm", pb.StopVmRequest(vm_id=fork))
        await client("AttachDisk", again)
        await client("StartVm", pb.StartVmRequest(vm_id=fork))
        assert (await client.run(fork, "cat /data/file"))[0] == b"kept\n"
        detach = pb.DetachDiskRequest(disk_id=key, vm_id=fork)
        assert (await client.run(fork, "cd /data && sleep 100 >/dev/null 2>&1 &"))[2] == 0
        status, text = await status_of(client("DetachDisk", detach))
        assert (status, "uses disk data" in text) == (Status.FAILED_PRECONDITION, True)
        await client.run(fork, "pkill sleep; while pgrep sleep; do :; done")
        await client("DetachDisk", detach)
        await client("DestroyDisk", pb.DestroyDiskRequest(disk_id=key))
        assert not (await client("ListDisks", pb.ListDisksRequest())).disks


@pytest.mark.usefixtures("_mounting")
@asynchronous
async def test_disks_of_a_new_boxs_configuration() -> None:
    async with emulator() as client:
        key = await disk(client)
        volumes = [pb.VolumeMount(disk_id=key, mount_path="/data", read_only=True)]
        config = pb.VmConfig(volumes=volumes)
        # The start command finds it mounted.
        request = pb.CreateVmRequest(name="one", config=config, cmd=["sh", "-c", "grep ' /data ' /proc/mounts"])
        await client("CreateVm", request)
        assert (await client.run("one", "touch /data/x"))[2] != 0
        follow = client.method("StreamLogs")
        async with follow.open(metadata=client.metadata) as stream:
            await stream.send_message(pb.StreamLogsRequest(vm_id="one", follow=True), end=True)
            text = b""
            while b"exit code 0" not in text:
                text += (await stream.recv_message()).data
            await stream.cancel()
        unknown = pb.VmConfig(volumes=[pb.VolumeMount(disk_id="disk-x", mount_path="/data")])
        for bad, status in ((unknown, Status.NOT_FOUND), (config, Status.FAILED_PRECONDITION)):
            assert (await status_of(client("CreateVm", pb.CreateVmRequest(name="two", config=bad))))[0] is status
        assert len((await client("ListVms", pb.ListVmsRequest())).vms) == 1


@pytest.mark.parametrize(
    ("rpc", "request_", "status"),
    [
        ("CreateDisk", pb.CreateDiskRequest(name="data", size_bytes=1), Status.ALREADY_EXISTS),
        ("CreateDisk", pb.CreateDiskRequest(name="../x", size_bytes=1), Status.INVALID_ARGUMENT),
        ("CreateDisk", pb.CreateDiskRequest(name="x"), Status.INVALID_ARGUMENT),
        ("AttachDisk", pb.AttachDiskRequest(disk_id="x", vm_id="one", mount_path="/d"), Status.NOT_FOUND),
        ("AttachDisk", pb.AttachDiskRequest(disk_id="KEY", vm_id="x", mount_path="/d"), Status.NOT_FOUND),
        ("AttachDisk", pb.AttachDiskRequest(disk_id="KEY", vm_id="one", mount_path="d"), Status.INVALID_ARGUMENT),
        ("AttachDisk", pb.AttachDiskRequest(disk_id="KEY", vm_id="one", mount_path="/"), Status.INVALID_ARGUMENT),
        ("DetachDisk", pb.DetachDiskRequest(disk_id="KEY", vm_id="one"), Status.FAILED_PRECONDITION),
        ("DestroyDisk", pb.DestroyDiskRequest(disk_id="x"), Status.NOT_FOUND),
    ],
)
@pytest.mark.usefixtures("_mounting")
@asynchronous
async def test_what_the_rpcs_refuse(rpc: str, request_: Any, status: Status) -> None:
    async with emulator() as client:
        key = await disk(client)
        await client("CreateVm", pb.CreateVmRequest(name="one"))
        if getattr(request_, "disk_id", "") == "KEY":
            request_.disk_id = key
        assert (await status_of(client(rpc, request_)))[0] is status
        (listed,) = (await client("ListDisks", pb.ListDisksRequest())).disks
        assert not listed.attachments


@asynchronous
async def test_plain_boxes_refuse_disks() -> None:
    async with emulator(sandbox="plain") as client:
        key = await disk(client)
        await client("CreateVm", pb.CreateVmRequest(name="one"))
        request = pb.AttachDiskRequest(disk_id=key, vm_id="one", mount_path="/data")
        status, text = await status_of(client("AttachDisk", request))
        assert (status, "without namespaces" in text) == (Status.FAILED_PRECONDITION, True)
        await client("DestroyDisk", pb.DestroyDiskRequest(disk_id=key))
