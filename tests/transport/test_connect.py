"""The Connect protocol, without I/O: tables of R73 to R81, and row 47 of the faults."""

from __future__ import annotations

import gzip
import json
import math
from base64 import b64encode, urlsafe_b64decode
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from boxd.transport.connect import MAX_GET_URL, ConnectProtocol, timeout_ms
from boxd.transport.connect_reader import MAX_ERROR, StreamReader, UnaryReader
from boxd.transport.errors import DecodeFailed, MessageTooLarge, ProtocolViolation, RpcError
from boxd.transport.http2.stream import Headers
from boxd.transport.method import Kind
from boxd.transport.protocol import CallFormat, Content, RequestHead
from boxd.transport.status import StatusCode as Code
from tests.fixtures.frames import message
from tests.transport.test_grpc_reader import HTTP

PROTO: Headers = [(b"content-type", b"application/proto")]
STREAM: Headers = [(b"content-type", b"application/connect+proto")]
JSON: Headers = [(b"content-type", b"application/json")]
END = message(b"{}", 2)


def make(kind: Kind = Kind.UNARY, content: Content | None = None, *, use_get: bool = False) -> CallFormat:
    head = RequestHead("https", "host:1", "/a.B/C", "agent", kind, no_side_effects=True)
    return ConnectProtocol(content or Content(), use_get=use_get).format(head)


def read(reader: Any, status: int, headers: Headers, body: bytes, step: int | None = None) -> list[bytes]:
    """The messages of a response; raises what the call would."""
    reader.on_headers(status, headers, False)
    out: list[tuple[int, bytes]] = []
    step = step or len(body) or 1
    for start in range(0, len(body), step):
        reader.on_data(body[start : start + step], out)
    reader.on_end([], out)
    return [reader.decode(*one) for one in out]


def unary(body: bytes = b"", headers: Headers = PROTO, status: int = 200, limit: int | None = 1_000) -> list[bytes]:
    return read(UnaryReader(limit), status, headers, body)


def stream(body: bytes, headers: Headers = STREAM, status: int = 200, limit: int | None = 1_000) -> list[bytes]:
    return read(StreamReader(limit), status, headers, body)


def failure(run: Any, *args: Any, **options: Any) -> RpcError:
    with pytest.raises(RpcError) as caught:
        run(*args, **options)
    return caught.value


# -- requests


def test_r73_unary_request() -> None:
    before, after, body = make().open(b"hi")
    assert before[:2] == [(b":method", b"POST"), (b":scheme", b"https")]
    fields = dict(after)
    assert body == b"hi"
    assert fields[b"content-type"] == b"application/proto"
    assert fields[b"connect-protocol-version"] == b"1"
    assert fields[b"accept-encoding"] == b"gzip"
    assert not {b"content-encoding", b"te"} & set(fields)


def test_r73_unary_request_json_and_gzip() -> None:
    form = make(content=Content("json", "gzip", compress_from=3))
    _, after, body = form.open(b"hello")
    assert dict(after)[b"content-type"] == b"application/json"
    assert dict(after)[b"content-encoding"] == b"gzip"
    assert gzip.decompress(body) == b"hello"
    _, after, body = form.open(b"hi")
    assert b"content-encoding" not in dict(after)
    assert body == b"hi"


@pytest.mark.parametrize("kind", [Kind.CLIENT_STREAM, Kind.SERVER_STREAM, Kind.BIDI_STREAM])
def test_r74_stream_request(kind: Kind) -> None:
    form = make(kind, Content(compression="gzip", compress_from=0))
    fields = dict(form.open(None)[1])
    assert fields[b"content-type"] == b"application/connect+proto"
    assert fields[b"connect-content-encoding"] == fields[b"connect-accept-encoding"] == b"gzip"
    assert fields[b"connect-protocol-version"] == b"1"
    body = form.encode(b"hello")
    assert body[0] == 1
    assert gzip.decompress(body[5:]) == b"hello"
    assert form.encode(b"") == message(b"")


@pytest.mark.parametrize(
    ("seconds", "value"),
    [
        (1e-9, b"1"),
        (0.0011, b"2"),
        (1, b"1000"),
        (1e7 - 1, b"9999999000"),
        (1e7, b"9999999999"),
        (math.inf, b"9999999999"),
    ],
)
def test_r75_timeout(seconds: float, value: bytes) -> None:
    assert timeout_ms(seconds) == value
    assert ConnectProtocol(Content()).timeout_header(seconds) == (b"connect-timeout-ms", value)


def test_r80_get() -> None:
    before, after, body = make(use_get=True, content=Content(compression="gzip", compress_from=3)).open(b"\xff\xfe\xfd")
    path = dict(before)[b":path"].decode()
    assert before[0] == (b":method", b"GET")
    assert body == b""
    query = parse_qsl(urlsplit(path).query)
    assert urlsplit(path).path == "/a.B/C"
    assert [name for name, _ in query] == ["connect", "base64", "compression", "encoding", "message"]
    values = dict(query)
    assert (values["connect"], values["base64"], values["compression"], values["encoding"]) == (
        "v1",
        "1",
        "gzip",
        "proto",
    )
    assert not set("+/=") & set(values["message"])
    data = urlsafe_b64decode(values["message"] + "=" * (-len(values["message"]) % 4))
    assert gzip.decompress(data) == b"\xff\xfe\xfd"
    assert not {b"content-type", b"content-encoding", b"connect-protocol-version"} & set(dict(after))


def test_r80_get_of_an_empty_message() -> None:
    path = dict(make(use_get=True).open(b"")[0])[b":path"]
    assert path == b"/a.B/C?connect=v1&base64=1&encoding=proto&message="


def test_r80_post_where_the_url_would_be_long() -> None:
    before, after, body = make(use_get=True).open(bytes(MAX_GET_URL))
    assert before[0] == (b":method", b"POST")
    assert dict(after)[b"content-type"] == b"application/proto"
    assert body == bytes(MAX_GET_URL)


def test_r80_get_only_where_nothing_changes() -> None:
    head = RequestHead("https", "host:1", "/a.B/C", "agent", Kind.UNARY, no_side_effects=False)
    assert ConnectProtocol(Content(), use_get=True).format(head).open(b"")[0][0] == (b":method", b"POST")
    assert make(Kind.SERVER_STREAM, use_get=True).open(b"")[0][0] == (b":method", b"POST")


# -- unary responses


@pytest.mark.parametrize("body", [b"", b"x", bytes(1_000)])
def test_r73_unary_response(body: bytes) -> None:
    assert unary(body) == [body]
    packed: Headers = [*PROTO, (b"content-encoding", b"gzip")]
    assert unary(gzip.compress(body), packed) == [body]
    assert read(UnaryReader(None), 200, packed, gzip.compress(body), step=1) == [body]


def test_r19_empty_bodies_are_not_decompressed() -> None:
    assert unary(b"", [*PROTO, (b"content-encoding", b"gzip")]) == [b""]


@pytest.mark.parametrize("body", [bytes(1_001), gzip.compress(bytes(1_001))])
def test_r81_limit(body: bytes) -> None:
    headers = PROTO if len(body) > 1_000 else [*PROTO, (b"content-encoding", b"gzip")]
    error = failure(unary, body, headers)
    assert (type(error), error.code) == (MessageTooLarge, Code.RESOURCE_EXHAUSTED)


def test_r76_trailers() -> None:
    reader = UnaryReader(None)
    headers: Headers = [*PROTO, (b"x", b"1"), (b"trailer-x", b"2"), (b"trailer-x", b"3"), (b"trailer-y-bin", b"AA")]
    assert read(reader, 200, headers, b"hi") == [b"hi"]
    assert reader.headers == [*PROTO, (b"x", b"1")]
    assert reader.trailers == [(b"x", b"2"), (b"x", b"3"), (b"y-bin", b"AA")]


@pytest.mark.parametrize("code", Code)
def test_r77_unary_error(code: Code) -> None:
    if code == Code.OK:
        return
    name = "canceled" if code == Code.CANCELLED else code.name.lower()
    details = [
        {"type": "a.B", "value": "AAE", "debug": {"x": 1}},
        {"type": "x/c.D", "value": "AAE="},
        {"type": "bad"},
        7,
    ]
    body = {"code": name, "message": "why \u4f60", "details": details, "other": None}
    error = failure(unary, json.dumps(body).encode(), [*JSON, (b"x", b"1"), (b"trailer-t", b"2")], 500)
    assert (error.code, error.message, error.origin) == (code, "why \u4f60", "server")
    assert list(error.details) == [("a.B", b"\0\x01"), ("c.D", b"\0\x01")]
    assert ("x", "1") in error.headers
    assert list(error.trailers) == [("t", "2")]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"message":"m"}', "m"),
        (b'{"code":null,"message":"m"}', "m"),
        (b'{"code":"other","message":"m"}', "m"),
        (b'{"code":"ok","message":"m"}', "m"),
        (b'{"code":"cancelled","message":"m"}', "m"),
        (b'{"code":5,"message":["m"],"details":{}}', ""),
        (b"{}", ""),
        (b"null", None),
        (b"[1]", None),
        (b"", None),
        (b"<html>", None),
        (b"\xff\xfe", None),
        (b"[" * 100_000, None),
    ],
)
@pytest.mark.parametrize("status", [404, 429, 500])
def test_r77_no_code(body: bytes, text: str | None, status: int) -> None:
    error = failure(unary, body, JSON, status)
    assert error.code == HTTP[status]
    if text is not None:
        assert error.message == text
    else:
        assert str(status) in error.message
        assert len(error.message) < 1_300


@pytest.mark.parametrize("status", HTTP)
def test_r77_http_status(status: int) -> None:
    error = failure(unary, b"<html>not here</html>", [(b"content-type", b"text/html")], status)
    assert error.code == HTTP[status]
    assert "not here" in error.message
    assert failure(stream, b'{"code":"aborted"}', JSON, status).code == HTTP[status]


def test_r77_compressed_error() -> None:
    packed: Headers = [*JSON, (b"content-encoding", b"gzip")]
    body = gzip.compress(b'{"code":"aborted","message":"m"}')
    assert failure(unary, body, packed, 409).code == Code.ABORTED
    assert failure(unary, body[:-4], packed, 503).code == Code.UNAVAILABLE
    assert failure(unary, gzip.compress(bytes(MAX_ERROR + 1)), packed, 503).code == Code.UNAVAILABLE
    assert failure(unary, body, [*JSON, (b"content-encoding", b"br")], 503).code == Code.UNAVAILABLE


def test_r77_endless_error() -> None:
    reader = UnaryReader(None)
    reader.on_headers(503, JSON, False)
    for _ in range(MAX_ERROR // 65_536):
        reader.on_data(bytes(65_536), [])
    assert failure(reader.on_data, b"x", []).code == Code.UNAVAILABLE


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (b"application/proto;charset=utf-8", None),
        (b"Application/Proto", None),
        (b"application/json", Code.INTERNAL),
        (b"application/connect+proto", Code.INTERNAL),
        (b"image/jpeg", Code.UNKNOWN),
        (b"", Code.UNKNOWN),
    ],
)
def test_r79_unary_content_type(kind: bytes, code: Code | None) -> None:
    if code is None:
        assert unary(b"x", [(b"content-type", kind)]) == [b"x"]
    else:
        assert failure(unary, b"x", [(b"content-type", kind)]).code == code


def test_r79_unknown_encoding() -> None:
    assert isinstance(failure(unary, b"x", [*PROTO, (b"content-encoding", b"br")]), DecodeFailed)
    assert isinstance(failure(stream, END, [*STREAM, (b"connect-content-encoding", b"br")]), DecodeFailed)


# -- streams


@pytest.mark.parametrize("step", [1, 3, 1_000])
def test_r74_stream_response(step: int) -> None:
    body = message(gzip.compress(b"one"), 1) + message(b"") + message(b"two") + message(gzip.compress(b"{}"), 3)
    headers: Headers = [*STREAM, (b"connect-content-encoding", b"gzip")]
    assert read(StreamReader(10_000), 200, headers, body, step) == [b"one", b"", b"two"]


def test_r78_end() -> None:
    reader = StreamReader(None)
    end = {"error": None, "metadata": {"X-A": ["1", "2"], "y-bin": ["AA"], "bad": "x", "worse": [1]}}
    assert read(reader, 200, STREAM, message(b"x") + message(json.dumps(end).encode(), 2)) == [b"x"]
    assert reader.trailers == [(b"x-a", b"1"), (b"x-a", b"2"), (b"y-bin", b"AA")]


def test_r78_error() -> None:
    detail = {"type": "a.B", "value": b64encode(b"\x01\x02\x03").decode()}
    end = {"error": {"code": "not_found", "message": "m", "details": [detail]}, "metadata": {"t": ["2"]}}
    error = failure(stream, message(b"x") + message(json.dumps(end).encode(), 2), [*STREAM, (b"x", b"1")])
    assert (error.code, error.message, error.origin) == (Code.NOT_FOUND, "m", "server")
    assert list(error.details) == [("a.B", b"\x01\x02\x03")]
    assert list(error.trailers) == [("t", "2")]
    assert ("x", "1") in error.headers


@pytest.mark.parametrize("error", [b"{}", b'{"code":null}', b'{"code":"x"}', b'{"code":1}', b'"text"', b"[]", b"0"])
def test_r78_error_without_a_code(error: bytes) -> None:
    assert failure(stream, message(b'{"error":' + error + b"}", 2)).code == Code.UNKNOWN


@pytest.mark.parametrize("end", [b"", b"null", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_r78_end_that_is_no_object(end: bytes) -> None:
    error = failure(stream, message(end, 2))
    assert (type(error), error.code) == (ProtocolViolation, Code.INTERNAL)


@pytest.mark.parametrize("body", [b"", message(b"x"), message(b"four")[:-1], END[:-1]])
def test_r78_no_end(body: bytes) -> None:
    assert failure(stream, body).code == Code.INTERNAL


@pytest.mark.parametrize("more", [END, message(b"x"), b"\0"])
@pytest.mark.parametrize("step", [1, 1_000])
def test_r78_data_after_the_end(more: bytes, step: int) -> None:
    error = failure(read, StreamReader(None), 200, STREAM, END + more, step)
    assert (type(error), error.code) == (ProtocolViolation, Code.INTERNAL)


@pytest.mark.parametrize("flags", [4, 5, 128, 253])
def test_r74_unknown_flags(flags: int) -> None:
    assert failure(stream, message(b"x", flags) + END).code == Code.INTERNAL


def test_r18_stream_limits() -> None:
    assert isinstance(failure(stream, message(bytes(1_001)) + END), MessageTooLarge)
    assert isinstance(failure(stream, message(bytes(MAX_ERROR + 1), 2), limit=None), MessageTooLarge)
    end = message(b'{"x":"' + b"y" * 2_000 + b'"}', 2)
    assert stream(end, limit=10) == []


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (b"application/connect+json", Code.INTERNAL),
        (b"application/proto", Code.UNKNOWN),
        (b"text/html", Code.UNKNOWN),
    ],
)
def test_r79_stream_content_type(kind: bytes, code: Code) -> None:
    assert failure(stream, END, [(b"content-type", kind)]).code == code
