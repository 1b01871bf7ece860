"""gRPC-Web, without I/O: tables of R69 to R72, and row 46 of the faults."""

from __future__ import annotations

import gzip
import itertools
from base64 import b64encode

import pytest

from boxd.transport.errors import DecodeFailed, MessageTooLarge, ProtocolViolation, RpcError
from boxd.transport.grpc_web import MAX_TRAILERS, Base64Reader, GrpcWebProtocol, GrpcWebReader, parse_trailers
from boxd.transport.http2.stream import Headers
from boxd.transport.method import Kind
from boxd.transport.protocol import Content, RequestHead
from boxd.transport.status import StatusCode as Code
from tests.fixtures.frames import message

WEB: Headers = [(b"content-type", b"application/grpc-web+proto")]
TEXT: Headers = [(b"content-type", b"application/grpc-web-text+proto")]
OK = message(b"grpc-status: 0\r\n", 0x80)
HEAD = RequestHead("https", "host:1", "/a.B/C", "agent", Kind.UNARY)


def respond(
    body: bytes, *, headers: Headers = WEB, status: int = 200, step: int | None = None, limit: int | None = 1_000
) -> tuple[list[bytes], GrpcWebReader]:
    """The messages of a response, and its reader; raises what the call would."""
    reader = GrpcWebReader(limit)
    reader.on_headers(status, headers, False)
    out: list[tuple[int, bytes]] = []
    step = step or len(body) or 1
    for start in range(0, len(body), step):
        reader.on_data(body[start : start + step], out)
    reader.on_end([], out)
    return [reader.decode(*one) for one in out], reader


def failure(body: bytes, **options: object) -> RpcError:
    with pytest.raises(RpcError) as caught:
        respond(body, **options)  # type: ignore[arg-type]
    return caught.value


def test_r69_request() -> None:
    before, after, body = GrpcWebProtocol(Content()).format(HEAD).open(b"hi")
    assert before[0] == (b":method", b"POST")
    assert body == message(b"hi")
    fields = dict(after)
    assert fields[b"content-type"] == fields[b"accept"] == b"application/grpc-web+proto"
    assert fields[b"x-grpc-web"] == b"1"
    assert b"te" not in fields
    assert b"grpc-encoding" not in fields


def test_r69_request_json_and_gzip() -> None:
    form = GrpcWebProtocol(Content("json", "gzip", compress_from=3)).format(HEAD)
    fields = dict(form.open(None)[1])
    assert fields[b"content-type"] == b"application/grpc-web+json"
    assert fields[b"grpc-encoding"] == b"gzip"
    assert form.encode(b"hi") == message(b"hi")
    body = form.encode(b"hello")
    assert body[0] == 1
    assert gzip.decompress(body[5:]) == b"hello"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (b"application/grpc-web+proto", None),
        (b"application/grpc-web", None),
        (b"application/grpc-web+json", Code.INTERNAL),
        (b"application/grpc", Code.UNKNOWN),
        (b"text/html", Code.UNKNOWN),
    ],
)
def test_r69_content_type(kind: bytes, code: Code | None) -> None:
    headers = [(b"content-type", kind)]
    if code is None:
        assert respond(message(b"x") + OK, headers=headers)[0] == [b"x"]
    else:
        assert failure(message(b"x") + OK, headers=headers).code == code


@pytest.mark.parametrize("step", [1, 2, 3, 5, 7, 1_000])
def test_r70_trailers_in_the_body(step: int) -> None:
    block = b"Grpc-Status:0\r\nX-A: 1\r\nx-a:2\r\nX-B-Bin:  AAE \r\n"
    messages, reader = respond(message(b"one") + message(b"") + message(block, 0x80), step=step)
    assert messages == [b"one", b""]
    assert reader.trailers == [(b"grpc-status", b"0"), (b"x-a", b"1"), (b"x-a", b"2"), (b"x-b-bin", b"AAE")]


@pytest.mark.parametrize("block", [b"grpc-status: 0", b"grpc-status: 0\n", b"\r\ngrpc-status: 0\r\n\r\n"])
def test_r70_line_ends(block: bytes) -> None:
    assert parse_trailers(block) == [(b"grpc-status", b"0")]


def test_r70_line_without_colon() -> None:
    assert failure(message(b"grpc-status 0\r\n", 0x80)).code == Code.INTERNAL


def test_r70_compressed_trailers() -> None:
    body = message(gzip.compress(b"grpc-status: 9\r\ngrpc-message: no%21\r\n"), 0x81)
    error = failure(body, headers=[*WEB, (b"grpc-encoding", b"gzip")])
    assert (error.code, error.message, error.origin) == (Code.FAILED_PRECONDITION, "no!", "server")
    assert isinstance(failure(body), ProtocolViolation)


def test_r70_trailers_have_a_limit_of_their_own() -> None:
    padding = b"x: " + b"y" * 2_000 + b"\r\n"
    assert respond(message(padding + b"grpc-status: 0\r\n", 0x80), limit=10)[0] == []
    assert isinstance(failure(message(bytes(MAX_TRAILERS + 1), 0x80), limit=None), MessageTooLarge)


@pytest.mark.parametrize("more", [message(b"late"), OK, b"\0"])
@pytest.mark.parametrize("step", [1, 1_000])
def test_r70_data_after_the_trailers(more: bytes, step: int) -> None:
    error = failure(message(b"x") + OK + more, step=step)
    assert (type(error), error.code) == (ProtocolViolation, Code.INTERNAL)


@pytest.mark.parametrize("body", [message(b"x"), message(b"four")[:-1], b""])
def test_r70_no_trailers(body: bytes) -> None:
    assert failure(body).code == Code.INTERNAL


def test_r70_trailers_only() -> None:
    messages, reader = respond(b"", headers=[*WEB, (b"grpc-status", b"0"), (b"x", b"y")])
    assert messages == []
    assert (b"x", b"y") in reader.trailers
    error = failure(b"", headers=[*WEB, (b"grpc-status", b"8"), (b"grpc-message", b"full")], status=503)
    assert (error.code, error.message) == (Code.RESOURCE_EXHAUSTED, "full")


def test_r71_status_in_the_headers_does_not_count() -> None:
    error = failure(message(b"grpc-status: 9\r\n", 0x80), headers=[*WEB, (b"grpc-status", b"8")])
    assert error.code == Code.FAILED_PRECONDITION
    assert respond(OK, headers=[*WEB, (b"grpc-status", b"8")])[0] == []


def test_r72_request() -> None:
    _, after, body = GrpcWebProtocol(Content(), text=True).format(HEAD).open(b"hi")
    assert body == b64encode(message(b"hi"))
    assert dict(after)[b"content-type"] == dict(after)[b"accept"] == b"application/grpc-web-text+proto"


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5, 7, 1_000])
def test_r72_padding_anywhere(step: int) -> None:
    whole = message(b"one") + message(b"fourteen bytes") + OK
    cuts = [0, 1, 3, 8, 9, 20, len(whole)]
    body = b"".join(b64encode(whole[a:b]) for a, b in itertools.pairwise(cuts))
    assert b"=" in body[:-4]
    assert respond(body, headers=TEXT, step=step)[0] == [b"one", b"fourteen bytes"]


@pytest.mark.parametrize("body", [b"AAAA*AAA", b"A=AA", b"====", b"A===", b"AAA\n", b"AAAAA"])
def test_r72_not_base64(body: bytes) -> None:
    error = failure(body, headers=TEXT)
    assert (type(error), error.code) == (ProtocolViolation, Code.INTERNAL)


def test_r72_reader_by_itself() -> None:
    reader = Base64Reader()
    assert [reader.feed(one) for one in (b"aA=", b"=aGk=aGk", b"g")] == [b"", b"hhi", b"hi "]
    reader.end()


@pytest.mark.parametrize("encoding", [b"br", b"deflate"])
def test_r16_unknown_encoding(encoding: bytes) -> None:
    assert isinstance(failure(OK, headers=[*WEB, (b"grpc-encoding", encoding)]), DecodeFailed)


def test_r27_http_status() -> None:
    html: Headers = [(b"content-type", b"text/html")]
    assert failure(b"<html>", headers=html, status=502).code == Code.UNAVAILABLE
    assert "gRPC-Web" in failure(b"<html>", headers=html, status=502).message
    assert failure(b"", headers=WEB, status=404).code == Code.UNIMPLEMENTED
