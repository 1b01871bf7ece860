"""What is shown of frames: the right ones, however the bytes are cut, and no secrets."""

from __future__ import annotations

from collections import deque

import hpack
import pytest

from boxd.transport.http2.codes import PREFACE
from boxd.transport.http2.headers import HeaderEncoder
from boxd.transport.http2.secret import HIDDEN, is_secret, shown
from boxd.transport.http2.stream import Headers
from boxd.transport.http2.tap import Frame, Tap
from tests.fixtures import frames as f
from tests.fixtures.pair import REQUEST, RawPeer, Recorder

BLOCK = hpack.Encoder().encode([(b":status", b"200"), (b"x-note", b"n"), (b"set-cookie", b"s3cret")])
PADDED = b"\x02" + bytes(5) + BLOCK + bytes(2)
BYTES = [
    f.settings({3: 7, 99: 1}),
    f.settings(ack=True),
    f.headers(1, BLOCK[:4], end_headers=False),
    f.continuation(1, BLOCK[4:]),
    f.data(1, b"body" * 1_000),
    f.data(1, b"x", padding=3),
    f.data(1, end=True),
    f.frame(1, 0x2D, 3, PADDED),
    f.window_update(3, 5),
    f.rst(3, 8),
    f.ping(),
    f.frame(0xBE, 0x41, 0, b"unknown"),
    f.goaway(3, 11, b"too_many_pings"),
]
HEADERS = {"headers": [(":status", "200"), ("x-note", "n"), ("set-cookie", HIDDEN)]}
SHOWN = [
    Frame("SETTINGS", 0, (), 12, {"settings": {"MAX_CONCURRENT_STREAMS": 7, "0x63": 1}}),
    Frame("SETTINGS", 0, ("ACK",), 0, {}),
    Frame("HEADERS", 1, (), 4, {}),
    Frame("CONTINUATION", 1, ("END_HEADERS",), len(BLOCK) - 4, HEADERS),
    Frame("DATA", 1, (), 4_000, {}),
    Frame("DATA", 1, ("PADDED",), 5, {}),
    Frame("DATA", 1, ("END_STREAM",), 0, {}),
    Frame("HEADERS", 3, ("END_STREAM", "END_HEADERS", "PADDED", "PRIORITY"), len(PADDED), HEADERS),
    Frame("WINDOW_UPDATE", 3, (), 4, {"increment": 5}),
    Frame("RST_STREAM", 3, (), 4, {"code": "CANCEL"}),
    Frame("PING", 0, (), 8, {}),
    Frame("0xbe", 0, ("0x1", "0x40"), 7, {}),
    Frame("GOAWAY", 0, (), 22, {"last_stream": 3, "code": "ENHANCE_YOUR_CALM", "debug": "too_many_pings"}),
]


@pytest.mark.parametrize("size", [1, 2, 5, 9, 13, 1_000, 1 << 20])
def test_frames_however_they_are_cut(size: int) -> None:
    data = b"".join(BYTES)
    tap = Tap()
    assert [one for at in range(0, len(data), size) for one in tap.feed(data[at : at + size])] == SHOWN


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_the_clients_side_of_a_connection(size: int) -> None:
    """Its header lists come from the engine: they are not decoded."""
    sent: deque[Headers] = deque()
    engine = RawPeer(greet=False).engine
    engine.outbound.show_headers(sent.append)
    secret = [*REQUEST, (b"authorization", b"Bearer s3cret"), hpack.NeverIndexedHeaderTuple(b"x-plain", b"s3cret")]
    for headers in (REQUEST, secret, secret):
        engine.receive(f.settings({}))
        engine.open(headers, Recorder()).send(b"hello", end=True)
    data = engine.take()
    assert data.startswith(PREFACE)
    tap = Tap(sent)
    frames = [one for at in range(0, len(data), size) for one in tap.feed(data[at : at + size])]
    lists = [one.details["headers"] for one in frames if one.type == "HEADERS"]
    plain = [(name.decode(), value.decode()) for name, value in REQUEST]
    hidden = [*plain, ("authorization", HIDDEN), ("x-plain", HIDDEN)]
    assert lists == [plain, hidden, hidden]
    assert [one.length for one in frames if one.type == "DATA" and one.length] == [5, 5, 5]
    assert not sent


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n<html>",
        f.headers(1, b"\xff\xff\xff\xff\xff\xff\xff"),
        f.headers(1, b"\xbe"),
        f.frame(1, 0x28, 1, b"\xff"),
        f.frame(1, 0x0C, 1),
        f.frame(4, 0, 0, b"12345"),
        f.frame(7, 0, 0, b"1"),
        f.frame(3, 0, 1, b""),
        f.frame(6, 0, 0, b"", length=(1 << 24) - 1),
    ],
)
def test_what_is_malformed_is_passed_over(data: bytes) -> None:
    tap = Tap()
    for at in range(0, len(data), 3):
        for frame in tap.feed(data[at : at + 3]):
            assert not frame.details.get("headers")


def test_after_a_block_that_cannot_be_decoded_no_header_is_shown() -> None:
    tap = Tap()
    assert tap.feed(f.headers(1, b"\xbe"))[0].details == {}
    assert tap.feed(f.headers(3, BLOCK))[0].details == {}


@pytest.mark.parametrize(
    "name",
    [
        *("authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "api-key", "apikey"),
        *("x-auth-token", "x-amz-security-token", "x-secret", "password", "x-session-id", "signature", "x-jwt"),
    ],
)
def test_secret_names(name: str) -> None:
    assert is_secret(name.encode())
    assert shown((name.encode(), b"value")) == (name, HIDDEN)


@pytest.mark.parametrize(
    "name", [":authority", ":path", "content-type", "grpc-status", "user-agent", "www-authenticate", "x-request-id"]
)
def test_plain_names(name: str) -> None:
    assert shown((name.encode(), b"value")) == (name, "value")


def test_what_else_is_not_shown() -> None:
    assert shown((b":path", b"/s/M?connect=v1&message=abc")) == (":path", f"/s/M?{HIDDEN}")
    _, text = shown((b"x-long", b"v" * 5_000))
    assert text.startswith("vvv")
    assert len(text) < 1_100
    assert shown((b"x-latin", b"\xff")) == ("x-latin", "\xff")


def test_secret_fields_are_never_indexed_and_unknown_to_hpack(caplog: pytest.LogCaptureFixture) -> None:
    """hpack logs what it encodes. What is never indexed decodes as such."""
    caplog.set_level("DEBUG")
    fields = [(b"x-api-key", b"s3cret-1"), (b"cookie", b"s3cret-2"), (b"x" * 200 + b"-token", b"s3cret-" * 100)]
    marked = hpack.NeverIndexedHeaderTuple(b"x-marked", b"s3cret-3")
    encoder = HeaderEncoder()
    for _ in range(3):
        block = encoder.encode([(b"x-note", b"n"), *fields, marked])
        assert "s3cret" not in caplog.text
        decoded = hpack.Decoder(10_000).decode(block, raw=True)
        assert sorted(decoded) == sorted([(b"x-note", b"n"), *fields, (b"x-marked", b"s3cret-3")])
        hidden = {name for name, value in decoded if value.startswith(b"s3cret")}
        assert {one[0] for one in decoded if isinstance(one, hpack.NeverIndexedHeaderTuple)} == hidden
        caplog.clear()
        encoder = HeaderEncoder()
