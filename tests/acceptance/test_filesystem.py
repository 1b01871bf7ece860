"""`box.files`."""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

import boxd
from tests.acceptance.conftest import Connect
from tests.acceptance.shell import sh
from tests.acceptance.test_files import MIB, content
from tests.conftest import StartServer

pytestmark = pytest.mark.anyio


@pytest.fixture
async def folder(box: Any) -> str:
    """A directory that no other test uses."""
    name = f"dir-{secrets.token_hex(8)}"
    await box.files.mkdir(name)
    return name


async def names(box: Any, path: str) -> list[str]:
    return sorted(entry.name for entry in await box.files.list(path))


async def test_directories(box: Any, folder: str) -> None:
    files = box.files
    await files.mkdir(f"{folder}/a ü")
    await box.write_file(b"12345", f"{folder}/a ü/file")
    await sh(box, f"cd {folder}; chmod 640 a*/file; ln -s none link")
    found = await files.list(folder)
    assert not found.truncated
    assert sorted((entry.name, entry.is_dir, entry.permissions[0]) for entry in found) == [
        ("a ü", True, "d"),
        ("link", False, "l"),
    ]
    (file,) = await files.list(f"{folder}/a ü")
    assert file == await files.stat(f"{folder}/a ü/file")
    assert (file.name, file.size_bytes, file.permissions) == ("file", 5, "-rw-r-----")
    assert abs(time.time() - file.modified_at) < 60
    assert abs(time.time() - file.added_at) < 60
    assert await files.exists(f"{folder}/link")
    assert not await files.exists(f"{folder}/none")
    assert not await files.exists(f"{folder}/none/x")
    assert folder in await names(box, ".")


async def test_moving_copying_removing(box: Any, folder: str) -> None:
    files = box.files
    await box.write_file(b"x", f"{folder}/one")
    await files.mkdir(f"{folder}/sub")
    await files.copy(f"{folder}/one", f"{folder}/sub/two")
    await files.rename(f"{folder}/one", f"{folder}/sub/three")
    await files.copy(f"{folder}/sub", f"{folder}/again")
    assert await names(box, folder) == ["again", "sub"]
    assert await names(box, f"{folder}/again") == ["three", "two"]
    assert await box.read_file(f"{folder}/again/two") == b"x"
    await files.remove(f"{folder}/sub/three")
    await files.remove(f"{folder}/again")
    assert await names(box, folder) == ["sub"]
    assert (await box.exec("ls", folder)).stdout == "sub\n"


@pytest.mark.parametrize("call", ["list", "stat", "remove", "rename", "copy", "download"])
async def test_what_is_not_there(box: Any, folder: str, call: str, tmp_path: Path) -> None:
    more = {"rename": ["x"], "copy": ["x"], "download": [tmp_path / "x"]}.get(call, [])
    with pytest.raises(boxd.NotFoundError, match="none"):
        await getattr(box.files, call)(f"{folder}/none", *more)
    assert os.listdir(tmp_path) == []


async def test_what_is_in_the_way(box: Any, folder: str, tmp_path: Path) -> None:
    with pytest.raises(boxd.InvalidArgumentError):
        await box.files.mkdir(folder)
    with pytest.raises(boxd.NotFoundError):
        await box.files.mkdir(f"{folder}/none/x")
    with pytest.raises(boxd.InvalidArgumentError):
        await box.files.copy(folder, f"{folder}/inside")
    with pytest.raises(boxd.BoxdError):
        await box.files.upload(io.BytesIO(b"x"), folder)
    with pytest.raises(boxd.BoxdError):
        await box.files.download(folder, tmp_path / "x")
    assert os.listdir(tmp_path) == []


async def test_nothing_leads_out_of_the_machine(box: Any, folder: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("here")
    await sh(box, f"ln -s / {folder}/up")
    for way in ("../" * 12, f"{folder}/up/", f"{folder}/up/../../"):
        path = way + str(tmp_path / "secret").lstrip("/")
        with pytest.raises(boxd.NotFoundError):
            await box.files.stat(path)
        for call in (
            box.files.remove(path),
            box.files.copy(path, f"{folder}/stolen"),
            box.files.rename(path, "stolen"),
        ):
            with pytest.raises(boxd.NotFoundError):
                await call
    assert (tmp_path / "secret").read_text() == "here"


@pytest.mark.parametrize("size", [0, 1, 5 * MIB + 7])
async def test_up_and_down(box: Any, folder: str, tmp_path: Path, size: int) -> None:
    data = content(size)
    local, back = tmp_path / "local", tmp_path / "back"
    local.write_bytes(data)
    assert await box.files.upload(local, f"{folder}/path") == size
    assert (await box.exec("sha256sum", f"{folder}/path")).stdout.split()[0] == hashlib.sha256(data).hexdigest()
    assert await box.files.download(f"{folder}/path", back) == size
    assert back.read_bytes() == data
    with local.open("rb") as source, (tmp_path / "object").open("wb") as target:
        assert await box.files.upload(source, f"{folder}/object") == size
        assert await box.files.download(f"{folder}/object", target) == size
    assert (tmp_path / "object").read_bytes() == data
    assert sorted(os.listdir(tmp_path)) == ["back", "local", "object"]


async def test_a_pipe_up(box: Any, folder: str) -> None:
    """Its size is not known before its end."""
    read, write = os.pipe()
    data = content(3 * MIB)

    def fill() -> None:
        with open(write, "wb") as pipe:
            pipe.write(data)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, fill)
        with open(read, "rb", buffering=0) as pipe:  # noqa: ASYNC230
            assert await box.files.upload(pipe, f"{folder}/piped") == len(data)
    assert await box.read_file(f"{folder}/piped") == data


async def test_an_upload_over_the_servers_limit(box: Any, folder: str, tmp_path: Path) -> None:
    local = tmp_path / "large"
    with local.open("wb") as file:
        file.truncate(100 * MIB + 1)
    with pytest.raises(boxd.QuotaExceededError, match="larger than the limit"):
        await box.files.upload(local, f"{folder}/large")
    assert await names(box, folder) == []


async def test_a_download_larger_than_read_file_takes(box: Any, folder: str, tmp_path: Path) -> None:
    size = 120 * MIB
    await box.exec("truncate", "-s", str(size), f"{folder}/large")
    assert await box.files.download(f"{folder}/large", tmp_path / "large") == size
    assert (tmp_path / "large").stat().st_size == size
    await box.files.remove(f"{folder}/large")


@pytest.mark.parametrize("kind", ["emulator", "grpcio"])
async def test_an_older_server(compute: Connect, start_server: StartServer, kind: str, tmp_path: Path) -> None:
    with start_server(kind, generation=1) as old:
        async with compute(**old.settings) as client:
            box = await client.box.create()
            files = box.files
            assert await files.upload(io.BytesIO(b"x" * 3 * MIB), "file") == 3 * MIB
            assert await files.download("file", tmp_path / "file") == 3 * MIB
            for call, rpc in (
                (files.list(), "ListDir"),
                (files.stat("file"), "ListDir"),
                (files.mkdir("x"), "Mkdir"),
                (files.rename("file", "x"), "RenamePath"),
                (files.copy("file", "x"), "CopyPath"),
                (files.remove("file"), "DeletePath"),
            ):
                with pytest.raises(boxd.UnsupportedError, match=f"does not support {rpc}"):
                    await call
