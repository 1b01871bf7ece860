"""The RPCs over the wire, with grpclib's own client."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from grpclib import GRPCError, Status
from grpclib.client import (
    Channel,
    ServiceMethod,
    StreamStreamMethod,
    StreamUnaryMethod,
    UnaryStreamMethod,
    UnaryUnaryMethod,
)
from grpclib.config import Configuration

from boxd import messages as pb
from boxd import methods
from boxd.emulator import Emulator, Local, Options
from boxd.emulator.server import _Codec
from boxd.transport.method import Kind
from tests.emulator.support import asynchronous, processes, until

CALLS: dict[Kind, type[ServiceMethod[Any, Any]]] = {
    Kind.UNARY: UnaryUnaryMethod,
    Kind.CLIENT_STREAM: StreamUnaryMethod,
    Kind.SERVER_STREAM: UnaryStreamMethod,
    Kind.BIDI_STREAM: StreamStreamMethod,
}
MIB = 1024 * 1024


class Client:
    """A grpclib channel with a token."""

    def __init__(self, channel: Channel, token: str, local: Local | None = None) -> None:
        self.channel = channel
        self._local = local
        self.metadata = {"authorization": f"Bearer {token}"}

    @property
    def local(self) -> Local:
        """The emulator's addresses."""
        assert self._local is not None
        return self._local

    def method(self, name: str) -> Any:
        method = getattr(methods, name)
        return CALLS[method.kind](self.channel, method.path, method.request, method.response)

    async def __call__(self, name: str, *requests: Any, timeout: float | None = None) -> Any:
        method = getattr(methods, name)
        argument = requests[0] if method.kind in (Kind.UNARY, Kind.SERVER_STREAM) else list(requests)
        return await self.method(name)(argument, metadata=self.metadata, timeout=timeout)

    async def run(self, box: str, command: str, **first: Any) -> tuple[bytes, bytes, int]:
        chunks = await self("Exec", pb.ExecChunk(vm_id=box, command=command, **first))
        assert not chunks[-1].data
        out, err = (
            b"".join(chunk.data for chunk in chunks if chunk.is_stderr is is_stderr) for is_stderr in (False, True)
        )
        return out, err, chunks[-1].exit_code


@contextlib.asynccontextmanager
async def emulator(**settings: Any) -> AsyncIterator[Client]:
    async with Emulator(Options(**settings)) as local:
        host, port = local.api_url.removeprefix("http://").rsplit(":", 1)
        config = Configuration(http2_connection_window_size=64 * MIB, http2_stream_window_size=16 * MIB)
        channel = Channel(host, int(port), codec=_Codec(), config=config)
        try:
            yield Client(channel, local.token, local)
        finally:
            channel.close()


async def status_of(call: Any) -> tuple[Status, str]:
    with pytest.raises(GRPCError) as caught:
        await call
    return caught.value.status, caught.value.message or ""


@asynchronous
async def test_identity() -> None:
    async with emulator(user_id="gh-me", orgs=("acme",)) as client:
        assert (await client("Whoami", pb.WhoamiRequest())).user_id == "gh-me"
        assert (await client("GetConfig", pb.GetConfigRequest())).zone == f"localhost:{client.local.proxy_port}"
        assert [org.name for org in (await client("ListOrgs", pb.ListOrgsRequest())).orgs] == ["acme"]


@asynchronous
async def test_calls_without_a_good_token() -> None:
    async with emulator() as client:
        for metadata in ({}, {"authorization": "Bearer a.b.c"}):
            client.metadata = metadata
            assert (await status_of(client("Whoami", pb.WhoamiRequest())))[0] is Status.UNAUTHENTICATED
            assert (await status_of(client.run("x", "true")))[0] is Status.UNAUTHENTICATED


@asynchronous
async def test_a_box_from_creation_to_its_tombstone(kind: str) -> None:
    async with emulator(sandbox="plain" if kind == "plain" else "namespaces") as client:
        config = pb.VmConfig(vcpu=4, srf=pb.SrfConfig(auto_suspend_timeout_secs=30))
        request = pb.CreateVmRequest(name="app", env=[pb.EnvVar(key="A", value="b")], config=config)
        made = await client("CreateVm", request)
        assert (made.name, made.status, made.url, made.image) == (
            "app",
            "running",
            f"app.localhost:{client.local.proxy_port}",
            "ubuntu:latest",
        )
        for key in (made.vm_id, "app"):
            details = await client("GetVm", pb.GetVmRequest(vm_id=key))
            assert (details.vm_id, details.vcpu, details.auto_suspend_timeout_secs) == (made.vm_id, 4, 30)
        assert (await client.run("app", "echo $A; echo e >&2; exit 3")) == (b"b\n", b"e\n", 3)
        fork = await client("ForkVm", pb.ForkVmRequest(source_vm_id=made.vm_id))
        assert (fork.name, fork.forked_from) == ("app-fork", made.vm_id)
        assert len((await client("ListVms", pb.ListVmsRequest())).vms) == 2
        assert (await client("SuspendVm", pb.SuspendVmRequest(vm_id=made.vm_id))).suspend_us > 0
        assert (await client("GetVm", pb.GetVmRequest(vm_id="app"))).status == "suspended"
        await client("ResumeVm", pb.ResumeVmRequest(vm_id=made.vm_id))
        await client("RebootVm", pb.RebootVmRequest(vm_id=made.vm_id))
        await client("StopVm", pb.StopVmRequest(vm_id=made.vm_id))
        code, text = await status_of(client.run(made.vm_id, "true"))
        assert (code, "is stopped" in text) == (Status.FAILED_PRECONDITION, True)
        await client("StartVm", pb.StartVmRequest(vm_id=made.vm_id))
        await client("DestroyVm", pb.DestroyVmRequest(vm_id=made.vm_id))
        assert (await client("GetVm", pb.GetVmRequest(vm_id=made.vm_id))).status == "destroyed"
        assert (await status_of(client.run(made.vm_id, "true")))[0] is Status.NOT_FOUND
        assert [vm.name for vm in (await client("ListVms", pb.ListVmsRequest())).vms] == ["app-fork"]


@asynchronous
async def test_organizations_and_sharing() -> None:
    async with emulator(orgs=("acme",), sandbox="plain") as client:
        made = await client("CreateVm", pb.CreateVmRequest(org="acme", shared=True))
        await client("CreateVm", pb.CreateVmRequest())
        assert [vm.vm_id for vm in (await client("ListVms", pb.ListVmsRequest(org="org-acme"))).vms] == [made.vm_id]
        assert len((await client("ListVms", pb.ListVmsRequest())).vms) == 1
        assert len((await client("ListVms", pb.ListVmsRequest(all_contexts=True))).vms) == 2
        await client("UnshareVm", pb.UnshareVmRequest(vm_id=made.vm_id))
        await client("ShareVm", pb.ShareVmRequest(vm_id=made.vm_id))
        assert (await status_of(client("ListVms", pb.ListVmsRequest(org="other"))))[0] is Status.NOT_FOUND


@asynchronous
async def test_an_old_server() -> None:
    async with emulator(generation=1, get_by_name=False, sandbox="plain") as client:
        box = (await client("CreateVm", pb.CreateVmRequest(name="app"))).vm_id
        assert (await status_of(client("GetVm", pb.GetVmRequest(vm_id="app"))))[0] is Status.NOT_FOUND
        call = client("DownloadFileStream", pb.DownloadFileRequest(vm_id=box, path="x"))
        assert await status_of(call) == (Status.UNIMPLEMENTED, "this server has no DownloadFileStream")
        assert (await status_of(client("ListSnapshots", pb.ListSnapshotsRequest())))[0] is Status.UNIMPLEMENTED


@asynchronous
async def test_files_of_100_mib_every_way() -> None:
    async with emulator() as client:
        box = (await client("CreateVm", pb.CreateVmRequest())).vm_id
        data = os.urandom(MIB) * 100
        digest = hashlib.sha256(data).hexdigest()
        done = await client("UploadFile", pb.UploadFileRequest(vm_id=box, path="one", data=data))
        assert done.bytes_written == len(data)
        first = pb.UploadFileChunk(vm_id=box, path="two", total_size=len(data), data=data[:MIB])
        rest = [pb.UploadFileChunk(data=data[i : i + MIB]) for i in range(MIB, len(data), MIB)]
        assert (await client("UploadFileStream", first, *rest)).bytes_written == len(data)
        out, _, _ = await client.run(box, "sha256sum one two")
        assert out.decode().split() == [digest, "one", digest, "two"]
        whole = await client("DownloadFile", pb.DownloadFileRequest(vm_id=box, path="one"))
        assert whole.data == data
        chunks = await client("DownloadFileStream", pb.DownloadFileRequest(vm_id=box, path="two"))
        assert chunks[0].total_size == len(data)
        assert b"".join(chunk.data for chunk in chunks) == data


@asynchronous
async def test_files_over_the_limit_and_other_refusals() -> None:
    async with emulator(transfer_limit=1000, sandbox="plain") as client:
        box = (await client("CreateVm", pb.CreateVmRequest())).vm_id
        await client.run(box, "head -c 1001 /dev/zero > big; : > empty")
        big = pb.UploadFileRequest(vm_id=box, path="f", data=bytes(1001))
        assert (await status_of(client("UploadFile", big)))[0] is Status.RESOURCE_EXHAUSTED
        for first in ({"total_size": 1001}, {"data": bytes(600)}):
            chunks = pb.UploadFileChunk(vm_id=box, path="f", **first), pb.UploadFileChunk(data=bytes(600))
            assert (await status_of(client("UploadFileStream", *chunks)))[0] is Status.RESOURCE_EXHAUSTED
        short = pb.UploadFileChunk(vm_id=box, path="f", total_size=5, data=b"1234")
        assert (await status_of(client("UploadFileStream", short)))[0] is Status.INVALID_ARGUMENT
        for path, code in (
            ("big", Status.RESOURCE_EXHAUSTED),
            ("none", Status.NOT_FOUND),
            ("", Status.INVALID_ARGUMENT),
        ):
            got = await status_of(client("DownloadFile", pb.DownloadFileRequest(vm_id=box, path=path)))
            assert got[0] is code
        assert (await client("DownloadFile", pb.DownloadFileRequest(vm_id=box, path="empty"))).data == b""
        chunks = await client("DownloadFileStream", pb.DownloadFileRequest(vm_id=box, path="big"))
        assert b"".join(chunk.data for chunk in chunks) == bytes(1001)
        assert (await client.run(box, "ls -A"))[0] == b"big\nempty\n"


@asynchronous
async def test_exec_interactive_with_a_terminal() -> None:
    async with emulator() as client:
        box = (await client("CreateVm", pb.CreateVmRequest())).vm_id
        async with client.method("Exec").open(metadata=client.metadata) as stream:
            await stream.send_message(pb.ExecChunk(vm_id=box, command="sh", tty=True))
            await stream.send_message(pb.ExecChunk(stdin=True, data=b"stty size; echo on''ward\n"))
            seen = b""
            while b"onward" not in seen:
                seen += (await stream.recv_message()).data
            assert b"24 80" in seen
            await stream.send_message(pb.ExecChunk(window_change=True, cols=120, rows=50))
            await stream.send_message(pb.ExecChunk(stdin=True, data=b"stty size; exit 9\n"))
            chunk = await stream.recv_message()
            while chunk.data:
                seen += chunk.data
                chunk = await stream.recv_message()
            assert b"50 120" in seen
            assert chunk.exit_code == 9
            await stream.end()


@asynchronous
async def test_a_cancelled_exec_ends_its_processes(kind: str) -> None:
    marker = f"91234.{int(time.time() * 1000) % 100000}"
    async with emulator(sandbox="plain" if kind == "plain" else "namespaces", kill_grace=0.2) as client:
        box = (await client("CreateVm", pb.CreateVmRequest())).vm_id
        async with client.method("Exec").open(metadata=client.metadata) as stream:
            command = f"trap '' TERM; sleep {marker} & echo up; wait"
            await stream.send_message(pb.ExecChunk(vm_id=box, command=command))
            assert (await stream.recv_message()).data == b"up\n"
            await until(lambda: len(processes(f"sleep\0{marker}")) == 1)
            await stream.cancel()
        await until(lambda: not processes(marker))
        with pytest.raises(asyncio.TimeoutError):
            await client("Exec", pb.ExecChunk(vm_id=box, command=f"sleep {marker}"), timeout=0.3)
        await until(lambda: not processes(marker))


@asynchronous
async def test_a_lost_connection_ends_the_processes() -> None:
    marker = f"92345.{int(time.time() * 1000) % 100000}"
    async with emulator() as client:
        box = (await client("CreateVm", pb.CreateVmRequest())).vm_id
        call = asyncio.ensure_future(client.run(box, f"sleep {marker}"))
        await until(lambda: len(processes(f"sleep\0{marker}")) == 1)
        client.channel.close()
        await until(lambda: not processes(marker))
        await asyncio.gather(call, return_exceptions=True)


@asynchronous
async def test_output_waits_for_its_reader() -> None:
    async with emulator() as client:
        box = (await client("CreateVm", pb.CreateVmRequest())).vm_id
        async with client.method("Exec").open(metadata=client.metadata) as stream:
            command = "head -c 200000000 /dev/zero; echo done > finished"
            await stream.send_message(pb.ExecChunk(vm_id=box, command=command), end=True)
            await stream.recv_message()
            await asyncio.sleep(0.5)
            assert (await client.run(box, "cat finished"))[2] != 0
            size = 0
            while (chunk := await stream.recv_message()) is not None:
                size += len(chunk.data)
            assert size > 199_000_000
            assert (await client.run(box, "cat finished"))[0] == b"done\n"


@asynchronous
async def test_background_output_does_not_hold_the_exit() -> None:
    async with emulator() as client:
        box = (await client("CreateVm", pb.CreateVmRequest())).vm_id
        started = time.monotonic()
        assert (await client.run(box, "sleep 1000 & echo now")) == (b"now\n", b"", 0)
        assert (await client.run(box, "(sleep 0.05; echo late) & echo now"))[0] == b"now\nlate\n"
        out, _, code = await client.run(box, "yes & sleep 0.1; exit 4")
        assert (out[:4], code) == (b"y\ny\n", 4)
        await client.run(box, "pkill yes")
        assert time.monotonic() - started < 20


@asynchronous
async def test_a_box_that_is_stopped_under_a_command() -> None:
    async with emulator() as client:
        box = (await client("CreateVm", pb.CreateVmRequest())).vm_id

        async def command() -> None:
            async with client.method("Exec").open(metadata=client.metadata) as stream:
                await stream.send_message(pb.ExecChunk(vm_id=box, command="echo up; sleep 1000"))
                assert (await stream.recv_message()).data == b"up\n"
                await client("StopVm", pb.StopVmRequest(vm_id=box))
                await stream.recv_message()

        code, text = await status_of(command())
        assert (code, "is stopped" in text) == (Status.FAILED_PRECONDITION, True)


@pytest.mark.parametrize(
    ("first", "code"),
    [
        ({"vm_id": "nope", "command": "true"}, Status.NOT_FOUND),
        ({"command": ""}, Status.INVALID_ARGUMENT),
        ({"command": "echo a\0b"}, Status.INVALID_ARGUMENT),
        ({"command": "x" * 140_000}, Status.INVALID_ARGUMENT),
    ],
)
@asynchronous
async def test_exec_refusals(first: dict[str, Any], code: Status) -> None:
    async with emulator(sandbox="plain") as client:
        box = (await client("CreateVm", pb.CreateVmRequest())).vm_id
        assert (await status_of(client("Exec", pb.ExecChunk(**{"vm_id": box, **first}))))[0] is code
        assert (await status_of(client("Exec")))[0] is Status.INVALID_ARGUMENT


@asynchronous
async def test_hundreds_of_commands_on_one_connection() -> None:
    async with emulator() as client:
        box = (await client("CreateVm", pb.CreateVmRequest())).vm_id
        results = await asyncio.gather(*(client.run(box, f"echo {n}; exit {n % 250}") for n in range(300)))
        assert results == [(f"{n}\n".encode(), b"", n % 250) for n in range(300)]


@asynchronous
async def test_commands_that_do_not_read_do_not_hold_up_others() -> None:
    async with emulator() as client:
        box = (await client("CreateVm", pb.CreateVmRequest())).vm_id
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(8):
                stream = await stack.enter_async_context(client.method("Exec").open(metadata=client.metadata))
                await stream.send_message(pb.ExecChunk(vm_id=box, command="sleep 1000"))
                feed = asyncio.ensure_future(stream.send_message(pb.ExecChunk(stdin=True, data=bytes(6 * MIB))))
                stack.callback(feed.cancel)
            await asyncio.sleep(0.5)
            assert (await asyncio.wait_for(client.run(box, "echo on"), 10))[0] == b"on\n"
            await client("StopVm", pb.StopVmRequest(vm_id=box))
            stack.pop_all()


@asynchronous
async def test_the_update_header() -> None:
    async with (
        emulator(sdk_latest="9.9.9", sandbox="plain") as client,
        client.method("Whoami").open(metadata=client.metadata) as stream,
    ):
        await stream.send_message(pb.WhoamiRequest(), end=True)
        await stream.recv_message()
        assert stream.initial_metadata["x-boxd-py-sdk-latest"] == "9.9.9"
