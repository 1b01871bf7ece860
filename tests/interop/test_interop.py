"""The same calls against servers of five projects, with each protocol that the server speaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import anyio
import pytest

from boxd.transport import Channel, RpcError, StatusCode, Target
from tests.fixtures.echo_server import CHAT, COUNT, ECHO, FAIL, JOIN, MISSING, WAIT
from tests.interop.servers import serve

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

Make = Callable[..., Channel]
GRPC = [("grpc", "2")]
ALL = [("grpc", "2"), ("grpc-web", "2"), ("grpc-web", "1.1"), ("connect", "2"), ("connect", "1.1")]
SERVERS = {"grpcio": GRPC, "grpc-go": GRPC, "grpc-js": GRPC, "connect-go": ALL}
WAYS = [(server, *way) for server, ways in SERVERS.items() for way in ways]


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: f"{way[0]}-{way[1]}-http{way[2]}")
def way(request: pytest.FixtureRequest) -> tuple[str, str, str]:
    """A server, a protocol, and a version of HTTP."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def target(way: tuple[str, str, str]) -> Iterator[Target]:
    with serve(way[0]) as found:
        yield found


@pytest.fixture
def duplex(way: tuple[str, str, str]) -> bool:
    """Whether both sides can talk at once."""
    return way[2] == "2"


@pytest.fixture
def make(connect: Make, target: Target, way: tuple[str, str, str]) -> Make:
    return lambda **options: connect(target, protocol=way[1], http_version=way[2], **options)


@pytest.mark.parametrize("compression", [None, "gzip"])
async def test_unary(make: Make, compression: str | None) -> None:
    channel = make(compression=compression)
    for size in (0, 1, 1_000, 100_000, 3_000_000):
        assert await channel.unary(ECHO, bytes(size), timeout=20) == bytes(size)


async def test_metadata_both_ways(make: Make) -> None:
    async with make().call(ECHO, metadata=[("x-a", "1"), ("x-b-bin", b"\0\xff")]) as call:
        await call.send(b"hello", end=True)
        assert await call.receive() == b"hello"
        assert await call.receive() is None
        assert {("x-a", "1"), ("x-b-bin", b"\0\xff")} <= set(call.headers)
        assert {("x-trailer", "t"), ("x-trailer-bin", b"\xff\0")} <= set(call.trailers)


@pytest.mark.parametrize("code", [1, 3, 5, 8, 14, 16])
async def test_errors(make: Make, code: int) -> None:
    with pytest.raises(RpcError) as caught:
        await make().unary(FAIL, bytes((code,)) + "why: \u4f60 100%".encode())
    error = caught.value
    assert (error.code, error.message, error.origin) == (code, "why: \u4f60 100%", "server")
    assert ("x-why", "because") in [*error.headers, *error.trailers]  # Connect has no trailers in a unary answer.
    ((kind, value),) = error.details
    assert kind.endswith("google.protobuf.StringValue")
    assert value == b"\n\x06detail"


async def test_unimplemented(make: Make) -> None:
    with pytest.raises(RpcError) as caught:
        await make().unary(MISSING, b"")
    assert caught.value.code == StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(("number", "size"), [(0, 0), (1, 0), (1_000, 10), (40, 100_000), (4, 3_000_000)])
async def test_server_stream(make: Make, number: int, size: int) -> None:
    async with make().call(COUNT, timeout=20) as call:
        await call.send(b"%d %d" % (number, size), end=True)
        index = 0
        async for message in call:
            assert message == index.to_bytes(4, "big") + bytes(size)
            index += 1
    assert index == number


@pytest.mark.parametrize(("number", "size"), [(0, 0), (500, 10), (100, 200_000)])
async def test_client_stream(make: Make, number: int, size: int) -> None:
    async with make(compression="gzip").call(JOIN, timeout=20) as call:
        for _ in range(number):
            await call.send(bytes(size))
        await call.end()
        assert await call.receive() == b"%d %d" % (number, number * size)
        assert await call.receive() is None


async def test_bidi_stream(make: Make, duplex: bool) -> None:
    async with make().call(CHAT, timeout=20) as call:
        if not duplex:  # connect-go wants HTTP/2 for these calls.
            await call.send(b"one", end=True)
            with pytest.raises(RpcError, match="505"):
                await call.receive()
            return
        for index in range(50):
            await call.send(b"%d" % index)
            assert await call.receive() == b"%d" % index
        await call.end()
        assert await call.receive() is None


async def test_bidi_stream_that_fails(make: Make, duplex: bool) -> None:
    if not duplex:
        return
    async with make().call(CHAT, timeout=20) as call:
        await call.send(b"one")
        assert await call.receive() == b"one"
        await call.send(b"fail", end=True)
        with pytest.raises(RpcError) as caught:
            await call.receive()
    assert (caught.value.code, caught.value.message) == (StatusCode.ABORTED, "as asked")


async def test_deadline(make: Make) -> None:
    channel = make()
    with pytest.raises(RpcError) as caught, anyio.fail_after(10):
        await channel.unary(WAIT, b"", timeout=0.2)
    assert caught.value.code == StatusCode.DEADLINE_EXCEEDED
    assert await channel.unary(ECHO, b"deadline", timeout=10) == b"true"
    assert await channel.unary(ECHO, b"deadline") == b"false"


async def test_cancel(make: Make) -> None:
    """The server gets to know."""
    channel = make()
    before = int(await channel.unary(ECHO, b"cancelled"))
    with anyio.move_on_after(0.1) as scope:
        await channel.unary(WAIT, b"")
    assert scope.cancelled_caught
    with anyio.fail_after(10):
        while int(await channel.unary(ECHO, b"cancelled")) == before:  # noqa: ASYNC110
            await anyio.sleep(0.02)


async def test_leaving_a_stream(make: Make) -> None:
    """The rest of the response may be large, and is not waited for."""
    channel = make()
    async with channel.call(COUNT) as call:
        await call.send(b"1000 100000", end=True)
        assert await call.receive() is not None
    assert await channel.unary(ECHO, b"next", timeout=10) == b"next"


async def test_200_calls_at_once(make: Make) -> None:
    channel = make()
    results: list[bytes] = []

    async def one(number: int) -> None:
        results.append(await channel.unary(ECHO, b"%d" % number, timeout=20))

    async with anyio.create_task_group() as tasks:
        for number in range(200):
            tasks.start_soon(one, number)
    assert sorted(results) == sorted(b"%d" % number for number in range(200))
