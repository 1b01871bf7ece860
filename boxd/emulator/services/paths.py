"""Directories in a machine, and names of files."""

from __future__ import annotations

from typing import Any

from boxd import messages as pb

from ..errors import from_os_error
from .base import Context
from .commands import Commands


class Paths(Commands):
    """The RPCs about paths. Relative ones are in the machine user's home."""

    async def list_dir(self, request: pb.ListDirRequest, context: Context) -> pb.ListDirResponse:
        found = await self._on_paths(request.vm_id, "list", request.path)
        entries = [
            pb.DirEntry(
                name=entry["name"],
                is_dir=entry["is_dir"],
                size_bytes=entry["size"],
                permissions=entry["permissions"],
                modified_at=entry["modified"],
                added_at=entry["added"],
            )
            for entry in found["entries"]
        ]
        return pb.ListDirResponse(entries=entries, truncated=found["truncated"])

    async def mkdir(self, request: pb.MkdirRequest, context: Context) -> pb.MkdirResponse:
        await self._whole(self._on_paths(request.vm_id, "mkdir", request.path))
        return pb.MkdirResponse()

    async def rename_path(self, request: pb.RenamePathRequest, context: Context) -> pb.RenamePathResponse:
        await self._whole(self._on_paths(request.vm_id, "rename", request.old_path, request.new_path))
        return pb.RenamePathResponse()

    async def copy_path(self, request: pb.CopyPathRequest, context: Context) -> pb.CopyPathResponse:
        await self._whole(self._on_paths(request.vm_id, "copy", request.old_path, request.new_path))
        return pb.CopyPathResponse()

    async def delete_path(self, request: pb.DeletePathRequest, context: Context) -> pb.DeletePathResponse:
        await self._whole(self._on_paths(request.vm_id, "remove", request.path))
        return pb.DeletePathResponse()

    async def _on_paths(self, vm_id: str, operation: str, *paths: str) -> dict[str, Any]:
        machine = await self._machine(vm_id)
        try:
            return await machine.paths(operation, *paths)
        except OSError as error:
            raise from_os_error(error, f"{operation} {' to '.join(paths)}") from error
