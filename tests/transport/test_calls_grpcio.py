"""All kinds of calls against grpcio, on both event loops."""

from __future__ import annotations

import threading
from collections.abc import Callable

import anyio
import pytest
from anyio.to_thread import run_sync

from boxd.transport import Call, Cancelled, Channel, DeadlineExceeded, MessageTooLarge, RpcError, StatusCode
from tests.fixtures import echo_server as e

pytestmark = pytest.mark.anyio
Connect = Callable[..., Channel]


async def send_forever(call: Call[bytes, bytes], first: bytes) -> None:
    await call.send(first)
    while True:
        await call.send(bytes(100_000))


async def wait_for(event: threading.Event) -> bool:
    return await run_sync(event.wait, 5)


async def test_unary(connect: Connect, echo: e.Running) -> None:
    channel = connect(echo.target)
    for size in (0, 1, 1_000, 100_000, 3_000_000):
        assert await channel.unary(e.ECHO, bytes(size)) == bytes(size)


async def test_metadata_both_ways(connect: Connect, echo: e.Running) -> None:
    channel = connect(echo.target, metadata=[("x-fixed", "f")])
    async with channel.call(e.ECHO, metadata=[("x-a", "1"), ("x-a", "2"), ("x-b-bin", b"\0\xff,")]) as call:
        await call.send(b"hello", end=True)
        assert await call.receive() == b"hello"
        assert await call.receive() is None
        names = [pair for pair in call.headers if pair[0].startswith("x-")]
        assert sorted(names) == [("x-a", "1"), ("x-a", "2"), ("x-b-bin", b"\0\xff,"), ("x-fixed", "f")]
        assert ("x-trailer", "t") in call.trailers
        assert ("x-trailer-bin", b"\xff\0") in call.trailers


@pytest.mark.parametrize("code", range(1, 17))
async def test_r23_every_status(connect: Connect, echo: e.Running, code: int) -> None:
    channel = connect(echo.target)
    with pytest.raises(RpcError) as caught:
        await channel.unary(e.FAIL, bytes((code,)) + "why: \u4f60 100%\n".encode())
    assert (caught.value.code, caught.value.message) == (code, "why: \u4f60 100%\n")
    assert caught.value.origin == "server"
    assert ("x-why", "because") in caught.value.trailers


async def test_unimplemented(connect: Connect, echo: e.Running) -> None:
    with pytest.raises(RpcError) as caught:
        await connect(echo.target).unary(e.MISSING, b"")
    assert caught.value.code == StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(("number", "size"), [(0, 0), (1, 0), (1_000, 10), (300, 70_000), (3, 3_000_000)])
async def test_server_stream(connect: Connect, echo: e.Running, number: int, size: int) -> None:
    async with connect(echo.target).call(e.COUNT) as call:
        await call.send(b"%d %d" % (number, size), end=True)
        index = 0
        async for message in call:
            assert message == index.to_bytes(4, "big") + bytes(size)
            index += 1
    assert index == number


async def test_receive_batch(connect: Connect, echo: e.Running) -> None:
    async with connect(echo.target).call(e.COUNT) as call:
        await call.send(b"1000 10", end=True)
        messages = []
        while batch := await call.receive_batch():
            messages += batch
    assert [int.from_bytes(one[:4], "big") for one in messages] == list(range(1_000))


@pytest.mark.parametrize(("number", "size"), [(0, 0), (1, 0), (500, 10), (100, 200_000)])
async def test_r35_client_stream(connect: Connect, echo: e.Running, number: int, size: int) -> None:
    async with connect(echo.target).call(e.JOIN) as call:
        for _ in range(number):
            await call.send(bytes(size))
        await call.end()
        assert await call.receive() == b"%d %d" % (number, number * size)
        assert await call.receive() is None


async def test_r36_answer_during_the_upload(connect: Connect, echo: e.Running) -> None:
    """The server has what it wants; the rest of the upload is dropped, and the answer is there."""
    async with connect(echo.target).call(e.JOIN) as call:
        await call.send(b"early")
        with anyio.fail_after(10):
            while call.running:
                await call.send(bytes(100_000))
        assert await call.receive() == b"1 5"


async def test_r37_full_duplex_ping_pong(connect: Connect, echo: e.Running) -> None:
    async with connect(echo.target).call(e.CHAT) as call:
        for number in range(100):
            await call.send(b"%d" % number)
            assert await call.receive() == b"%d" % number
        await call.end()
        assert await call.receive() is None


@pytest.mark.parametrize("reader_first", [False, True])
async def test_r37_reader_and_writer_are_two_tasks(connect: Connect, echo: e.Running, reader_first: bool) -> None:
    """Whichever of the two comes first opens the call, while the other waits for that."""
    received: list[bytes] = []
    async with connect(echo.target).call(e.CHAT) as call, anyio.create_task_group() as tasks:

        async def read() -> None:
            async for message in call:
                received.append(message)

        async def write() -> None:
            for number in range(200):
                await call.send(b"%d" % number + bytes(20_000))
            await call.end()

        for one in (read, write) if reader_first else (write, read):
            tasks.start_soon(one)
    assert [one.rstrip(b"\0") for one in received] == [b"%d" % number for number in range(200)]


async def test_r36_server_error_while_we_send(connect: Connect, echo: e.Running) -> None:
    async with connect(echo.target).call(e.CHAT) as call:
        await call.send(b"one")
        with pytest.raises(RpcError) as caught, anyio.fail_after(10):
            await send_forever(call, b"fail")
        assert (caught.value.code, caught.value.message) == (StatusCode.ABORTED, "as asked")
        assert await call.receive() == b"one"
        with pytest.raises(RpcError, match="as asked"):
            await call.receive()


async def test_send_after_end_is_an_error(connect: Connect, echo: e.Running) -> None:
    async with connect(echo.target).call(e.CHAT) as call:
        await call.send(b"last", end=True)
        await call.end()
        with pytest.raises(RuntimeError, match="end"):
            await call.send(b"too late")
        assert await call.receive() == b"last"
        assert await call.receive() is None


async def test_r33_deadline(connect: Connect) -> None:
    with e.running() as server:
        channel = connect(server.target)
        with pytest.raises(RpcError) as caught, anyio.fail_after(5):  # The server's own clock may be faster.
            await channel.unary(e.WAIT, b"", timeout=0.2)
        assert caught.value.code == StatusCode.DEADLINE_EXCEEDED
        assert await wait_for(server.service.cancelled)
        assert await channel.unary(e.ECHO, b"x") == b"x"


@pytest.mark.parametrize("timeout", [0, -1, 1e-9])
async def test_r6_deadline_that_has_passed(connect: Connect, echo: e.Running, timeout: float) -> None:
    with pytest.raises(DeadlineExceeded):
        await connect(echo.target).unary(e.ECHO, b"", timeout=timeout)


@pytest.mark.parametrize("timeout", [float("inf"), 1e15, 1e5, 100])
async def test_r5_long_deadlines(connect: Connect, echo: e.Running, timeout: float) -> None:
    assert await connect(echo.target).unary(e.ECHO, b"x", timeout=timeout) == b"x"


async def test_r34_cancelled_task_cancels_the_call(connect: Connect) -> None:
    with e.running() as server:
        channel = connect(server.target)
        await channel.unary(e.ECHO, b"")
        with anyio.move_on_after(0.1) as scope:
            await channel.unary(e.WAIT, b"")
        assert scope.cancelled_caught
        assert await wait_for(server.service.cancelled)
        assert await channel.unary(e.ECHO, b"x") == b"x"


async def test_r34_leaving_the_block_cancels(connect: Connect) -> None:
    with e.running() as server:
        async with connect(server.target).call(e.CHAT) as call:
            await call.send(b"one")
            assert await call.receive() == b"one"
        with pytest.raises(Cancelled):
            await call.receive()
        with pytest.raises(Cancelled):
            await call.send(b"two")


async def test_r18_receive_limit(connect: Connect, echo: e.Running) -> None:
    channel = connect(echo.target, max_receive_bytes=1_000)
    assert await channel.unary(e.ECHO, bytes(1_000)) == bytes(1_000)
    with pytest.raises(MessageTooLarge) as caught:
        await channel.unary(e.ECHO, bytes(1_001))
    assert caught.value.code == StatusCode.RESOURCE_EXHAUSTED
    assert await channel.unary(e.ECHO, b"x") == b"x"


async def test_large_messages_without_limit(connect: Connect, echo: e.Running) -> None:
    """Larger than every window."""
    channel = connect(echo.target, max_receive_bytes=None)
    body = bytes(range(256)) * (20 << 12)
    assert await channel.unary(e.ECHO, body) == body


@pytest.mark.parametrize("limit", [10, 100])
async def test_r48_200_calls_at_once(connect: Connect, limit: int) -> None:
    """Over the limit of one connection: they queue, or go to further connections, and all succeed."""
    with e.running(max_concurrent_streams=limit) as server:
        channel = connect(server.target)
        await channel.unary(e.ECHO, b"")
        results: dict[int, bytes] = {}

        async def one(number: int) -> None:
            async with channel.call(e.CHAT) as call:
                await call.send(b"%d" % number)
                results[number] = (await call.receive()) or b""
                await call.end()
                assert await call.receive() is None

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                for number in range(200):
                    tasks.start_soon(one, number)
        assert results == {number: b"%d" % number for number in range(200)}
        assert channel._pool.connections <= 10


async def test_r48_200_calls_on_a_new_channel(connect: Connect) -> None:
    """The server's limit is not known yet when they start."""
    with e.running(max_concurrent_streams=10) as server:
        channel = connect(server.target)
        results: list[bytes] = []

        async def one(number: int) -> None:
            results.append(await channel.unary(e.ECHO, b"%d" % number))

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                for number in range(200):
                    tasks.start_soon(one, number)
        assert sorted(results) == sorted(b"%d" % number for number in range(200))


async def test_r64_unix_socket(connect: Connect, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = str(tmp_path_factory.mktemp("s") / "sock")
    with e.running(path=path) as server:
        assert await connect(server.target).unary(e.ECHO, b"x") == b"x"
