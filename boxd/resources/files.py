"""Files to and from a machine."""

from __future__ import annotations

import os
import stat
from typing import IO, TYPE_CHECKING

import anyio
import anyio.to_thread

from boxd import methods
from boxd.errors import BoxdError, FileTooLargeError, InternalError, UnsupportedError
from boxd.messages import files as pb
from boxd.resources._base import MAX_TRANSFER

if TYPE_CHECKING:
    from boxd.resources._base import Session, Stream

STREAM_ABOVE = 1 << 20
"""Uploads larger than this, in bytes, are sent in pieces."""
PIECE = 1 << 20
"""The size of a piece, in bytes: well under gRPC's usual limit for a message."""


async def write_file(session: Session, vm_id: str, source: bytes | str | os.PathLike[str], dest: str) -> None:
    """Write `source` to `dest` in a machine; see `Box.write_file`."""
    check_path(dest, "dest")
    if isinstance(source, os.PathLike):
        await _send_file(session, vm_id, os.fspath(source), dest)
    elif isinstance(source, str):
        await _send_bytes(session, vm_id, source.encode(), dest)
    elif isinstance(source, (bytes, bytearray, memoryview)):
        await _send_bytes(session, vm_id, source, dest)
    else:
        raise TypeError(
            f"source is of type {type(source).__name__}: use bytes, a str with the content, or a Path to read from"
        )


async def read_file(session: Session, vm_id: str, path: str) -> bytes:
    """The content of `path` in a machine; see `Box.read_file`."""
    check_path(path, "path")
    request = pb.DownloadFileRequest(vm_id=vm_id, path=path)
    if methods.DownloadFileStream.name not in session.missing:
        try:
            return await _receive(session, request)
        except UnsupportedError:
            session.missing.add(methods.DownloadFileStream.name)
    return (await session.unary(methods.DownloadFile, request, bulk=True)).data


async def _receive(session: Session, request: pb.DownloadFileRequest) -> bytes:
    """Download in pieces."""
    pieces: list[bytes] = []
    received = total = 0
    async with session.stream(methods.DownloadFileStream, bulk=True) as stream:
        await stream.send(request, end=True)
        while batch := await stream.receive_batch():
            for chunk in batch:
                total = max(total, chunk.total_size)
                received += len(chunk.data)
                pieces.append(chunk.data)
            if max(total, received) > MAX_TRANSFER:
                raise _too_large(f"the file {request.path!r}", max(total, received))
    # A server that does not know the size says 0.
    if total and received != total:
        raise InternalError(
            f"download of {request.path!r}: {received} bytes came of the {total} announced; try again", 13
        )
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def _send_bytes(session: Session, vm_id: str, data: bytes | bytearray | memoryview, dest: str) -> None:
    view = memoryview(data).cast("B")
    size = len(view)
    if size > MAX_TRANSFER:
        raise _too_large(f"the content for {dest!r}", size)
    if size <= STREAM_ABOVE:
        response = await session.unary(
            methods.UploadFile, pb.UploadFileRequest(vm_id=vm_id, path=dest, data=bytes(data))
        )
    else:
        async with session.stream(methods.UploadFileStream, bulk=True) as stream:
            for start in range(0, size, PIECE):
                piece = bytes(view[start : start + PIECE])
                await _send_piece(stream, vm_id, dest, start, piece, size)
            response = await response_of(stream)
    check_written(response, dest, size)


async def _send_file(session: Session, vm_id: str, source: str, dest: str) -> None:
    """Upload a local file, read as it is sent. Raises `OSError` where it cannot be read, before any call if
    possible."""
    file, size = await anyio.to_thread.run_sync(_open, source)
    with file:
        if size is None or size <= STREAM_ABOVE:
            data = await anyio.to_thread.run_sync(_read_all, file)
            if data is None:
                raise _too_large(f"the file {source!r}", None)
            await _send_bytes(session, vm_id, data, dest)
            return
        if size > MAX_TRANSFER:
            raise _too_large(f"the file {source!r}", size)
        async with session.stream(methods.UploadFileStream, bulk=True) as stream:
            sent = 0
            while sent < size:
                piece = await anyio.to_thread.run_sync(file.read, min(PIECE, size - sent))
                if not piece:
                    # Leaving the block cancels the call: the server does not take a part for the whole.
                    raise OSError(f"{source!r} became shorter while it was sent: {sent} bytes of {size}")
                await _send_piece(stream, vm_id, dest, sent, piece, size)
                sent += len(piece)
            response = await response_of(stream)
    check_written(response, dest, size)


def _open(path: str) -> tuple[IO[bytes], int | None]:
    """A local file and its size; None for the size of what is no regular file."""
    file = open(path, "rb", buffering=0)  # noqa: SIM115  The caller closes it.
    try:
        status = os.fstat(file.fileno())
        return file, status.st_size if stat.S_ISREG(status.st_mode) else None
    except BaseException:
        file.close()
        raise


def _read_all(file: IO[bytes]) -> bytes | None:
    """What a small file, a pipe or a file of the kernel's gives until its end; None where it is over the limit."""
    pieces: list[bytes] = []
    size = 0
    while piece := file.read(PIECE):
        pieces.append(piece)
        size += len(piece)
        if size > MAX_TRANSFER:
            return None
    return b"".join(pieces)


async def _send_piece(
    stream: Stream[pb.UploadFileChunk, pb.UploadFileResponse],
    vm_id: str,
    dest: str,
    start: int,
    piece: bytes,
    size: int,
) -> None:
    """Send a piece of a file of `size` bytes; the first names the file, the last half-closes."""
    chunk = pb.UploadFileChunk(data=piece)
    if not start:
        chunk = pb.UploadFileChunk(vm_id=vm_id, path=dest, total_size=size, data=piece)
    await stream.send(chunk, end=start + len(piece) == size)


async def response_of(stream: Stream[pb.UploadFileChunk, pb.UploadFileResponse]) -> pb.UploadFileResponse:
    """The answer to an upload that has been sent."""
    response = await stream.receive()
    if response is None:
        raise InternalError("UploadFileStream ended without an answer", 13)
    # The status comes after the message, and may still be an error.
    await stream.receive()
    return response


def check_written(response: pb.UploadFileResponse, dest: str, size: int) -> None:
    """Raises `InternalError` where the server has written something else than `size` bytes."""
    # 0 is what a server says that cannot tell.
    if response.bytes_written not in (0, size):
        raise InternalError(
            f"upload to {dest!r}: the server wrote {response.bytes_written} bytes of {size}; try again", 13
        )


def check_path(path: str, name: str) -> None:
    """Refuse what cannot be a path in a machine. `name` is that of the argument."""
    if not isinstance(path, str):
        raise TypeError(f"{name} is of type {type(path).__name__}: use a str, the path in the machine")
    if not path or "\0" in path:
        raise ValueError(f"{name} {path!r}: use a path in the machine, absolute or relative to /home/boxd")


def _too_large(what: str, size: int | None) -> BoxdError:
    count = "more" if size is None else f"{size} bytes"
    return FileTooLargeError(f"{what} has {count}; at most {MAX_TRANSFER} bytes (100 MiB) can be moved in one call")
