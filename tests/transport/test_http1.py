"""Calls over HTTP/1.1: what goes over the wire, and what a server may do wrong."""

from __future__ import annotations

import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream

from boxd.transport import (
    Cancelled,
    Channel,
    ChannelClosed,
    ConnectionLost,
    DeadlineExceeded,
    MessageTooLarge,
    RpcError,
    StatusCode,
    Target,
    TlsFailed,
)
from boxd.transport import dial as dialing
from boxd.transport.dial import DialOptions
from boxd.transport.http2.options import EngineOptions
from tests.fixtures.echo_server import CHAT, COUNT, ECHO
from tests.fixtures.frames import message

pytestmark = pytest.mark.anyio
Make = Callable[..., Channel]
Handler = Callable[[ByteStream], Awaitable[None]]

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n%s\r\n"
PLAIN = HEAD % (b"application/proto", b"Content-Length: 2\r\n") + b"ok"
CHUNKED = HEAD % (b"application/connect+proto", b"Transfer-Encoding: chunked\r\n")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[Target]:
    """A server on a socket, in the test's own loop."""

    async def handle(stream: ByteStream) -> None:
        try:
            async with stream:
                await handler(await TLSStream.wrap(stream, server_side=True, ssl_context=tls) if tls else stream)
        except (anyio.BrokenResourceError, anyio.EndOfStream, ssl.SSLError):
            return  # The client left, which is what some tests are about.

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        yield Target("https" if tls else "http", "localhost" if tls else "127.0.0.1", port)
        tasks.cancel_scope.cancel()


async def read_request(stream: ByteStream) -> bytes:
    """A request with a length, or in chunks."""
    data = b""
    while True:
        data += await stream.receive()
        head, end, body = data.partition(b"\r\n\r\n")
        if b"chunked" in head and body.endswith(b"0\r\n\r\n"):
            return data
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if end and b"chunked" not in head and len(body) >= int(length or b"0"):
            return data


def answering(answer: bytes, seen: list[bytes] | None = None) -> Handler:
    """Answers every request of a connection with the same bytes, then closes it if they do not end a response."""

    async def handle(stream: ByteStream) -> None:
        while True:
            request = await read_request(stream)
            if seen is not None:
                seen.append(request)
            await stream.send(answer)
            if not answer.startswith(PLAIN) and not answer.endswith(b"0\r\n\r\n"):
                return

    return handle


def http1(connect: Make, target: Target, protocol: str = "connect", **options: object) -> Channel:
    return connect(target, protocol=protocol, http_version="1.1", **options)


async def test_unary_request(connect: Make) -> None:
    seen: list[bytes] = []
    async with serving(answering(PLAIN, seen)) as target:
        channel = http1(connect, target, user_agent="me")
        for _ in range(2):
            assert await channel.unary(ECHO, b"hello", timeout=5, metadata=[("x-a", "1")]) == b"ok"
    head, _, body = seen[0].partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert lines[0] == b"post /test.echo/echo http/1.1"
    assert body == b"hello"
    fields = dict(line.split(b": ", 1) for line in lines[1:])
    assert fields.pop(b"connect-timeout-ms").isdigit()
    assert fields == {
        b"host": target.authority.encode(),
        b"content-type": b"application/proto",
        b"connect-protocol-version": b"1",
        b"user-agent": b"me",
        b"accept-encoding": b"gzip",
        b"x-a": b"1",
        b"content-length": b"5",
    }


async def test_stream_request_is_chunked(connect: Make) -> None:
    seen: list[bytes] = []
    answer = CHUNKED + chunk(message(b"one") + message(b"{}", 2)) + b"0\r\n\r\n"
    async with serving(answering(answer, seen)) as target, http1(connect, target).call(CHAT) as call:
        await call.send(b"a")
        await call.send(b"b")
        await call.end()
        assert [one async for one in call] == [b"one"]
    head, _, body = seen[0].partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    assert body == chunk(message(b"a")) + chunk(message(b"b")) + b"0\r\n\r\n"


async def test_r81_httpx_does_not_decompress(connect: Make) -> None:
    packed = gzip.compress(bytes(2_000_000))
    head = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n" % len(packed)
    async with serving(answering(HEAD % (b"application/proto", head) + packed)) as target:
        with pytest.raises(MessageTooLarge):
            await http1(connect, target, max_receive_bytes=1_000_000).unary(ECHO, b"")
        assert await http1(connect, target).unary(ECHO, b"") == bytes(2_000_000)


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200", CHUNKED, CHUNKED + chunk(message(b"one"))[:-4], b"SSH-2.0-x\r\n", b"HTTP/1.1 abc\r\n\r\n"],
)
async def test_14_connection_lost(connect: Make, answer: bytes) -> None:
    async with serving(answering(answer)) as target, http1(connect, target).call(COUNT) as call:
        await call.send(b"x", end=True)
        with pytest.raises(ConnectionLost) as caught:
            await call.receive()
    assert caught.value.code == StatusCode.UNAVAILABLE
    assert not caught.value.unprocessed


async def test_14_messages_before_the_loss_are_delivered(connect: Make) -> None:
    async with (
        serving(answering(CHUNKED + chunk(message(b"one")))) as target,
        http1(connect, target).call(COUNT) as call,
    ):
        await call.send(b"x", end=True)
        assert await call.receive() == b"one"
        with pytest.raises(ConnectionLost):
            await call.receive()


async def test_45_error_page(connect: Make) -> None:
    page = b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"
    async with serving(answering(page)) as target:
        for protocol in ("connect", "grpc-web"):
            with pytest.raises(RpcError) as caught:
                await http1(connect, target, protocol).unary(ECHO, b"")
            assert caught.value.code == StatusCode.UNAVAILABLE
            assert "<html>" in caught.value.message


async def test_5_untrusted_certificate(connect: Make, server_tls: Callable[..., ssl.SSLContext]) -> None:
    async with serving(answering(PLAIN), server_tls(alpn=())) as target:
        with pytest.raises(TlsFailed) as caught:
            await http1(connect, target).unary(ECHO, b"")
        assert caught.value.unprocessed


async def test_tls(connect: Make, server_tls: Callable[..., ssl.SSLContext], authority: object) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)  # type: ignore[attr-defined]
    async with serving(answering(PLAIN), server_tls(alpn=("http/1.1",))) as target:
        channel = http1(connect, target, dial_options=DialOptions(ssl_context=context))
        assert await channel.unary(ECHO, b"") == b"ok"


async def test_r33_deadline(connect: Make) -> None:
    async def silent(stream: ByteStream) -> None:
        await anyio.sleep_forever()

    async with serving(silent) as target:
        channel = http1(connect, target)
        with pytest.raises(DeadlineExceeded):
            await channel.unary(ECHO, b"", timeout=0.1)
        with anyio.move_on_after(0.1) as scope:
            await channel.unary(ECHO, b"")
        assert scope.cancelled_caught


async def test_r67_closed(connect: Make) -> None:
    started = anyio.Event()

    async def silent(stream: ByteStream) -> None:
        await stream.receive()
        started.set()
        await anyio.sleep_forever()

    async with serving(silent) as target:
        channel = http1(connect, target)
        call = channel.call(COUNT)
        await call.send(b"x", end=True)
        await started.wait()
        await channel.aclose()
        with pytest.raises(Cancelled):
            await call.receive()
        with pytest.raises(ChannelClosed):
            await channel.unary(ECHO, b"")


@pytest.mark.parametrize("size", [1_000, 100_000])
async def test_r42_a_reader_that_stops_stops_the_server(connect: Make, size: int) -> None:
    sent = 0

    async def endless(stream: ByteStream) -> None:
        nonlocal sent
        await read_request(stream)
        await stream.send(CHUNKED)
        while True:
            await stream.send(chunk(message(bytes(size))))
            sent += size

    async with serving(endless) as target:
        channel = http1(connect, target, engine_options=EngineOptions(stream_window=100_000))
        async with channel.call(COUNT) as call:
            await call.send(b"x", end=True)
            assert await call.receive() == bytes(size)
            before = -1
            while before != sent:
                before = sent
                await anyio.sleep(0.1)
            stopped = sent
            for _ in range(2 + stopped // size):
                assert await call.receive() == bytes(size)
            assert stopped < 20_000_000


async def test_r41_send_waits_for_a_server_that_does_not_read(connect: Make) -> None:
    read = anyio.Event()

    async def slow(stream: ByteStream) -> None:
        await stream.receive(1)  # Until it has been asked once, anyio's end takes everything.
        await read.wait()
        await read_request(stream)
        await stream.send(CHUNKED + chunk(message(b"{}", 2)) + b"0\r\n\r\n")

    async with serving(slow) as target, http1(connect, target).call(CHAT) as call:
        with anyio.move_on_after(0.3) as scope:
            await call.send(bytes(16_000_000))
        assert scope.cancelled_caught
        read.set()
        await call.end()
        assert await call.receive() is None


async def test_r34_a_cancelled_send_is_taken_back(connect: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not written yet; over HTTP/1.1 too."""
    got: list[bytes] = []
    may_connect = anyio.Event()

    async def dial(*args: Any, **options: Any) -> Any:
        await may_connect.wait()
        return await dialing.dial(*args, **options)

    monkeypatch.setattr("boxd.transport.http1_transport.dial", dial)

    async def handler(stream: ByteStream) -> None:
        data = b""
        while b"0\r\n\r\n" not in data:
            data += await stream.receive()
        got.append(data)
        await stream.send(CHUNKED + chunk(b"\x02" + (2).to_bytes(4, "big") + b"{}") + chunk(b""))

    async with serving(handler) as target:
        channel = connect(target, protocol="connect", http_version="1.1")
        async with channel.call(CHAT) as call:
            for _ in range(5):
                with anyio.CancelScope() as scope:
                    scope.cancel()
                    await call.send(b"never")
            may_connect.set()
            await call.send(b"one")
            await call.send(b"two", end=True)
            assert [one async for one in call] == []
    assert b"never" not in got[0]
    assert got[0].index(b"one") < got[0].index(b"two")
