"""All kinds of calls against the `connectrpc` package: three protocols, both versions of HTTP, both event loops."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from boxd.transport import Channel, ConnectFailed, DeadlineExceeded, RpcError, StatusCode, Target
from tests.fixtures.echo_server import CHAT, COUNT, ECHO, FAIL, JOIN, MISSING

pytest.importorskip("connectrpc")
pytest.importorskip("hypercorn")
pytestmark = pytest.mark.anyio

Make = Callable[..., Channel]
WAYS = [("grpc", "2"), ("grpc-web", "2"), ("grpc-web", "1.1"), ("connect", "2"), ("connect", "1.1")]
SAFE_ECHO = replace(ECHO, idempotent=True, no_side_effects=True)


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    """The server, in a process of its own."""
    command = [sys.executable, "-m", "tests.fixtures.connect_server"]
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield Target("http", "127.0.0.1", int(process.stdout.readline()))
        process.stdin.close()
        process.wait(20)


@pytest.fixture(params=WAYS, ids=lambda way: f"{way[0]}-http{way[1]}")
def way(request: pytest.FixtureRequest) -> dict[str, str]:
    protocol, version = request.param
    return {"protocol": protocol, "http_version": version}


@pytest.fixture
def make(connect: Make, target: Target, way: dict[str, str]) -> Make:
    return lambda **options: connect(target, **way, **options)


@pytest.mark.parametrize("compression", [None, "gzip"])
async def test_unary(make: Make, compression: str | None) -> None:
    channel = make(compression=compression)
    for size in (0, 1, 1_000, 100_000, 3_000_000):
        assert await channel.unary(ECHO, bytes(size)) == bytes(size)


async def test_metadata_both_ways(make: Make) -> None:
    async with make().call(ECHO, metadata=[("x-a", "1"), ("x-b-bin", b"\0\xff")]) as call:
        await call.send(b"hello", end=True)
        assert await call.receive() == b"hello"
        assert await call.receive() is None
        assert {("x-a", "1"), ("x-b-bin", b"\0\xff")} <= set(call.headers)
        assert ("x-trailer", "t") in call.trailers


@pytest.mark.parametrize("code", ["CANCELED", "NOT_FOUND", "RESOURCE_EXHAUSTED", "DATA_LOSS", "UNAUTHENTICATED"])
async def test_errors(make: Make, code: str) -> None:
    with pytest.raises(RpcError) as caught:
        await make().unary(FAIL, code.encode())
    error = caught.value
    assert error.code == StatusCode["CANCELLED" if code == "CANCELED" else code]
    assert (error.message, error.origin) == ("as asked: \u4f60 100%", "server")
    assert ("x-why", "because") in error.trailers


async def test_unimplemented(make: Make) -> None:
    with pytest.raises(RpcError) as caught:
        await make().unary(MISSING, b"")
    assert caught.value.code == StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(("number", "size"), [(1, 0), (300, 10), (40, 100_000), (4, 3_000_000)])
async def test_server_stream(make: Make, number: int, size: int) -> None:
    async with make().call(COUNT) as call:
        await call.send(b"%d %d" % (number, size), end=True)
        sizes = [len(message) async for message in call]
        assert sizes == [size + 4] * number
        assert ("x-trailer", "t") in call.trailers


async def test_server_stream_that_fails(make: Make) -> None:
    async with make().call(COUNT) as call:
        await call.send(b"0 0", end=True)
        with pytest.raises(RpcError) as caught:
            await call.receive()
    assert (caught.value.code, caught.value.message) == (StatusCode.OUT_OF_RANGE, "nothing to count")


async def test_client_stream(make: Make) -> None:
    async with make(compression="gzip").call(JOIN) as call:
        for index in range(100):
            await call.send(bytes((index,)) * 2_000)
        await call.end()
        assert await call.receive() == b"".join(bytes((index,)) * 2_000 for index in range(100))


async def test_bidi_stream(make: Make, way: dict[str, str]) -> None:
    duplex = way["http_version"] == "2"
    async with make().call(CHAT) as call:
        for index in range(20):
            await call.send(b"%d" % index)
            if duplex:
                assert await call.receive() == b"%d" % index
        await call.end()
        if not duplex:
            assert [await call.receive() for _ in range(20)] == [b"%d" % index for index in range(20)]
        assert await call.receive() is None


async def test_leaving_a_stream(make: Make) -> None:
    """The rest of the response may be large, and is not waited for; the next call works."""
    channel = make()
    async with channel.call(COUNT) as call:
        await call.send(b"1000 100000", end=True)
        assert await call.receive() is not None
    assert await channel.unary(ECHO, b"next", timeout=10) == b"next"


async def test_deadline(make: Make) -> None:
    channel = make()
    async with channel.call(JOIN, timeout=0.2) as call:
        await call.send(b"x")
        with pytest.raises(DeadlineExceeded):
            await call.receive()
    assert await channel.unary(ECHO, b"next", timeout=10) == b"next"


async def test_cancel(make: Make) -> None:
    call = make().call(JOIN)
    await call.send(b"x")
    call.cancel()
    with pytest.raises(RpcError) as caught:
        await call.receive()
    assert caught.value.code == StatusCode.CANCELLED


@pytest.mark.parametrize("version", ["1.1", "2"])
@pytest.mark.parametrize("compression", [None, "gzip"])
async def test_r80_get(connect: Make, target: Target, version: str, compression: str | None) -> None:
    options = {"protocol": "connect", "http_version": version, "compression": compression, "compress_from": 0}
    assert await connect(target, use_get=True, **options).unary(SAFE_ECHO, b"how") == b"GET"
    assert await connect(target, use_get=True, **options).unary(SAFE_ECHO, bytes(200_000)) == bytes(200_000)
    repeatable = replace(ECHO, idempotent=True)
    assert await connect(target, use_get=True, **options).unary(repeatable, b"how") == b"POST"
    assert await connect(target, **options).unary(SAFE_ECHO, b"how") == b"POST"


async def test_http1_refused(connect: Make) -> None:
    channel = connect(Target("http", "127.0.0.1", 1), protocol="connect", http_version="1.1")
    with pytest.raises(ConnectFailed) as caught:
        await channel.unary(ECHO, b"")
    assert caught.value.unprocessed


def test_grpc_needs_http2() -> None:
    with pytest.raises(ValueError, match="HTTP/2"):
        Channel(Target("http", "127.0.0.1", 1), http_version="1.1")


@pytest.mark.parametrize(
    "options", [{"protocol": "soap"}, {"codec": "xml"}, {"compression": "br"}, {"http_version": "3"}]
)
def test_unknown_settings(options: dict[str, str]) -> None:
    (value,) = options.values()
    with pytest.raises(ValueError, match=value):
        Channel(Target("http", "127.0.0.1", 1), **options)  # type: ignore[arg-type]
