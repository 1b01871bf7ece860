"""A box's console and the streams that follow it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from grpclib import Status

from boxd import messages as pb
from boxd.emulator.console import Console
from boxd.emulator.services.logs import LogStream
from tests.emulator.support import asynchronous
from tests.emulator.test_server import Client, emulator, status_of


async def logs(client: Client, box: str) -> bytes:
    chunks = await client("StreamLogs", pb.StreamLogsRequest(vm_id=box))
    return b"".join(chunk.data for chunk in chunks)


@asynchronous
async def test_a_console_tells_a_boxs_life(isolated: str) -> None:
    async with emulator(sandbox="namespaces") as client:
        await client("CreateVm", pb.CreateVmRequest(name="one", cmd=["sh", "-c", "echo from the start command"]))
        command = "echo from a service >/dev/console; (sleep 0.01; echo later >/dev/console) & wait"
        assert (await client.run("one", command))[2] == 0
        await client("SuspendVm", pb.SuspendVmRequest(vm_id="one"))
        await client("ResumeVm", pb.ResumeVmRequest(vm_id="one"))
        await client("StopVm", pb.StopVmRequest(vm_id="one"))
        await client("StartVm", pb.StartVmRequest(vm_id="one"))
        text = await logs(client, "one")
        for line in ("one is up", "from the start command", "from a service", "later", "suspended", "resumed"):
            assert line.encode() in text
        assert text.count(b"powered off") == 1
        assert text.count(b"one is up") == 2


@asynchronous
async def test_a_follower_ends_with_its_box() -> None:
    async with emulator(sandbox="plain") as client:
        await client("CreateVm", pb.CreateVmRequest(name="one"))
        method = client.method("StreamLogs")
        async with method.open(metadata=client.metadata) as stream:
            await stream.send_message(pb.StreamLogsRequest(vm_id="one", follow=True), end=True)
            assert b"one is up" in (await stream.recv_message()).data
            await client("DestroyVm", pb.DestroyVmRequest(vm_id="one"))
            rest = [chunk.data async for chunk in stream]
            assert b"".join(rest).endswith(b"powered off\r\n")
        status, _ = await status_of(logs(client, "one"))
        assert status is Status.NOT_FOUND


@asynchronous
async def test_a_follower_that_leaves_is_forgotten() -> None:
    console = Console()
    stream = LogStream(console, follow=True)
    task = asyncio.create_task(stream.__anext__())
    await asyncio.sleep(0)
    assert len(console._waiting) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not console._waiting


@asynchronous
async def test_what_is_kept_is_bounded_and_a_slow_follower_is_told() -> None:
    console = Console()
    slow: Any = LogStream(console, follow=False)
    console.note("first")
    assert b"first" in (await slow.__anext__()).data
    for number in range(3000):
        console.write(b"%1023d\n" % number)
    assert len(console.content) <= 1280 * 1024
    assert (await slow.__anext__()).data.endswith(b" bytes are no longer kept\r\n")
    rest = b"".join([chunk.data async for chunk in slow])
    assert rest == console.content
    assert rest.endswith(b" 2999\n")


@asynchronous
async def test_anyone_in_the_box_writes_the_console_and_only_root_reads_it(isolated: str) -> None:
    async with emulator(sandbox="namespaces") as client:
        await client("CreateVm", pb.CreateVmRequest(name="one"))
        assert (await client.run("one", "stat -c %F:%a /dev/console"))[0] == b"fifo:622\n"
        # More than the pipe holds: the emulator always reads it.
        assert (await client.run("one", "head -c 300000 /dev/zero | tr '\\0' x >/dev/console"))[2] == 0
