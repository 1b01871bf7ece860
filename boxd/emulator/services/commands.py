"""Commands in a machine, and its files."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from boxd import messages as pb

from ..errors import Code, EmulatorError
from ..execs import ExecSession
from ..sandbox import Machine
from ..transfers import Receiver, Sender, too_big
from .base import Context, Handlers


class Commands(Handlers):
    """Exec and the transfer of files."""

    async def _machine(self, key: str) -> Machine:
        return await self._boxes.ready(self._boxes.existing(key))

    def exec(self, requests: AsyncIterator[pb.ExecChunk], context: Context) -> ExecSession:
        use = contextlib.ExitStack()

        async def open_machine(key: str) -> tuple[Machine, dict[str, str]]:
            box = self._boxes.existing(key)
            use.enter_context(self._boxes.in_use(box))
            return await self._boxes.ready(box), self._account.environment(box)

        return ExecSession(requests, open_machine, self.run_in_background, self._options.kill_grace, use.close)

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
