"""Connections that end, or are said to: rows 9, 11, 12, 14, 15, 30 to 33."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from boxd.transport import Channel, ConnectionLost, NotHttp2, ProtocolViolation, StatusCode, StreamRefused
from tests.fixtures import echo_server as e
from tests.fixtures import frames as f
from tests.fixtures.fault_server import Peer, Request
from tests.transport.matrix.bench import FAULT, FAULT_CHAT, Bench, says, serve

pytestmark = pytest.mark.anyio
UNAVAILABLE = StatusCode.UNAVAILABLE


@pytest.mark.row(9)
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n<html>" + b"no" * 5_000,
        b"HTTP/1.0 400 Bad Request\n\n",
    ],
    ids=["empty", "html", "1.0"],
)
@pytest.mark.parametrize("size", [1, 1 << 16], ids=["byte by byte", "whole"])
async def test_row_9_http1(anyio_backend: str, answer: bytes, size: int) -> None:
    """Told at once: the connection stays open, so that nothing but the bytes can tell."""

    async def script(peer: Peer) -> None:
        await peer.frame()
        for start in range(0, min(len(answer), 100 * size), size):
            await peer.send(answer[start : start + size])
        await peer.expect_eof()

    async with Bench(None, script, sibling="none", greet=False) as bench:
        with anyio.fail_after(1):
            await bench.fails(NotHttp2, UNAVAILABLE, match="400 Bad Request")


@pytest.mark.row(14)
@pytest.mark.parametrize("abort", [False, True], ids=["fin", "rst"])
@pytest.mark.parametrize("messages", [None, 0, 2], ids=["nothing", "headers", "messages"])
async def test_row_14_connection_ends(anyio_backend: str, abort: bool, messages: int | None) -> None:
    async def fault(peer: Peer, request: Request) -> None:
        if messages is not None:
            body = f.data(request.stream, f.message(b"one") * messages)
            await peer.send(peer.head(request.stream), body if messages else b"")
            await peer.round_trip()
        await (peer.abort() if abort else peer.close())

    got = []

    async def work(channel: Channel) -> None:
        async with channel.call(FAULT_CHAT) as call:
            await call.end()
            async for message in call:
                got.append(message)

    async with Bench(fault, sibling="dies") as bench:
        error = await bench.fails(ConnectionLost, UNAVAILABLE, work)
        assert not error.unprocessed
    assert got == [b"one"] * (messages or 0)


MESSAGE = f.message(b"x" * 50)


@pytest.mark.row(15)
@pytest.mark.parametrize("abort", [False, True], ids=["fin", "rst"])
@pytest.mark.parametrize(
    "tail",
    [f.data(3, MESSAGE[:3]), f.data(3, MESSAGE[:30]), f.data(3, MESSAGE)[:4], f.data(3, MESSAGE)[:40]],
    ids=["prefix", "message", "frame header", "frame"],
)
async def test_row_15_connection_ends_inside(anyio_backend: str, abort: bool, tail: bytes) -> None:
    async def fault(peer: Peer, request: Request) -> None:
        await peer.send(peer.head(request.stream), f.data(request.stream, f.message(b"one")))
        await peer.round_trip()
        await peer.send(tail)
        await (peer.abort() if abort else peer.close())

    got = []

    async def work(channel: Channel) -> None:
        async with channel.call(FAULT_CHAT) as call:
            await call.end()
            async for message in call:
                got.append(message)

    async with Bench(fault, sibling="dies") as bench:
        error = await bench.fails(ConnectionLost, UNAVAILABLE, work)
        assert not error.unprocessed
    assert got == [b"one"]


@pytest.mark.row(30)
async def test_row_30_graceful_goaway(anyio_backend: str) -> None:
    """Both phases, while two streams run: neither notices, and new calls are on a new connection."""
    went, closed = anyio.Event(), anyio.Event()

    async def fault(peer: Peer, request: Request) -> None:
        await peer.send(peer.head(request.stream), f.data(request.stream, f.message(b"before")))
        await peer.send(f.goaway((1 << 31) - 1, f.NO_ERROR, b"max_age"))
        await peer.round_trip()
        await peer.send(f.goaway(request.stream, f.NO_ERROR, b"max_age"))
        await peer.round_trip()
        went.set()
        body = await peer.expect_body(request.stream)
        await peer.send(f.data(request.stream, f.message(b"after") + body), peer.trailers(request.stream))

    async def script(peer: Peer) -> None:
        try:
            await serve(peer, fault)
        finally:
            closed.set()

    async with Bench(fault, script, connections=2) as bench, bench.channel.call(FAULT_CHAT) as call:
        with anyio.fail_after(5):
            await call.send(b"one")
            assert await call.receive() == b"before"
            await went.wait()
            for _ in range(3):
                assert await bench.channel.unary(e.ECHO, b"new") == b"new"
            assert len(bench.server.peers) == 2
            await call.send(b"two", end=True)
            assert [message async for message in call] == [b"after", b"two"]
        assert len(f.of_kind(bench.peer.frames, f.HEADERS)) == 2
        await bench.sibling_ends()
        with anyio.fail_after(5):  # The last stream is over, so the old connection goes.
            await closed.wait()


@pytest.mark.row(31)
@pytest.mark.parametrize("kind", ["unary", "stream"])
async def test_row_31_goaway_that_leaves_a_call_out(anyio_backend: str, kind: str) -> None:
    """It is sent again on a new connection, and the sibling below the last id runs on."""

    async def answer(peer: Peer, request: Request) -> None:
        if peer.number == 0:
            await peer.send(f.goaway(1))
        else:
            body = await peer.expect_body(request.stream)
            await peer.send(peer.answer(request.stream, body[5:]))

    async def work(channel: Channel) -> Any:
        if kind == "unary":
            return await channel.unary(FAULT, b"question")
        async with channel.call(FAULT_CHAT) as call:
            await call.send(b"question", end=True)
            return await call.receive()

    async with Bench(answer, connections=2) as bench:
        assert await bench.succeeds(work) == b"question"


@pytest.mark.row(31)
async def test_row_31_no_second_time_after_the_response_began(anyio_backend: str) -> None:
    async def fault(peer: Peer, request: Request) -> None:
        await peer.send(peer.head(request.stream), f.goaway(1))

    async with Bench(fault, connections=2) as bench:
        error = await bench.fails(StreamRefused, UNAVAILABLE)
        assert not error.unprocessed


@pytest.mark.row(32)
async def test_row_32_goaway_and_fin(anyio_backend: str) -> None:
    """In one segment. The call above the last id is sent again; the sibling is lost with the connection."""

    async def fault(peer: Peer, request: Request) -> None:
        if peer.number == 0:
            await peer.send(f.goaway(1))
            await peer.close()
        else:
            await peer.send(peer.answer(request.stream, b"answer"))

    async with Bench(fault, sibling="dies") as bench:
        assert await bench.succeeds(lambda channel: channel.unary(FAULT, b"")) == b"answer"
        with pytest.raises(ConnectionLost) as caught:
            await bench.sibling.receive()
        assert not caught.value.unprocessed


@pytest.mark.row(32)
async def test_row_32_goaway_whose_last_id_rises(anyio_backend: str) -> None:
    async with Bench(says(lambda peer, stream: [f.goaway(3), f.goaway(5)]), sibling="dies") as bench:
        await bench.fails(ProtocolViolation, StatusCode.INTERNAL)
        assert await bench.goaway() == f.PROTOCOL_ERROR
