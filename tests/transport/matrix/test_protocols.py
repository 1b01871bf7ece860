"""Answers that are not of the protocol, and those that break gRPC-Web's or Connect's rules: rows 45 to 47."""

from __future__ import annotations

import gzip
import json
from base64 import b64encode

import pytest

from boxd.transport import Channel, DecodeFailed, MessageTooLarge, ProtocolViolation, RpcError, StatusCode
from boxd.transport.http2.stream import Headers
from tests.fixtures import frames as f
from tests.fixtures.fault_server import Peer, Request
from tests.transport.matrix.bench import FAULT_CHAT, Bench, Fault

pytestmark = pytest.mark.anyio
INTERNAL, UNKNOWN, UNAVAILABLE = StatusCode.INTERNAL, StatusCode.UNKNOWN, StatusCode.UNAVAILABLE
PROTOCOLS = ["grpc", "grpc-web", "connect"]


def http(status: int, content_type: str | None, body: bytes = b"", *fields: tuple[bytes, bytes]) -> Fault:
    """A whole HTTP response."""
    headers: Headers = [(b":status", b"%d" % status)]
    if content_type is not None:
        headers.append((b"content-type", content_type.encode()))

    async def fault(peer: Peer, request: Request) -> None:
        stream = request.stream
        pieces = [body[start : start + 16_384] for start in range(0, len(body), 16_384)] or [b""]
        frames = [f.data(stream, piece, end=piece is pieces[-1]) for piece in pieces]
        await peer.send(peer.head(stream, [*headers, *fields]), *frames)

    return fault


async def chat(channel: Channel) -> None:
    """The streaming call that usually suffers."""
    async with channel.call(FAULT_CHAT) as call:
        await call.send(b"question", end=True)
        while await call.receive() is not None:
            pass


HTML = b"<html>" + b"not here " * 5_000
FOREIGN = [
    (200, "text/html", UNKNOWN),
    (200, "image/jpeg", UNKNOWN),
    (200, None, UNKNOWN),
    (200, "video/mp4", UNKNOWN),
    (301, "text/html", UNKNOWN),
    (307, "text/plain", UNKNOWN),
    (400, "text/html", INTERNAL),
    (401, "text/html", StatusCode.UNAUTHENTICATED),
    (403, "text/html", StatusCode.PERMISSION_DENIED),
    (404, "text/html", StatusCode.UNIMPLEMENTED),
    (415, "text/plain", UNKNOWN),
    (429, "text/plain", UNAVAILABLE),
    (500, "text/html", UNKNOWN),
    (502, "text/html", UNAVAILABLE),
    (503, "text/html", UNAVAILABLE),
    (504, "text/html", UNAVAILABLE),
    (505, None, UNKNOWN),
]


@pytest.mark.row(45)
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("body", [b"", b"short page", HTML], ids=["empty", "short", "long"])
async def test_row_45_another_server(anyio_backend: str, protocol: str, body: bytes) -> None:
    """The body is quoted in part, redirects are not followed, and nothing of it is sent again."""
    left = iter(FOREIGN)

    async def fault(peer: Peer, request: Request) -> None:
        status, content_type, _ = next(left)
        location = (b"location", b"http://127.0.0.1:1/elsewhere")
        await http(status, content_type, body, location)(peer, request)

    async with Bench(fault, channel={"protocol": protocol}) as bench:
        for status, _, code in FOREIGN:
            error = await bench.fails(RpcError, code)
            assert f"HTTP status {status}" in error.message
            assert len(error.message) < 1_300
            if body:
                assert body[:10].decode() in error.message
        assert len(f.of_kind(bench.peer.frames, f.HEADERS)) == 1 + len(FOREIGN)


@pytest.mark.row(45)
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_row_45_another_codec(anyio_backend: str, protocol: str) -> None:
    kind = {"grpc": "application/grpc+json", "grpc-web": "application/grpc-web+json", "connect": "application/json"}
    async with Bench(http(200, kind[protocol], b"{}"), channel={"protocol": protocol}) as bench:
        await bench.fails(RpcError, INTERNAL)


ANSWER = f.message(b"answer")
OK = f.message(b"grpc-status: 0\r\n", 0x80)
WEB = {
    "no trailers": (ANSWER, ProtocolViolation),
    "two trailers": (ANSWER + OK + OK, ProtocolViolation),
    "data after": (ANSWER + OK + ANSWER, ProtocolViolation),
    "half a message": (ANSWER[:7], ProtocolViolation),
    "half of the trailers": (ANSWER + OK[:9], ProtocolViolation),
    "line without colon": (ANSWER + f.message(b"grpc-status", 0x80), ProtocolViolation),
    "no status": (ANSWER + f.message(b"x: y", 0x80), RpcError),
    "undeclared compression": (ANSWER + f.message(gzip.compress(b"grpc-status: 0"), 0x81), ProtocolViolation),
    "huge": (ANSWER + b"\x80\xff\xff\xff\xff", MessageTooLarge),
}
CODES = {ProtocolViolation: INTERNAL, RpcError: UNKNOWN, MessageTooLarge: StatusCode.RESOURCE_EXHAUSTED}


@pytest.mark.row(46)
@pytest.mark.parametrize("text", [False, True], ids=["binary", "text"])
@pytest.mark.parametrize("name", WEB)
async def test_row_46_grpc_web(anyio_backend: str, name: str, text: bool) -> None:
    body, kind = WEB[name]
    protocol = "grpc-web-text" if text else "grpc-web"
    fault = http(200, f"application/{protocol}+proto", b64encode(body) if text else body)
    async with Bench(fault, channel={"protocol": protocol}) as bench:
        await bench.fails(kind, CODES[kind])


@pytest.mark.row(46)
@pytest.mark.parametrize("body", [b"AAA", b"AAAAAAA", b"!!!!", b"AA=A", b"AAAA\nAAA", b"\xff\xff\xff\xff"], ids=repr)
async def test_row_46_bad_base64(anyio_backend: str, body: bytes) -> None:
    fault = http(200, "application/grpc-web-text+proto", body)
    async with Bench(fault, channel={"protocol": "grpc-web-text"}) as bench:
        await bench.fails(ProtocolViolation, INTERNAL)


@pytest.mark.row(46)
async def test_row_46_trailers_only(anyio_backend: str) -> None:
    """The status in the headers counts where there is no body, and not where there is one."""
    status = (b"grpc-status", b"8")
    async with Bench(http(200, "application/grpc-web+proto", b"", status), channel={"protocol": "grpc-web"}) as bench:
        await bench.fails(RpcError, StatusCode.RESOURCE_EXHAUSTED)
    nine = ANSWER + f.message(b"grpc-status: 9", 0x80)
    async with Bench(http(200, "application/grpc-web+proto", nine, status), channel={"protocol": "grpc-web"}) as bench:
        await bench.fails(RpcError, StatusCode.FAILED_PRECONDITION)


JSON = "application/json"
ERROR = json.dumps({"code": "aborted", "message": "as asked"}).encode()
UNARY: dict[str, tuple[int, bytes, tuple[tuple[bytes, bytes], ...], StatusCode]] = {
    "error": (503, ERROR, (), StatusCode.ABORTED),
    "null": (503, b"null", (), UNAVAILABLE),
    "garbage": (503, b"{]", (), UNAVAILABLE),
    "not text": (503, b"\xff\xfe", (), UNAVAILABLE),
    "array": (503, b"[1]", (), UNAVAILABLE),
    "deep": (503, b"[" * 100_000, (), UNAVAILABLE),
    "null code": (503, b'{"code": null}', (), UNAVAILABLE),
    "unknown code": (503, b'{"code": "teapot"}', (), UNAVAILABLE),
    "code of another type": (503, b'{"code": 7}', (), UNAVAILABLE),
    "other types": (503, b'{"code": "aborted", "message": [], "details": {"x": 1}}', (), StatusCode.ABORTED),
    "compressed": (503, gzip.compress(ERROR), ((b"content-encoding", b"gzip"),), StatusCode.ABORTED),
    "damaged": (503, gzip.compress(ERROR)[:-6], ((b"content-encoding", b"gzip"),), UNAVAILABLE),
    "bomb": (503, gzip.compress(bytes(8 << 20), 1), ((b"content-encoding", b"gzip"),), UNAVAILABLE),
    "unknown compression": (503, ERROR, ((b"content-encoding", b"br"),), StatusCode.ABORTED),
}


@pytest.mark.row(47)
async def test_row_47_connect_unary_errors(anyio_backend: str) -> None:
    left = iter(UNARY.values())

    async def fault(peer: Peer, request: Request) -> None:
        status, body, fields, _ = next(left)
        await http(status, JSON, body, *fields)(peer, request)

    async with Bench(fault, channel={"protocol": "connect"}) as bench:
        for name, (_, _, _, code) in UNARY.items():
            error = await bench.fails(RpcError, code)
            assert len(error.message) < 1_300, name


@pytest.mark.row(47)
async def test_row_47_endless_error(anyio_backend: str) -> None:
    """No more of it is kept than an error takes."""

    async def fault(peer: Peer, request: Request) -> None:
        stream = request.stream
        await peer.send(peer.head(stream, [(b":status", b"503"), (b"content-type", JSON.encode())]))
        while not any(one.stream == stream for one in f.of_kind(peer.frames, f.RST_STREAM)):
            await peer.send(f.data(stream, b" " * 16_384) * 16)
            await peer.round_trip()

    async with Bench(fault, channel={"protocol": "connect"}) as bench:
        await bench.fails(RpcError, UNAVAILABLE)
        sent = bench.channel._pool._connections[0].engine._window_used  # type: ignore[attr-defined]
        assert await bench.reset() == f.CANCEL
        assert sent < 4 << 20


CONNECT_STREAM = "application/connect+proto"
END = f.message(b"{}", 2)
GZIP = ((b"connect-content-encoding", b"gzip"),)
STREAMS: dict[str, tuple[bytes, tuple[tuple[bytes, bytes], ...], type[RpcError], StatusCode]] = {
    "no end": (ANSWER, (), ProtocolViolation, INTERNAL),
    "two ends": (ANSWER + END + END, (), ProtocolViolation, INTERNAL),
    "data after": (ANSWER + END + ANSWER, (), ProtocolViolation, INTERNAL),
    "half an end": (ANSWER + END[:6], (), ProtocolViolation, INTERNAL),
    "not json": (ANSWER + f.message(b"{]", 2), (), ProtocolViolation, INTERNAL),
    "array": (ANSWER + f.message(b"[]", 2), (), ProtocolViolation, INTERNAL),
    "empty": (ANSWER + f.message(b"", 2), (), ProtocolViolation, INTERNAL),
    "deep": (ANSWER + f.message(b"[" * 100_000, 2), (), ProtocolViolation, INTERNAL),
    "error": (f.message(b'{"error": %b}' % ERROR, 2), (), RpcError, StatusCode.ABORTED),
    "error without code": (f.message(b'{"error": {}}', 2), (), RpcError, UNKNOWN),
    "error of another type": (f.message(b'{"error": 1}', 2), (), RpcError, UNKNOWN),
    "unknown flags": (f.message(b"x", 0x44), (), ProtocolViolation, INTERNAL),
    "huge": (b"\x02\xff\xff\xff\xff", (), MessageTooLarge, StatusCode.RESOURCE_EXHAUSTED),
    "undeclared compression": (f.message(gzip.compress(b"{}"), 3), (), ProtocolViolation, INTERNAL),
    "compressed": (
        f.message(gzip.compress(b'{"error": %b}' % ERROR), 3),
        GZIP,
        RpcError,
        StatusCode.ABORTED,
    ),
    "damaged": (f.message(gzip.compress(b"{}")[:-5], 3), GZIP, DecodeFailed, INTERNAL),
    "bomb": (f.message(gzip.compress(bytes(8 << 20), 1), 3), GZIP, MessageTooLarge, StatusCode.RESOURCE_EXHAUSTED),
}


@pytest.mark.row(47)
async def test_row_47_connect_streams(anyio_backend: str) -> None:
    left = iter(STREAMS.values())

    async def fault(peer: Peer, request: Request) -> None:
        body, fields, *_ = next(left)
        await http(200, CONNECT_STREAM, body, *fields)(peer, request)

    async with Bench(fault, channel={"protocol": "connect"}) as bench:
        for _, _, kind, code in STREAMS.values():
            await bench.fails(kind, code, chat)
