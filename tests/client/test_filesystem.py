"""`box.files`: what goes to the service, what becomes of its answers, and local files that are whole or not there."""

from __future__ import annotations

import io
import os
import stat
import tracemalloc
from pathlib import Path
from typing import Any

import anyio
import pytest

from boxd.errors import BoxdError, ConnectionError, InternalError, NotFoundError, QuotaExceededError, UnsupportedError
from boxd.messages import files as pb
from boxd.messages import paths
from boxd.messages.vm import CreateVmResponse
from boxd.resources.box import Box
from boxd.resources.filesystem import FileService
from boxd.resources.local import write_all
from boxd.transport import ConnectionLost, RpcError, StatusCode
from boxd.types.files import FileInfo
from tests.client.fakes import FakeCall, FakeChannel, session_with

pytestmark = pytest.mark.anyio

MIB = 1 << 20
UNKNOWN = RpcError("no such method", StatusCode.UNIMPLEMENTED, origin="server")
MISSING = RpcError("no such file", StatusCode.NOT_FOUND, origin="server")
ENTRIES = [
    paths.DirEntry(
        name="file", size_bytes=5, permissions="-rw-r--r--", modified_at=1_000_000_000, added_at=1_000_000_001
    ),
    paths.DirEntry(name="dir", is_dir=True, permissions="drwxr-xr-x"),
]
FILE = FileInfo("file", False, 5, "-rw-r--r--", 1_000_000_000, 1_000_000_001)


def files_on(channel: FakeChannel) -> FileService:
    return Box(session_with(channel), CreateVmResponse(vm_id="vm-1", name="one"), full=False).files


# Directories and names.


@pytest.mark.parametrize("truncated", [False, True])
async def test_list(truncated: bool) -> None:
    channel = FakeChannel({"ListDir": paths.ListDirResponse(entries=ENTRIES, truncated=truncated)})
    found = await files_on(channel).list("/some dir")
    assert found == [FILE, FileInfo("dir", True, 0, "drwxr-xr-x", 0, 0)]
    assert found.truncated is truncated
    assert channel.requests == [("ListDir", paths.ListDirRequest(vm_id="vm-1", path="/some dir"))]


@pytest.mark.parametrize(
    ("path", "directory"),
    [("file", "."), ("/file", "/"), ("a/b/file", "a/b"), ("/a/file", "/a"), ("a/file/", "a"), ("../file", "..")],
)
async def test_stat_asks_the_directory(path: str, directory: str) -> None:
    channel = FakeChannel({"ListDir": paths.ListDirResponse(entries=ENTRIES)})
    assert await files_on(channel).stat(path) == FILE
    assert await files_on(channel).exists(path)
    assert {request.path for _, request in channel.requests} == {directory}


async def test_stat_of_what_is_not_there() -> None:
    files = files_on(FakeChannel({"ListDir": paths.ListDirResponse(entries=ENTRIES)}))
    with pytest.raises(NotFoundError, match="'a/none'") as caught:
        await files.stat("a/none")
    assert caught.value.grpc_code == 5
    assert not await files.exists("a/none")
    assert not await files_on(FakeChannel({"ListDir": MISSING})).exists("none/file")


async def test_stat_does_not_guess() -> None:
    files = files_on(FakeChannel({"ListDir": paths.ListDirResponse(entries=ENTRIES, truncated=True)}))
    assert await files.exists("file")
    for call in (files.stat, files.exists):
        with pytest.raises(BoxdError, match="too large") as caught:
            await call("other")
        assert not isinstance(caught.value, NotFoundError)
    for path in ("/", "..", "a/.", "//"):
        with pytest.raises(ValueError, match="no name at its end"):
            await files.stat(path)


CALLS: list[tuple[str, list[str], str, Any]] = [
    ("mkdir", ["a"], "Mkdir", paths.MkdirRequest(vm_id="vm-1", path="a")),
    ("remove", ["a"], "DeletePath", paths.DeletePathRequest(vm_id="vm-1", path="a")),
    ("rename", ["a", "b"], "RenamePath", paths.RenamePathRequest(vm_id="vm-1", old_path="a", new_path="b")),
    ("copy", ["a", "b"], "CopyPath", paths.CopyPathRequest(vm_id="vm-1", old_path="a", new_path="b")),
    ("list", ["a"], "ListDir", paths.ListDirRequest(vm_id="vm-1", path="a")),
]


@pytest.mark.parametrize(("call", "arguments", "rpc", "request_"), CALLS)
async def test_calls(call: str, arguments: list[str], rpc: str, request_: Any) -> None:
    channel = FakeChannel({rpc: [paths.ListDirResponse(), MISSING, UNKNOWN]})
    await getattr(files_on(channel), call)(*arguments)
    assert channel.requests == [(rpc, request_)]
    with pytest.raises(NotFoundError, match="no such file"):
        await getattr(files_on(channel), call)(*arguments)
    with pytest.raises(UnsupportedError, match=rpc):
        await getattr(files_on(channel), call)(*arguments)
    channel.requests.clear()
    for wrong, error in (("", ValueError), ("a\0", ValueError), (5, TypeError), (Path("a"), TypeError)):
        for position in range(len(arguments)):
            with pytest.raises(error):
                await getattr(files_on(channel), call)(*arguments[:position], wrong, *arguments[position + 1 :])
    assert channel.requests == []


# Up.


async def upload(source: Any, size: int, written: int | None = None) -> FakeCall:
    call = FakeCall([pb.UploadFileResponse(bytes_written=size if written is None else written)])
    assert await files_on(FakeChannel(calls=[call])).upload(source, "/dest") == size
    return call


def check_sent(call: FakeCall, data: bytes, announced: int) -> None:
    first, *rest = call.sent
    assert (first.vm_id, first.path, first.total_size) == ("vm-1", "/dest", announced)
    assert all(chunk == pb.UploadFileChunk(data=chunk.data) for chunk in rest)
    assert all(0 < len(chunk.data) <= MIB for chunk in rest)
    assert b"".join(chunk.data for chunk in call.sent) == data
    assert call.half_closed


@pytest.mark.parametrize("size", [0, 1, MIB, 2 * MIB + 3])
async def test_upload(size: int, tmp_path: Path) -> None:
    data = os.urandom(size)
    path = tmp_path / "f"
    path.write_bytes(data)
    check_sent(await upload(path, size), data, size)
    check_sent(await upload(str(path), size), data, size)
    check_sent(await upload(io.BytesIO(data), size), data, size)
    with path.open("rb") as file:
        check_sent(await upload(file, size), data, size)
        assert not file.closed


async def test_upload_from_a_position() -> None:
    source = io.BytesIO(b"0123456789")
    source.seek(4)
    check_sent(await upload(source, 6), b"456789", 6)


async def test_upload_from_a_pipe() -> None:
    read, write = os.pipe()
    os.write(write, b"piped")
    os.close(write)
    with open(read, "rb", buffering=0) as pipe:  # noqa: ASYNC230
        check_sent(await upload(pipe, 5), b"piped", 0)


async def test_a_server_that_does_not_tell_what_it_wrote() -> None:
    await upload(io.BytesIO(b"12345"), 5, written=0)


async def test_uploads_that_fail(tmp_path: Path) -> None:
    channel = FakeChannel()
    with pytest.raises(FileNotFoundError):
        await files_on(channel).upload(tmp_path / "none", "/dest")
    for source in (b"content", 5, None):
        with pytest.raises(TypeError, match="path, or a file object"):
            await files_on(channel).upload(source, "/dest")  # type: ignore[arg-type]
    assert channel.requests == []
    with pytest.raises(InternalError, match="wrote 4 bytes of 5"):
        await upload(io.BytesIO(b"12345"), 5, written=4)
    with pytest.raises(TypeError, match="binary mode"):
        await upload(io.StringIO("text"), 4)
    refused = RpcError("too large", StatusCode.RESOURCE_EXHAUSTED, origin="server")
    with pytest.raises(QuotaExceededError, match="too large"):
        await files_on(FakeChannel(calls=[FakeCall([refused])])).upload(io.BytesIO(b"1"), "/dest")


async def test_a_file_that_becomes_shorter(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(bytes(3 * MIB))
    call = FakeCall(on_send=lambda message: os.truncate(path, MIB))
    with pytest.raises(OSError, match=f"shorter while it was sent: {MIB} bytes of {3 * MIB}"):
        await files_on(FakeChannel(calls=[call])).upload(path, "/dest")
    assert call.cancelled
    assert not call.half_closed


async def test_a_large_upload_with_flat_memory(tmp_path: Path) -> None:
    """Larger than what `write_file` takes."""
    path = tmp_path / "f"
    size = 150 * MIB
    with path.open("wb") as file:
        file.truncate(size)

    class Counting(FakeCall):
        async def send(self, message: Any, *, end: bool = False) -> None:
            nonlocal count
            count += len(message.data)

    count = 0
    tracemalloc.start()
    call = Counting([pb.UploadFileResponse(bytes_written=size)])
    await files_on(FakeChannel(calls=[call])).upload(path, "/dest")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (count, peak < 8 * MIB) == (size, True)


# Down.


def pieces(*data: bytes, total: int | None = None) -> list[Any]:
    size = sum(map(len, data)) if total is None else total
    return [pb.DownloadFileChunk(total_size=size), *(pb.DownloadFileChunk(data=piece) for piece in data)]


async def test_download(tmp_path: Path) -> None:
    for place in (tmp_path / "new", tmp_path / "text"):
        call = FakeCall(pieces(b"one", b"", b"two"))
        dest = str(place) if place.name == "text" else place
        assert await files_on(FakeChannel(calls=[call])).download("/src", dest) == 6
        assert place.read_bytes() == b"onetwo"
        assert call.sent == [pb.DownloadFileRequest(vm_id="vm-1", path="/src")]
    buffer = io.BytesIO()
    assert await files_on(FakeChannel(calls=[FakeCall(pieces(b"one", total=0))])).download("/src", buffer) == 3
    assert buffer.getvalue() == b"one"
    assert sorted(os.listdir(tmp_path)) == ["new", "text"]


async def test_what_was_there_keeps_its_mode_and_its_links(tmp_path: Path) -> None:
    place, link = tmp_path / "place", tmp_path / "link"
    place.write_bytes(b"a longer old content")
    place.chmod(0o640)
    link.symlink_to(place)
    await files_on(FakeChannel(calls=[FakeCall(pieces(b"new"))])).download("/src", link)
    assert (place.read_bytes(), stat.S_IMODE(place.stat().st_mode)) == (b"new", 0o640)
    assert link.is_symlink()


async def test_what_is_no_file_is_written_directly() -> None:
    read, write = os.pipe()
    await files_on(FakeChannel(calls=[FakeCall(pieces(b"through"))])).download("/src", f"/dev/fd/{write}")
    os.close(write)
    with open(read, "rb") as pipe:  # noqa: ASYNC230
        assert pipe.read() == b"through"


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ([*pieces(b"part"), ConnectionLost("gone")], ConnectionError),
        (pieces(b"part", total=9), InternalError),
        ([MISSING], NotFoundError),
    ],
)
@pytest.mark.parametrize("there", [False, True])
async def test_a_download_that_fails_leaves_no_part(
    script: list[Any], error: type[BoxdError], there: bool, tmp_path: Path
) -> None:
    place = tmp_path / "place"
    if there:
        place.write_bytes(b"old")
    with pytest.raises(error):
        await files_on(FakeChannel(calls=[FakeCall(script)])).download("/src", place)
    assert os.listdir(tmp_path) == (["place"] if there else [])
    assert not there or place.read_bytes() == b"old"


async def test_a_download_that_is_cancelled_leaves_no_part(tmp_path: Path) -> None:
    gate = anyio.Event()
    call = FakeCall([*pieces(b"part", total=9), gate])
    async with anyio.create_task_group() as group:
        group.start_soon(files_on(FakeChannel(calls=[call])).download, "/src", tmp_path / "place")
        with anyio.fail_after(5):
            while len(call.script) > 1:  # noqa: ASYNC110  A worker thread writes the part.
                await anyio.sleep(0.001)
            assert len(os.listdir(tmp_path)) == 1
        group.cancel_scope.cancel()
    assert call.cancelled
    assert os.listdir(tmp_path) == []


async def test_downloads_that_cannot_begin(tmp_path: Path) -> None:
    channel = FakeChannel()
    with pytest.raises(IsADirectoryError):
        await files_on(channel).download("/src", tmp_path)
    with pytest.raises(FileNotFoundError) as caught:
        await files_on(channel).download("/src", tmp_path / "none" / "place")
    assert caught.value.filename == str(tmp_path / "none" / "place")
    with pytest.raises(TypeError, match="path, or a file object"):
        await files_on(channel).download("/src", 5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="binary mode"):
        await files_on(channel).download("/src", io.StringIO())  # type: ignore[arg-type]
    assert channel.requests == []


async def test_a_server_that_does_not_stream_downloads(tmp_path: Path) -> None:
    """It is asked once, by whichever call."""
    channel = FakeChannel({"DownloadFile": pb.DownloadFileResponse(data=b"whole")}, [FakeCall([UNKNOWN])])
    files = files_on(channel)
    for name in ("one", "two"):
        assert await files.download("/src", tmp_path / name) == 5
        assert (tmp_path / name).read_bytes() == b"whole"
    assert [name for name, _ in channel.requests] == ["DownloadFileStream", "DownloadFile", "DownloadFile"]


async def test_a_disk_that_is_full(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="space"), open("/dev/full", "wb", buffering=0) as full:  # noqa: ASYNC230
        await files_on(FakeChannel(calls=[FakeCall(pieces(b"part"))])).download("/src", full)


def test_files_that_take_a_part_at_a_time() -> None:
    class Slow(io.BytesIO):
        def write(self, data: Any) -> int:
            return super().write(bytes(data[:3]))

    class Full(io.BytesIO):
        def write(self, data: Any) -> Any:
            return None

    slow = Slow()
    write_all(slow, b"0123456789")
    assert slow.getvalue() == b"0123456789"
    with pytest.raises(BlockingIOError):
        write_all(Full(), b"x")
