"""What each RPC does, independent of the gRPC library that carries it.

A unary handler takes the request and the call's context and returns the response; a streaming one takes an
iterator of requests, or returns an object with `__anext__` and `aclose`. All raise `EmulatorError`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from boxd import messages as pb

from .errors import Code, EmulatorError
from .execs import ExecSession
from .machines import Box, Boxes, Spec
from .options import GIB, Options
from .sandbox import Machine
from .transfers import Receiver, Sender, too_big

NEWER = frozenset({"DownloadFileStream"})
"""RPCs that only a server of generation 2 has."""

T = TypeVar("T")

_DEFAULT_VCPU = 2
_DEFAULT_MEMORY = 8 * GIB
_DEFAULT_DISK = 100 * GIB
_ADDRESS = "127.0.0.1"


@dataclass(frozen=True)
class Context:
    """What a handler may know about its call: the request's metadata and the caller's user id."""

    metadata: Mapping[str, str]
    user_id: str


class Service:
    """The handlers, named as their RPCs in snake case."""

    def __init__(self, boxes: Boxes, options: Options) -> None:
        self._boxes = boxes
        self._options = options
        self._background: set[asyncio.Task[Any]] = set()

    def implements(self, rpc: str) -> bool:
        """Whether this server has the RPC; the others answer UNIMPLEMENTED."""
        if rpc in NEWER and self._options.generation < 2:
            return False
        return hasattr(self, snake_case(rpc))

    def run_in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Keep `work` running when the call that began it is over; `drain` waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _whole(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` to its end even if the caller goes away: no box is left half made or half gone."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        task.add_done_callback(_take_exception)
        return await asyncio.shield(task)

    async def drain(self) -> None:
        """Wait until the clean-up of ended calls is done."""
        while self._background:
            await asyncio.wait(self._background)

    # Identity.

    async def whoami(self, request: pb.WhoamiRequest, context: Context) -> pb.WhoamiResponse:
        return pb.WhoamiResponse(
            user_id=context.user_id,
            pubkey_fingerprints=["SHA256:" + "0" * 43],
            default_network_id="net-local",
            display_name=context.user_id,
        )

    async def get_config(self, request: pb.GetConfigRequest, context: Context) -> pb.GetConfigResponse:
        return pb.GetConfigResponse(default_image=self._options.default_image, zone=self._options.zone)

    async def list_orgs(self, request: pb.ListOrgsRequest, context: Context) -> pb.ListOrgsResponse:
        orgs = [pb.OrgSummary(id=f"org-{name}", name=name, is_admin=True, slug=name) for name in self._options.orgs]
        return pb.ListOrgsResponse(orgs=orgs)

    def _org(self, name: str) -> str:
        """The org's name for a name, an id or "" (personal); NOT_FOUND for any other."""
        if not name or name in self._options.orgs:
            return name
        if name.startswith("org-") and name[4:] in self._options.orgs:
            return name[4:]
        raise EmulatorError(Code.NOT_FOUND, f"there is no organization {name!r}")

    # Making and finding boxes.

    async def create_vm(self, request: pb.CreateVmRequest, context: Context) -> pb.CreateVmResponse:
        spec = replace(
            _spec(request.config, request.env),
            image=request.image_ref,
            command=tuple(request.cmd),
            restart_policy=request.restart_policy,
            org=self._org(request.org),
            shared=request.shared,
        )
        box = await self._whole(self._boxes.create(request.name, spec))
        return pb.CreateVmResponse(
            vm_id=box.id,
            name=box.name,
            public_ip=_ADDRESS,
            url=self._url(box),
            image=self._image(box),
            status=box.status,
            boot_time_ms=box.boot_time_ms,
        )

    async def fork_vm(self, request: pb.ForkVmRequest, context: Context) -> pb.ForkVmResponse:
        source = self._boxes.existing(request.source_vm_id)
        box = await self._whole(self._boxes.fork(source, request.name, _spec(request.config, ()), request.shared))
        return pb.ForkVmResponse(
            vm_id=box.id,
            name=box.name,
            public_ip=_ADDRESS,
            url=self._url(box),
            image=self._image(box),
            status=box.status,
            forked_from=box.forked_from,
            boot_time_ms=box.boot_time_ms,
        )

    async def get_vm(self, request: pb.GetVmRequest, context: Context) -> pb.GetVmResponse:
        return self._details(self._boxes.find(request.vm_id, names=self._options.get_by_name))

    async def list_vms(self, request: pb.ListVmsRequest, context: Context) -> pb.ListVmsResponse:
        org = self._org(request.org)
        boxes = [box for box in self._boxes.all() if request.all_contexts or box.spec.org == org]
        return pb.ListVmsResponse(vms=[self._details(box) for box in boxes])

    def _details(self, box: Box) -> pb.GetVmResponse:
        spec = box.spec
        return pb.GetVmResponse(
            vm_id=box.id,
            name=box.name,
            image_ref=self._image(box),
            public_ip=_ADDRESS,
            status=box.status,
            restart_policy=spec.restart_policy or "always",
            disk_bytes=spec.disk_bytes or _DEFAULT_DISK,
            auto_suspend_timeout_secs=spec.auto_suspend_seconds or 0,
            org=spec.org,
            access_domain=self._url(box),
            vcpu=spec.vcpu or _DEFAULT_VCPU,
            memory_bytes=spec.memory_bytes or _DEFAULT_MEMORY,
            created_at=int(box.created_at),
            auto_destroy_timeout_secs=spec.auto_destroy_seconds,
            boot_time_ms=box.boot_time_ms,
        )

    def _url(self, box: Box) -> str:
        return f"{box.name}.{self._options.zone}"

    def _image(self, box: Box) -> str:
        return box.spec.image or self._options.default_image

    # Lifecycle.

    async def start_vm(self, request: pb.StartVmRequest, context: Context) -> pb.StartVmResponse:
        await self._whole(self._boxes.start(self._boxes.existing(request.vm_id)))
        return pb.StartVmResponse()

    async def stop_vm(self, request: pb.StopVmRequest, context: Context) -> pb.StopVmResponse:
        await self._whole(self._boxes.stop(self._boxes.existing(request.vm_id)))
        return pb.StopVmResponse()

    async def reboot_vm(self, request: pb.RebootVmRequest, context: Context) -> pb.RebootVmResponse:
        await self._whole(self._boxes.reboot(self._boxes.existing(request.vm_id)))
        return pb.RebootVmResponse()

    async def destroy_vm(self, request: pb.DestroyVmRequest, context: Context) -> pb.DestroyVmResponse:
        await self._whole(self._boxes.destroy(self._boxes.existing(request.vm_id)))
        return pb.DestroyVmResponse()

    async def suspend_vm(self, request: pb.SuspendVmRequest, context: Context) -> pb.SuspendVmResponse:
        return pb.SuspendVmResponse(
            suspend_us=await self._whole(self._boxes.suspend(self._boxes.existing(request.vm_id)))
        )

    async def resume_vm(self, request: pb.ResumeVmRequest, context: Context) -> pb.ResumeVmResponse:
        return pb.ResumeVmResponse(resume_us=await self._whole(self._boxes.resume(self._boxes.existing(request.vm_id))))

    async def share_vm(self, request: pb.ShareVmRequest, context: Context) -> pb.ShareVmResponse:
        self._boxes.share(self._boxes.existing(request.vm_id), True)
        return pb.ShareVmResponse()

    async def unshare_vm(self, request: pb.UnshareVmRequest, context: Context) -> pb.UnshareVmResponse:
        self._boxes.share(self._boxes.existing(request.vm_id), False)
        return pb.UnshareVmResponse()

    # Commands and files.

    async def _machine(self, key: str) -> Machine:
        return await self._boxes.ready(self._boxes.existing(key))

    def exec(self, requests: AsyncIterator[pb.ExecChunk], context: Context) -> ExecSession:
        return ExecSession(requests, self._machine, self.run_in_background, self._options.kill_grace)

    async def upload_file(self, request: pb.UploadFileRequest, context: Context) -> pb.UploadFileResponse:
        limit = self._options.transfer_limit
        if len(request.data) > limit:
            raise too_big(request.path, limit)
        receiver = await Receiver.start(await self._machine(request.vm_id), request.path, limit)
        try:
            await receiver.write(request.data)
            return pb.UploadFileResponse(bytes_written=await receiver.finish())
        finally:
            await receiver.abort()

    async def upload_file_stream(
        self, requests: AsyncIterator[pb.UploadFileChunk], context: Context
    ) -> pb.UploadFileResponse:
        try:
            first = await requests.__anext__()
        except StopAsyncIteration:
            raise EmulatorError(
                Code.INVALID_ARGUMENT, "an upload begins with a chunk that names box and path"
            ) from None
        limit = self._options.transfer_limit
        if first.total_size > limit:
            raise too_big(first.path, limit)
        receiver = await Receiver.start(await self._machine(first.vm_id), first.path, limit)
        try:
            await receiver.write(first.data)
            async for chunk in requests:
                await receiver.write(chunk.data)
            if first.total_size and receiver.written != first.total_size:
                sizes = f"announced {first.total_size} bytes and brought {receiver.written}"
                raise EmulatorError(Code.INVALID_ARGUMENT, f"the upload {sizes}: nothing was written")
            return pb.UploadFileResponse(bytes_written=await receiver.finish())
        finally:
            await receiver.abort()

    async def download_file(self, request: pb.DownloadFileRequest, context: Context) -> pb.DownloadFileResponse:
        limit = self._options.transfer_limit
        sender = await Sender.start(await self._machine(request.vm_id), request.path)
        try:
            content = bytearray()
            async for data in sender:
                content += data
                if max(len(content), sender.size) > limit:
                    raise too_big(request.path, limit)
            return pb.DownloadFileResponse(data=bytes(content))
        finally:
            await sender.aclose()

    def download_file_stream(self, request: pb.DownloadFileRequest, context: Context) -> DownloadStream:
        return DownloadStream(self._machine(request.vm_id), request.path)


class DownloadStream:
    """A DownloadFileStream response: chunks of a mebibyte, the first with the file's size."""

    def __init__(self, machine: Coroutine[Any, Any, Machine], path: str) -> None:
        self._machine: Coroutine[Any, Any, Machine] | None = machine
        self._path = path
        self._sender: Sender | None = None

    def __aiter__(self) -> DownloadStream:
        return self

    async def __anext__(self) -> pb.DownloadFileChunk:
        if self._machine is not None:
            opening, self._machine = self._machine, None
            self._sender = await Sender.start(await opening, self._path)
            try:
                data = await self._sender.__anext__()
            except StopAsyncIteration:
                data = b""
            return pb.DownloadFileChunk(total_size=self._sender.size, data=data)
        assert self._sender is not None
        return pb.DownloadFileChunk(data=await self._sender.__anext__())

    async def aclose(self) -> None:
        """Close the file. Idempotent."""
        if self._machine is not None:
            self._machine.close()
            self._machine = None
        if self._sender is not None:
            await self._sender.aclose()


def _take_exception(task: asyncio.Task[Any]) -> None:
    """Mark a task's error as seen: its caller may be gone, and has been told otherwise."""
    if not task.cancelled():
        task.exception()


def snake_case(rpc: str) -> str:
    """`DownloadFileStream` as `download_file_stream`."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in rpc).lstrip("_")


def _spec(config: pb.VmConfig | None, env: Any) -> Spec:
    variables = {item.key: item.value for item in env}
    if config is None:
        return Spec(env=variables)
    if config.volumes:
        raise EmulatorError(Code.NOT_FOUND, f"there is no disk {config.volumes[0].disk_id!r}")
    lifecycle = config.srf
    return Spec(
        vcpu=config.vcpu,
        memory_bytes=config.memory_bytes,
        disk_bytes=config.disk_bytes,
        env=variables,
        auto_suspend_seconds=None if lifecycle is None else lifecycle.auto_suspend_timeout_secs,
        auto_destroy_seconds=0 if lifecycle is None else lifecycle.auto_destroy_timeout_secs,
    )
