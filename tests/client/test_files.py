from __future__ import annotations

import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from boxd.errors import FileTooLargeError, InternalError, NotFoundError
from boxd.messages import files as pb
from boxd.messages.vm import CreateVmResponse
from boxd.resources import files
from boxd.resources._base import MAX_TRANSFER
from boxd.resources.box import Box
from boxd.transport import RpcError, StatusCode
from tests.client.fakes import FakeCall, FakeChannel, session_with

pytestmark = pytest.mark.anyio


def box_on(channel: FakeChannel) -> Box:
    return Box(session_with(channel), CreateVmResponse(vm_id="vm-1", name="one"), full=False)


def written(request: pb.UploadFileRequest) -> pb.UploadFileResponse:
    return pb.UploadFileResponse(bytes_written=len(request.data))


async def upload(source: Any) -> pb.UploadFileRequest:
    channel = FakeChannel({"UploadFile": written})
    await box_on(channel).write_file(source, "/tmp/f")
    ((name, request),) = channel.requests
    assert name == "UploadFile"
    assert not channel.bulk
    return request  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("source", "data"),
    [
        (b"bytes", b"bytes"),
        (b"", b""),
        ("text \u00e9", "text \u00e9".encode()),
        (bytearray(b"array"), b"array"),
        (memoryview(b"view")[1:], b"iew"),
    ],
)
async def test_small_content_goes_in_one_message(source: Any, data: bytes) -> None:
    assert await upload(source) == pb.UploadFileRequest(vm_id="vm-1", path="/tmp/f", data=data)


async def test_a_small_file(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"local\0")
    assert (await upload(file)).data == b"local\0"


async def test_a_pipe(tmp_path: Path) -> None:
    """What has no size is read to its end."""
    read, write = os.pipe()
    os.write(write, b"piped")
    os.close(write)
    try:
        assert (await upload(Path(f"/dev/fd/{read}"))).data == b"piped"
    finally:
        os.close(read)


async def upload_stream(source: Any, size: int, *, bytes_written: int | None = None) -> FakeCall:
    call = FakeCall([pb.UploadFileResponse(bytes_written=size if bytes_written is None else bytes_written)])
    channel = FakeChannel(calls=[call])
    await box_on(channel).write_file(source, "big")
    assert channel.requests == [("UploadFileStream", None)]
    assert channel.bulk == ["UploadFileStream"]
    return call


def assert_uploaded(call: FakeCall, data: bytes) -> None:
    first, *rest = call.sent
    assert (first.vm_id, first.path, first.total_size) == ("vm-1", "big", len(data))
    assert all(chunk == pb.UploadFileChunk(data=chunk.data) for chunk in rest)
    assert all(0 < len(chunk.data) <= 1 << 20 for chunk in call.sent)
    assert b"".join(chunk.data for chunk in call.sent) == data
    assert call.half_closed


@pytest.mark.parametrize("size", [(1 << 20) + 1, 2 << 20, (3 << 20) - 1])
async def test_large_content_goes_in_pieces(size: int, tmp_path: Path) -> None:
    data = os.urandom(size)
    assert_uploaded(await upload_stream(data, size), data)
    file = tmp_path / "f"
    file.write_bytes(data)
    assert_uploaded(await upload_stream(file, size), data)


async def test_a_file_of_the_largest_size_with_flat_memory(tmp_path: Path) -> None:
    file = tmp_path / "f"
    with open(file, "wb") as handle:  # noqa: ASYNC230
        handle.truncate(MAX_TRANSFER)
    count = 0

    class Counting(FakeCall):
        async def send(self, message: Any, *, end: bool = False) -> None:
            nonlocal count
            count += len(message.data)

    call = Counting([pb.UploadFileResponse(bytes_written=MAX_TRANSFER)])
    tracemalloc.start()
    await box_on(FakeChannel(calls=[call])).write_file(file, "big")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == MAX_TRANSFER
    assert peak < 8 << 20


async def test_over_the_limit_is_refused_before_any_call(tmp_path: Path) -> None:
    assert MAX_TRANSFER >= 100 * 1000 * 1000
    file = tmp_path / "f"
    with open(file, "wb") as handle:  # noqa: ASYNC230
        handle.truncate(MAX_TRANSFER + 1)
    channel = FakeChannel()
    with pytest.raises(FileTooLargeError, match=r"100 MiB") as caught:
        await box_on(channel).write_file(file, "big")
    assert str(MAX_TRANSFER + 1) in str(caught.value)
    with pytest.raises(FileTooLargeError, match=r"100 MiB"):
        await box_on(channel).write_file(bytes(MAX_TRANSFER + 1), "big")
    with pytest.raises(FileTooLargeError, match=r"100 MiB"):
        await box_on(channel).write_file(Path("/dev/zero"), "big")
    assert channel.requests == []


async def test_bad_arguments_are_refused_before_any_call(tmp_path: Path) -> None:
    channel = FakeChannel()
    box = box_on(channel)
    with pytest.raises(FileNotFoundError):
        await box.write_file(tmp_path / "missing", "f")
    with pytest.raises(IsADirectoryError):
        await box.write_file(tmp_path, "f")
    with pytest.raises(TypeError, match="int"):
        await box.write_file(3, "f")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="dest"):
        await box.write_file(b"", tmp_path)  # type: ignore[arg-type]
    for path in ("", "a\0b"):
        with pytest.raises(ValueError, match="dest"):
            await box.write_file(b"", path)
        with pytest.raises(ValueError, match="path"):
            await box.read_file(path)
    assert channel.requests == []


async def test_a_file_that_shrinks_is_not_taken_for_whole(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(bytes(3 << 20))
    call = FakeCall(on_send=lambda chunk: os.truncate(file, 100))
    with pytest.raises(OSError, match="shorter"):
        await box_on(FakeChannel(calls=[call])).write_file(file, "big")
    assert call.cancelled
    assert not call.half_closed


async def test_what_was_written_is_checked() -> None:
    channel = FakeChannel({"UploadFile": pb.UploadFileResponse(bytes_written=3)})
    with pytest.raises(InternalError, match="3 bytes of 5"):
        await box_on(channel).write_file(b"12345", "f")
    with pytest.raises(InternalError, match="wrote 7 bytes"):
        await upload_stream(bytes(2 << 20), 0, bytes_written=7)
    with pytest.raises(InternalError, match="without an answer"):
        await box_on(FakeChannel(calls=[FakeCall()])).write_file(bytes(2 << 20), "f")


async def test_an_error_after_the_answer_counts() -> None:
    call = FakeCall(
        [pb.UploadFileResponse(bytes_written=2 << 20), RpcError("disk full", StatusCode.RESOURCE_EXHAUSTED)]
    )
    with pytest.raises(Exception, match="disk full"):
        await box_on(FakeChannel(calls=[call])).write_file(bytes(2 << 20), "f")


# Downloads.


def pieces(*data: bytes, total: int | None = None) -> FakeCall:
    size = sum(map(len, data)) if total is None else total
    return FakeCall(
        [pb.DownloadFileChunk(total_size=size if n == 0 else 0, data=piece) for n, piece in enumerate(data)]
    )


@pytest.mark.parametrize("data", [[b"one"], [b"one", b"two"], [b""], []])
async def test_download_in_pieces(data: list[bytes]) -> None:
    call = pieces(*data)
    assert await box_on(FakeChannel(calls=[call])).read_file("f") == b"".join(data)
    assert call.sent == [pb.DownloadFileRequest(vm_id="vm-1", path="f")]
    assert call.half_closed


async def test_a_size_that_the_server_does_not_tell() -> None:
    assert await box_on(FakeChannel(calls=[pieces(b"a", b"b", total=0)])).read_file("f") == b"ab"


@pytest.mark.parametrize("total", [1, 7])
async def test_a_download_of_another_size_than_announced(total: int) -> None:
    with pytest.raises(InternalError, match=f"{total} announced"):
        await box_on(FakeChannel(calls=[pieces(b"ab", b"cd", total=total)])).read_file("f")


async def test_a_download_over_the_limit_ends_at_once() -> None:
    call = pieces(b"a", b"b", total=MAX_TRANSFER + 1)
    with pytest.raises(FileTooLargeError):
        await box_on(FakeChannel(calls=[call])).read_file("f")
    assert call.cancelled
    assert len(call.script) == 1


async def test_an_older_server_costs_one_failed_call() -> None:
    unknown = RpcError("", StatusCode.UNIMPLEMENTED, origin="server")
    channel = FakeChannel({"DownloadFile": pb.DownloadFileResponse(data=b"x")}, [FakeCall([unknown])])
    box = box_on(channel)
    for _ in range(3):
        assert await box.read_file("f") == b"x"
    assert [name for name, _ in channel.requests] == ["DownloadFileStream", *["DownloadFile"] * 3]
    assert channel.bulk == ["DownloadFileStream", *["DownloadFile"] * 3]


async def test_a_missing_file() -> None:
    missing = RpcError("no such file", StatusCode.NOT_FOUND, origin="server")
    with pytest.raises(NotFoundError, match="no such file"):
        await box_on(FakeChannel(calls=[FakeCall([missing])])).read_file("f")


def test_pieces_are_below_the_usual_message_limit() -> None:
    assert files.STREAM_ABOVE < 4 << 20
    assert files.PIECE < 4 << 20
