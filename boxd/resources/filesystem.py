"""`box.files`: the directories of a machine, and files of any size to and from it."""

from __future__ import annotations

import io
import os
import posixpath
from functools import partial
from typing import IO

import anyio
import anyio.to_thread

from boxd import methods
from boxd.errors import BoxdError, InternalError, NotFoundError, UnsupportedError
from boxd.messages import files as pb
from boxd.messages import paths
from boxd.resources._service import MachineService
from boxd.resources.files import PIECE, check_path, check_written, response_of
from boxd.resources.local import Destination, open_source, read_piece, write_all
from boxd.types.files import FileInfo, FileList


class FileService(MachineService):
    """The files of one machine. Its paths are absolute or relative to `/home/boxd`. Older servers answer with
    `UnsupportedError`, but for `upload` and `download`."""

    async def list(self, path: str = ".") -> FileList:
        """What is in a directory. `truncated` of the result tells that the server lists only a part. Raises
        `NotFoundError`. RPC: ListDir."""
        check_path(path, "path")
        response = await self._session.unary(methods.ListDir, paths.ListDirRequest(vm_id=self._vm_id, path=path))
        found = FileList(
            FileInfo(
                name=entry.name,
                is_dir=entry.is_dir,
                size_bytes=entry.size_bytes,
                permissions=entry.permissions,
                modified_at=entry.modified_at,
                added_at=entry.added_at,
            )
            for entry in response.entries
        )
        found.truncated = response.truncated
        return found

    async def stat(self, path: str) -> FileInfo:
        """What the directory of `path` says about it; a link is not followed.

        Raises `NotFoundError` where there is nothing of that name, `BoxdError` where the server does not list enough of
        the directory to tell, and `ValueError` for paths without a name at their end, such as `/` and `..`.
        RPC: ListDir.
        """
        check_path(path, "path")
        directory, name = posixpath.split(path.rstrip("/"))
        if name in ("", ".", ".."):
            raise ValueError(f"path {path!r} has no name at its end: use the name that its directory has for it")
        entries = await self.list(directory or ".")
        for entry in entries:
            if entry.name == name:
                return entry
        if entries.truncated:
            raise BoxdError(f"{path!r} cannot be told: its directory is too large for the server to list in full")
        raise NotFoundError(f"there is no {path!r} in the machine", 5)

    async def exists(self, path: str) -> bool:
        """Whether there is something at `path`, which may be a link that leads nowhere. Raises what `stat` raises
        otherwise. RPC: ListDir."""
        try:
            await self.stat(path)
        except NotFoundError:
            return False
        return True

    async def mkdir(self, path: str) -> None:
        """Make a directory. Its parent must exist. RPC: Mkdir."""
        check_path(path, "path")
        await self._session.unary(methods.Mkdir, paths.MkdirRequest(vm_id=self._vm_id, path=path))

    async def rename(self, old: str, new: str) -> None:
        """Move a file or a directory to the path `new`. Raises `NotFoundError`. RPC: RenamePath."""
        check_path(old, "old")
        check_path(new, "new")
        request = paths.RenamePathRequest(vm_id=self._vm_id, old_path=old, new_path=new)
        await self._session.unary(methods.RenamePath, request)

    async def copy(self, old: str, new: str) -> None:
        """Copy a file, or a directory with all that is in it, to the path `new`. Raises `NotFoundError`.
        RPC: CopyPath."""
        check_path(old, "old")
        check_path(new, "new")
        request = paths.CopyPathRequest(vm_id=self._vm_id, old_path=old, new_path=new)
        await self._session.unary(methods.CopyPath, request)

    async def remove(self, path: str) -> None:
        """Remove a file, or a directory with all that is in it. Raises `NotFoundError`. RPC: DeletePath."""
        check_path(path, "path")
        await self._session.unary(methods.DeletePath, paths.DeletePathRequest(vm_id=self._vm_id, path=path))

    async def upload(self, source: str | os.PathLike[str] | IO[bytes], dest: str) -> int:
        """Send a local file to the path `dest` in the machine and return its size in bytes. RPC: UploadFileStream.

        `source` is a path, or a binary file object, which is read from its position on. It is read as it is sent, so
        that memory stays flat, and may be as large as the service takes: `QuotaExceededError` says that it is too
        large. Raises `OSError` for a file that cannot be read, or that becomes shorter meanwhile.
        """
        check_path(dest, "dest")
        if not isinstance(source, (str, os.PathLike)) and not hasattr(source, "read"):
            raise TypeError(
                f"source is of type {type(source).__name__}: use a path, or a file object; content goes by write_file"
            )
        file, size = await anyio.to_thread.run_sync(open_source, source)
        try:
            return await self._send(file, size, dest)
        finally:
            if file is not source:
                file.close()

    async def download(self, path: str, dest: str | os.PathLike[str] | IO[bytes]) -> int:
        """Fetch the file `path` of the machine and return its size in bytes. RPCs: DownloadFileStream, or DownloadFile
        where the server does not know that, which takes at most 100 MiB and holds them in memory.

        `dest` is a local path, or a binary file object. A local file comes into its place when it is whole, and until
        then what was there stays; a file object has got a part of it where the call fails. Raises `NotFoundError`, and
        `OSError` for a path that cannot be written, before any call.
        """
        check_path(path, "path")
        if not isinstance(dest, (str, os.PathLike)):
            if not hasattr(dest, "write"):
                raise TypeError(f"dest is of type {type(dest).__name__}: use a path, or a file object")
            if isinstance(dest, io.TextIOBase):
                raise TypeError("dest is a text file: open it in binary mode, 'wb'")
            return await self._fetch(path, dest)
        place = await anyio.to_thread.run_sync(Destination, dest)
        try:
            size = await self._fetch(path, place.file)
            await anyio.to_thread.run_sync(place.commit)
        except BaseException:
            place.discard()
            raise
        return size

    async def _send(self, file: IO[bytes], size: int, dest: str) -> int:
        """Upload what is in a file; `size` is 0 where it is not known."""
        sent = 0
        async with self._session.stream(methods.UploadFileStream) as stream:
            chunk = pb.UploadFileChunk(vm_id=self._vm_id, path=dest, total_size=size)
            while True:
                count = min(PIECE, size - sent) if size else PIECE
                chunk.data = await anyio.to_thread.run_sync(partial(read_piece, file, count)) if count else b""
                if chunk.data or not sent:
                    await stream.send(chunk)
                if not chunk.data:
                    break
                sent += len(chunk.data)
                chunk = pb.UploadFileChunk()
            if sent < size:
                # Leaving the block cancels the call: the server does not take a part for the whole.
                raise OSError(f"the file for {dest!r} became shorter while it was sent: {sent} bytes of {size}")
            await stream.end()
            response = await response_of(stream)
        check_written(response, dest, sent)
        return sent

    async def _fetch(self, path: str, file: IO[bytes]) -> int:
        """Download into a file."""
        session = self._session
        request = pb.DownloadFileRequest(vm_id=self._vm_id, path=path)
        if methods.DownloadFileStream.name not in session.missing:
            try:
                return await self._fetch_pieces(request, file)
            except UnsupportedError:
                session.missing.add(methods.DownloadFileStream.name)
        data = (await session.unary(methods.DownloadFile, request)).data
        await anyio.to_thread.run_sync(write_all, file, data)
        return len(data)

    async def _fetch_pieces(self, request: pb.DownloadFileRequest, file: IO[bytes]) -> int:
        received = total = 0
        async with self._session.stream(methods.DownloadFileStream) as stream:
            await stream.send(request, end=True)
            while batch := await stream.receive_batch():
                total = max(total, *(chunk.total_size for chunk in batch))
                data = b"".join([chunk.data for chunk in batch])
                received += len(data)
                await anyio.to_thread.run_sync(write_all, file, data)
        # A server that does not know the size says 0.
        if total and received != total:
            raise InternalError(
                f"download of {request.path!r}: {received} bytes came of the {total} announced; try again", 13
            )
        return received
