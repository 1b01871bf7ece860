"""Files to and from a machine."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import anyio
import pytest

import boxd
from tests.acceptance.conftest import Connect
from tests.conftest import StartServer
from tests.fixtures.servers import Server

pytestmark = pytest.mark.anyio

MIB = 1 << 20
LIMIT = 100 * MIB


def content(size: int) -> bytes:
    """Bytes of all values, none at its place twice in a row of pieces."""
    block = b"".join(number.to_bytes(4, "big") for number in range(min(size // 4 + 1, MIB // 4 + 3)))
    return (block * (size // len(block) + 1))[:size]


@pytest.fixture
def name() -> str:
    """A file name that no other test uses."""
    return f"file-{secrets.token_hex(8)}"


@pytest.mark.parametrize("size", [0, 1, MIB, MIB + 1, 5 * MIB + 7])
async def test_bytes_there_and_back(box: Any, name: str, size: int) -> None:
    data = content(size)
    await box.write_file(data, name)
    assert await box.read_file(name) == data


@pytest.mark.parametrize("size", [0, 10, 3 * MIB])
async def test_a_path_is_read_from_disk(box: Any, name: str, tmp_path: Path, size: int) -> None:
    local = tmp_path / "local"
    local.write_bytes(content(size))
    await box.write_file(local, name)
    assert await box.read_file(name) == content(size)


async def test_a_str_is_the_content(box: Any, name: str, tmp_path: Path) -> None:
    await box.write_file("zwölf\n", name)
    assert await box.read_file(name) == "zwölf\n".encode()
    local = tmp_path / "local"
    local.write_bytes(b"not this")
    await box.write_file(str(local), name)
    assert await box.read_file(name) == str(local).encode()


@pytest.mark.parametrize("kind", [bytearray, memoryview])
async def test_what_is_like_bytes(box: Any, name: str, kind: Any) -> None:
    await box.write_file(kind(b"like bytes"), name)
    assert await box.read_file(name) == b"like bytes"


async def test_commands_see_files_and_files_show_what_commands_wrote(box: Any, name: str) -> None:
    await box.write_file(b"from here", name)
    assert (await box.exec("cat", name)).stdout == "from here"
    await box.exec("sh", "-c", f"printf '\\377there' > {name}")
    assert await box.read_file(name) == b"\xffthere"


async def test_relative_paths_are_in_the_home(box: Any, server: Server, name: str) -> None:
    await box.write_file(b"x", name)
    assert await box.read_file(f"/home/boxd/{name}") == b"x"
    if server.sandbox == "namespaces":  # Without them, paths in commands are the host's.
        assert (await box.exec("cat", f"/home/boxd/{name}")).stdout == "x"


async def test_absolute_paths(box: Any, server: Server, name: str) -> None:
    await box.write_file(b"absolute", f"/tmp/{name}")
    assert await box.read_file(f"/tmp/{name}") == b"absolute"
    if server.sandbox == "namespaces":
        assert (await box.exec("cat", f"/tmp/{name}")).stdout == "absolute"
        assert not await anyio.Path("/tmp", name).exists()


async def test_a_shorter_file_takes_the_place_of_a_longer_one(box: Any, name: str) -> None:
    await box.write_file(content(2 * MIB), name)
    await box.write_file(b"short", name)
    assert await box.read_file(name) == b"short"


async def test_odd_names(box: Any, name: str) -> None:
    odd = f"{name} ü'\"$(x)\n*"
    await box.write_file(b"odd", odd)
    assert await box.read_file(odd) == b"odd"


async def test_a_missing_local_file(box: Any, name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        await box.write_file(tmp_path / "missing", name)
    assert str(tmp_path / "missing") in str(caught.value)
    with pytest.raises(boxd.NotFoundError):
        await box.read_file(name)


async def test_a_local_directory(box: Any, name: str, tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        await box.write_file(tmp_path, name)


async def test_a_missing_file_in_the_machine(box: Any, name: str) -> None:
    with pytest.raises(boxd.NotFoundError, match=name) as caught:
        await box.read_file(name)
    assert caught.value.grpc_code == 5


async def test_a_directory_in_the_machine(box: Any) -> None:
    with pytest.raises(boxd.BoxdError, match="/tmp"):
        await box.read_file("/tmp")


async def test_a_file_over_the_limit_is_refused_before_anything_is_sent(box: Any, name: str, tmp_path: Path) -> None:
    local = tmp_path / "large"
    with local.open("wb") as file:
        file.truncate(LIMIT + 1)
    for source in (local, bytes(LIMIT + 1)):
        with pytest.raises(boxd.FileTooLargeError, match=f"{LIMIT + 1} bytes; at most {LIMIT}") as caught:
            await box.write_file(source, name)
        assert isinstance(caught.value, ValueError)
    with pytest.raises(boxd.NotFoundError):
        await box.read_file(name)


async def test_a_file_in_the_machine_over_the_limit(box: Any, name: str) -> None:
    await box.exec("truncate", "-s", str(LIMIT + 1), name)
    with pytest.raises(boxd.BoxdError, match=str(LIMIT)):
        await box.read_file(name)
    await box.exec("rm", name)


@pytest.mark.parametrize(("source", "error"), [(None, TypeError), (3, TypeError), (["x"], TypeError)])
async def test_sources_that_are_none(box: Any, name: str, source: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="use bytes, a str with the content, or a Path"):
        await box.write_file(source, name)


async def test_paths_that_are_none(box: Any) -> None:
    with pytest.raises(ValueError, match="use a path in the machine"):
        await box.write_file(b"", "")
    with pytest.raises(ValueError, match="use a path in the machine"):
        await box.read_file("a\0b")


async def test_transfers_at_once(client: Any, box: Any, name: str) -> None:
    async def there_and_back(number: int) -> None:
        data = content(2 * MIB + number)
        await box.write_file(data, f"{name}-{number}")
        assert await box.read_file(f"{name}-{number}") == data

    async with anyio.create_task_group() as tasks:
        for number in range(6):
            tasks.start_soon(there_and_back, number)


@pytest.mark.parametrize("kind", ["emulator", "grpcio"])
async def test_a_server_that_does_not_stream_downloads(
    compute: Connect, start_server: StartServer, kind: str, name: str
) -> None:
    """The older call answers with one message, larger than gRPC's usual limit of 4 MiB here."""
    with start_server(kind, generation=1) as old:
        async with compute(**old.settings) as client:
            box = await client.box.create()
            await box.write_file(content(5 * MIB), name)
            assert await box.read_file(name) == content(5 * MIB)
            with pytest.raises(boxd.NotFoundError):
                await box.read_file("missing")
