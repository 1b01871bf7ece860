"""Streams that the server ends: rows 26, 27, 29."""

from __future__ import annotations

import anyio
import pytest

from boxd.transport import Call, Channel, RpcError, StatusCode, StreamRefused, StreamReset
from tests.fixtures import frames as f
from tests.fixtures.fault_server import Peer, Request
from tests.fixtures.pair import RESPONSE
from tests.transport.matrix.bench import FAULT, FAULT_CHAT, Bench

pytestmark = pytest.mark.anyio

INTERNAL = StatusCode.INTERNAL
#: What each error code of RST_STREAM becomes; all that is not here is INTERNAL.
CODES = {
    f.CANCEL: StatusCode.CANCELLED,
    f.ENHANCE_YOUR_CALM: StatusCode.RESOURCE_EXHAUSTED,
    f.INADEQUATE_SECURITY: StatusCode.PERMISSION_DENIED,
}
PHASES = ["before the response", "after the headers", "inside a message", "after a message", "during the upload"]


@pytest.mark.row(26)
@pytest.mark.parametrize("phase", PHASES)
async def test_row_26_reset(anyio_backend: str, phase: str) -> None:
    """Every code that there is, and one that there is not, one after the other."""
    codes = [code for code in (*range(14), 255) if code != f.REFUSED_STREAM]
    left = iter(codes)

    async def fault(peer: Peer, request: Request) -> None:
        stream = request.stream
        if phase in ("after the headers", "inside a message", "after a message"):
            await peer.send(peer.head(stream))
        if phase == "inside a message":
            await peer.send(f.data(stream, f.message(b"x" * 50)[:20]))
        if phase == "after a message":
            await peer.send(f.data(stream, f.message(b"one")))
        await peer.send(f.rst(stream, next(left)))

    async def work(channel: Channel) -> None:
        async with channel.call(FAULT_CHAT) as call:
            if phase == "during the upload":
                await upload_forever(call)
            await call.send(b"question", end=True)
            if phase == "after a message":
                assert await call.receive() == b"one"
            await call.receive()

    async with Bench(fault) as bench:
        for code in codes:
            error = await bench.fails(StreamReset, CODES.get(code, INTERNAL), work)
            assert not error.unprocessed
            assert error.origin == "server"
            await bench.sibling_talks()
        # None of them is answered with a reset of our own.
        assert not f.of_kind(bench.peer.frames, f.RST_STREAM)


@pytest.mark.row(26)
@pytest.mark.parametrize("phase", ["before the response", "after the headers"])
async def test_row_26_refused(anyio_backend: str, phase: str) -> None:
    """Sent again once, unless its response has begun."""
    refused = 0

    async def fault(peer: Peer, request: Request) -> None:
        nonlocal refused
        if refused:
            await peer.send(peer.answer(request.stream, b"answer"))
            return
        refused += 1
        head = peer.head(request.stream) if phase == "after the headers" else b""
        await peer.send(head, f.rst(request.stream, f.REFUSED_STREAM))

    async with Bench(fault) as bench:
        if phase == "before the response":
            assert await bench.succeeds(lambda channel: channel.unary(FAULT, b"")) == b"answer"
        else:
            error = await bench.fails(StreamRefused, StatusCode.UNAVAILABLE)
            assert not error.unprocessed
        assert refused == 1


@pytest.mark.row(27)
@pytest.mark.parametrize("kind", ["unary", "stream"])
async def test_row_27_every_stream_is_refused(anyio_backend: str, kind: str) -> None:
    seen = 0

    async def fault(peer: Peer, request: Request) -> None:
        nonlocal seen
        seen += 1
        await peer.send(f.rst(request.stream, f.REFUSED_STREAM))

    async def work(channel: Channel) -> None:
        if kind == "unary":
            await channel.unary(FAULT, b"question")
        else:
            async with channel.call(FAULT_CHAT) as call:
                await call.send(b"question", end=True)
                await call.receive()

    async with Bench(fault) as bench:
        error = await bench.fails(StreamRefused, StatusCode.UNAVAILABLE, work)
        assert error.unprocessed
    assert 2 <= seen <= 8


@pytest.mark.row(29)
@pytest.mark.parametrize("status", [b"0", b"9"], ids=["ok", "error"])
@pytest.mark.parametrize("parked", [False, True], ids=["uploading", "parked"])
async def test_row_29_the_answer_comes_while_we_send(anyio_backend: str, parked: bool, status: bytes) -> None:
    """The server's status counts, never the failed write; what is not sent stays unsent."""

    async def fault(peer: Peer, request: Request) -> None:
        if not parked:
            for _ in range(3):
                size = len((await peer.expect(f.DATA)).payload)
                await peer.send(f.window_update(0, size), f.window_update(request.stream, size))
        await peer.send(peer.head(request.stream), f.data(request.stream, f.message(b"enough")))
        await peer.send(peer.trailers(request.stream, [(b"grpc-status", status)]))
        await peer.send(f.rst(request.stream, f.NO_ERROR))

    async def upload(channel: Channel) -> None:
        async with channel.call(FAULT_CHAT) as call:
            for _ in range(100):
                await call.send(bytes(1 << 20))
            assert await call.receive() == b"enough"
            assert await call.receive() is None

    async with Bench(fault, settings={f.INITIAL_WINDOW_SIZE: 100 if parked else 65_535}) as bench:
        if status == b"0":
            await bench.succeeds(upload)
        else:
            await bench.fails(RpcError, StatusCode.FAILED_PRECONDITION, upload)
        assert await bench.reset() == f.NO_ERROR
        sent = sum(len(one.payload) for one in f.of_kind(bench.peer.frames, f.DATA))
        assert sent < 2 << 20


async def upload_forever(call: Call[bytes, bytes]) -> None:
    while True:
        await call.send(bytes(1 << 20))


@pytest.mark.row(29)
async def test_row_29_sender_and_receiver_are_two_tasks(anyio_backend: str) -> None:
    """The sender gets to know at once that nobody wants more, though the server gives no window any more."""

    async def fault(peer: Peer, request: Request) -> None:
        await peer.send(peer.head(request.stream, [*RESPONSE, (b"grpc-status", b"8")], end=True))

    async def work(channel: Channel) -> None:
        async with channel.call(FAULT_CHAT) as call:

            async def send() -> None:
                with pytest.raises(RpcError) as caught:
                    await upload_forever(call)
                assert caught.value.code == StatusCode.RESOURCE_EXHAUSTED

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(send)
                with pytest.raises(RpcError) as caught:
                    await call.receive()
            raise caught.value

    async with Bench(fault) as bench:
        await bench.fails(RpcError, StatusCode.RESOURCE_EXHAUSTED, work)
