"""A gRPC response, without I/O: tables of R15 to R29."""

from __future__ import annotations

import gzip
from base64 import b64encode

import pytest

from boxd.transport.errors import DecodeFailed, MessageTooLarge, ProtocolViolation, RpcError
from boxd.transport.grpc import GrpcReader, decode_message
from boxd.transport.http2.stream import Headers
from boxd.transport.status import StatusCode as Code
from tests.fixtures.frames import message

GRPC: Headers = [(b"content-type", b"application/grpc")]
OK: Headers = [(b"grpc-status", b"0")]


def respond(
    body: bytes | list[bytes] = b"",
    trailers: Headers = OK,
    *,
    status: int = 200,
    headers: Headers = GRPC,
    limit: int | None = 1_000,
) -> list[bytes]:
    """The messages of a response; raises what the call would."""
    reader = GrpcReader(limit)
    reader.on_headers(status, headers, False)
    out: list[tuple[int, bytes]] = []
    for piece in [body] if isinstance(body, bytes) else body:
        if piece:
            reader.on_data(piece, out)
    messages = [reader.decode(*one) for one in out]
    reader.on_end(trailers, [])
    return messages


def trailers_only(headers: Headers, status: int = 200) -> None:
    reader = GrpcReader(None)
    reader.on_headers(status, headers, True)
    reader.on_end([], [])


def failure(*args: object, **kwargs: object) -> RpcError:
    with pytest.raises(RpcError) as caught:
        respond(*args, **kwargs)  # type: ignore[arg-type]
    return caught.value


# -- messages


def test_r15_many_messages() -> None:
    assert respond(message(b"a") + message(b"") + message(b"bc")) == [b"a", b"", b"bc"]


@pytest.mark.parametrize("flags", [2, 3, 128, 255])
def test_r16_unknown_flags(flags: int) -> None:
    assert failure(message(b"x", flags)).code == Code.INTERNAL


@pytest.mark.parametrize("headers", [GRPC, [*GRPC, (b"grpc-encoding", b"identity")]])
def test_r16_compressed_without_an_encoding(headers: Headers) -> None:
    error = failure(message(gzip.compress(b"x"), 1), headers=headers)
    assert isinstance(error, ProtocolViolation)
    assert error.code == Code.INTERNAL


@pytest.mark.parametrize("encoding", [b"br", b"snappy", b"GZIP", b""])
def test_r16_unknown_encoding(encoding: bytes) -> None:
    assert failure(message(b"x", 1), headers=[*GRPC, (b"grpc-encoding", encoding)]).code == Code.INTERNAL


GZIP: Headers = [*GRPC, (b"grpc-encoding", b"gzip")]


def test_r17_each_message_is_compressed_by_itself() -> None:
    body = message(gzip.compress(b"one"), 1) + message(b"two") + message(gzip.compress(b"three"), 1) + message(b"", 1)
    assert respond(body, headers=GZIP) == [b"one", b"two", b"three", b""]


@pytest.mark.parametrize("payload", [gzip.compress(b"x" * 99)[:-3], gzip.compress(b"x") + b"y", b"no"])
def test_r17_damaged_compression(payload: bytes) -> None:
    error = failure(message(payload, 1), headers=GZIP)
    assert isinstance(error, DecodeFailed)
    assert error.code == Code.INTERNAL


def test_r18_limits() -> None:
    assert respond(message(bytes(1_000))) == [bytes(1_000)]
    for body, headers in ((message(bytes(1_001)), GRPC), (message(gzip.compress(bytes(1_001)), 1), GZIP)):
        error = failure(body, headers=headers)
        assert isinstance(error, MessageTooLarge)
        assert error.code == Code.RESOURCE_EXHAUSTED


def test_r18_messages_before_the_large_one_are_kept() -> None:
    reader = GrpcReader(10)
    reader.on_headers(200, GRPC, False)
    out: list[tuple[int, bytes]] = []
    with pytest.raises(MessageTooLarge):
        reader.on_data(message(b"small") + message(bytes(11)), out)
    assert out == [(0, b"small")]


@pytest.mark.parametrize("cut", range(1, 9))
def test_r20_end_inside_a_message(cut: int) -> None:
    body = message(b"one") + message(b"four")[:cut]
    assert failure(body).code == Code.INTERNAL
    assert failure(body, []).code == Code.INTERNAL
    error = failure(body, [(b"grpc-status", b"5"), (b"grpc-message", b"gone")])
    assert (error.code, error.message, error.origin) == (Code.NOT_FOUND, "gone", "server")


# -- status


@pytest.mark.parametrize("number", range(1, 17))
def test_r23_status_of_trailers_and_of_trailers_only(number: int) -> None:
    fields: Headers = [(b"grpc-status", b"%d" % number), (b"grpc-message", b"why"), (b"x", b"y")]
    error = failure(message(b"x"), fields, headers=[*GRPC, (b"a", b"b")])
    assert (error.code, error.message, error.origin) == (number, "why", "server")
    assert ("x", "y") in error.trailers
    assert ("a", "b") in error.headers
    with pytest.raises(RpcError) as caught:
        trailers_only([*GRPC, *fields])
    assert (caught.value.code, caught.value.message) == (number, "why")
    assert ("x", "y") in caught.value.trailers
    assert list(caught.value.headers) == []


def test_r23_trailers_only_ok() -> None:
    trailers_only([*GRPC, *OK])


@pytest.mark.parametrize("trailers", [[], [(b"x", b"y")]])
def test_r24_status_in_headers_is_ignored(trailers: Headers) -> None:
    headers = [*GRPC, (b"grpc-status", b"0")]
    assert failure(message(b"x"), trailers, headers=headers).code in (Code.UNKNOWN, Code.INTERNAL)
    assert failure(b"", [(b"grpc-status", b"9")], headers=headers).code == Code.FAILED_PRECONDITION


@pytest.mark.parametrize(
    ("content_type", "code"),
    [
        (b"application/grpc", None),
        (b"application/grpc+proto", None),
        (b"application/grpc;charset=utf-8", None),
        (b"Application/gRPC+Proto", None),
        (b"application/grpc+json", Code.INTERNAL),
        (b"application/grpc+thrift", Code.INTERNAL),
        (b"application/grpc-web", Code.UNKNOWN),
        (b"application/grpc-web+proto", Code.UNKNOWN),
        (b"application/grpcx", Code.UNKNOWN),
        (b"application/json", Code.UNKNOWN),
        (b"text/html", Code.UNKNOWN),
        (b"image/jpeg", Code.UNKNOWN),
        (b"", Code.UNKNOWN),
        (None, Code.UNKNOWN),
    ],
)
def test_r25_content_type(content_type: bytes | None, code: Code | None) -> None:
    headers: Headers = [] if content_type is None else [(b"content-type", content_type)]
    if code is None:
        assert respond(message(b"x"), headers=headers) == [b"x"]
    else:
        assert failure(b"<html>not gRPC</html>", headers=headers).code == code
        assert failure(b"", [], headers=headers).code == code


def test_r25_foreign_body_is_quoted_in_part() -> None:
    error = failure([b"<html>" + b"x" * 500, b"y" * 400_000], [], headers=[(b"content-type", b"text/html")])
    assert "<html>" in error.message
    assert "text/html" in error.message
    assert len(error.message) < 1_300


@pytest.mark.parametrize("value", [None, b"abc", b"-1", b"17", b"99", b"", b" 5", b"5 ", b"1.0", b"\xb2", b"9" * 5_000])
def test_r26_bad_status(value: bytes | None) -> None:
    trailers: Headers = [] if value is None else [(b"grpc-status", value)]
    error = failure(message(b"x"), trailers)
    assert error.code == Code.UNKNOWN
    assert len(error.message) < 200


def test_r26_first_of_two_statuses_counts() -> None:
    trailers = [(b"grpc-status", b"5"), (b"grpc-status", b"0"), (b"grpc-message", b"a"), (b"grpc-message", b"b")]
    error = failure(b"", trailers)
    assert (error.code, error.message) == (Code.NOT_FOUND, "a")


HTTP = {
    400: Code.INTERNAL,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.UNIMPLEMENTED,
    429: Code.UNAVAILABLE,
    502: Code.UNAVAILABLE,
    503: Code.UNAVAILABLE,
    504: Code.UNAVAILABLE,
    **dict.fromkeys((302, 408, 409, 412, 413, 415, 418, 431, 500, 505, 800), Code.UNKNOWN),
}


@pytest.mark.parametrize("status", HTTP)
def test_r27_http_status(status: int) -> None:
    html: Headers = [(b"content-type", b"text/html")]
    for headers in (html, GRPC):
        error = failure(b"<html>", [], status=status, headers=headers)
        assert error.code == HTTP[status]
        assert str(status) in error.message
    with pytest.raises(RpcError) as caught:
        trailers_only(html, status)
    assert caught.value.code == HTTP[status]
    assert "text/html" in caught.value.message


@pytest.mark.parametrize("status", [404, 500, 503])
def test_r27_grpc_status_beats_the_http_status(status: int) -> None:
    trailers = [(b"grpc-status", b"8"), (b"grpc-message", b"full")]
    assert failure(b"", trailers, status=status).code == Code.RESOURCE_EXHAUSTED
    with pytest.raises(RpcError) as caught:
        trailers_only([*GRPC, *trailers], status)
    assert caught.value.code == Code.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("wire", "text"),
    [
        (b"plain", "plain"),
        (b"a%20b%2", "a b%2"),
        (b"%", "%"),
        (b"%zz%41", "%zzA"),
        (b"%E4%BD%A0", "\u4f60"),
        (b"%e4%bd%a0", "\u4f60"),
        (b"%FF", "\ufffd"),
        (b"%25%34%31", "%41"),
        (b"\xe4\xbd\xa0", "\u4f60"),
        (b"", ""),
    ],
)
def test_r28_message(wire: bytes, text: str) -> None:
    assert decode_message(wire) == text
    assert failure(b"", [(b"grpc-status", b"2"), (b"grpc-message", wire)]).message == text


# google.rpc.Status{code: 5, message: "no", details: [Any{type.googleapis.com/a.b.CD, "\x08\x01"}, Any{z, ""}]}
STATUS = b"\x08\x05\x12\x02no" + b"\x1a\x20\n\x1atype.googleapis.com/a.b.CD\x12\x02\x08\x01" + b"\x1a\x03\n\x01z"


@pytest.mark.parametrize("wire", [b64encode(STATUS), b64encode(STATUS).rstrip(b"=")])
def test_r29_details(wire: bytes) -> None:
    error = failure(b"", [(b"grpc-status", b"5"), (b"grpc-status-details-bin", wire)])
    assert error.details == [("a.b.CD", b"\x08\x01"), ("z", b"")]


@pytest.mark.parametrize("wire", [b"!!", b64encode(STATUS[:-1]), b64encode(b"\xff" * 20), b64encode(b"\x0b"), b""])
def test_r29_unreadable_details_stay_in_the_trailers(wire: bytes) -> None:
    error = failure(b"", [(b"grpc-status", b"5"), (b"grpc-status-details-bin", wire)])
    assert error.code == Code.NOT_FOUND
    assert list(error.details) == []
    assert any(name == "grpc-status-details-bin" for name, _ in error.trailers)
