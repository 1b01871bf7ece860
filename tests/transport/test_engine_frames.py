"""What the engine does with each kind of frame, and with frames no server may send (RFC 9113 section 6)."""

from __future__ import annotations

import struct

import pytest

from boxd.transport.http2.options import EngineOptions
from tests.fixtures import frames as f
from tests.fixtures.pair import RESPONSE, TRAILERS, RawPeer

OPTIONS = EngineOptions(max_frame_size=1 << 14, max_header_list_size=1 << 14)


def goaway_code(peer: RawPeer) -> int:
    """The code of the GOAWAY that ends the connection from our side."""
    last = peer.take()[-1]
    assert last.kind == f.GOAWAY
    return int(struct.unpack(">I", last.payload[4:8])[0])


def test_r45_preface_settings_and_first_request_are_one_write() -> None:
    peer = RawPeer(greet=False)
    peer.request(b"hello")
    written = peer.engine.take()
    assert written.startswith(f.PREFACE)
    kinds = [one.kind for one in f.split(written)[0]]
    assert kinds == [f.SETTINGS, f.WINDOW_UPDATE, f.HEADERS, f.DATA]
    assert peer.engine.take() == b""


def test_r46_announced_settings() -> None:
    peer = RawPeer(EngineOptions(stream_window=70_000, max_frame_size=20_000, max_header_list_size=5_000), greet=False)
    first = peer.take()[0]
    values = dict(struct.iter_unpack(">HI", first.payload))
    assert values == {
        f.ENABLE_PUSH: 0,
        f.INITIAL_WINDOW_SIZE: 70_000,
        f.MAX_FRAME_SIZE: 20_000,
        f.MAX_HEADER_LIST_SIZE: 5_000,
    }


def test_r45_connection_window_is_raised_to_the_option() -> None:
    peer = RawPeer(EngineOptions(connection_window=1 << 20), greet=False)
    update = f.of_kind(peer.take(), f.WINDOW_UPDATE)
    assert [(one.stream, one.number) for one in update] == [(0, (1 << 20) - 65_535)]


@pytest.mark.parametrize(
    "first",
    [
        f.ping(),
        f.goaway(0),
        f.settings(ack=True),
        f.window_update(0, 1),
        f.frame(0xBB),
    ],
    ids=["ping", "goaway", "settings-ack", "window-update", "unknown"],
)
def test_r45_first_frame_must_be_settings(first: bytes) -> None:
    peer = RawPeer(greet=False)
    call = peer.request()
    peer.take()
    peer.feed(first)
    assert call.failure is not None
    assert call.failure.kind == "protocol"
    assert goaway_code(peer) in (f.PROTOCOL_ERROR, f.FRAME_SIZE_ERROR)


@pytest.mark.parametrize(
    "first",
    [
        b"<!DOCTYPE HTML>\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        bytes.fromhex("15030100020250160301"),
        bytes(range(200, 250)),
    ],
    ids=["http0.9", "ssh", "tls-alert", "noise"],
)
def test_r62_what_is_no_frame_is_no_http2(first: bytes) -> None:
    peer = RawPeer(greet=False)
    call = peer.request()
    peer.feed(first)
    assert call.failure is not None
    assert call.failure.kind == "not-http2"
    assert repr(first[:32]) in call.failure.message


@pytest.mark.parametrize("cut", range(1, 27))
@pytest.mark.parametrize("ends", [False, True], ids=["continues", "ends"])
def test_r62_http1_answer_is_told_with_its_status_line(cut: int, ends: bool) -> None:
    """As soon as that is complete, however it is cut, and without more of the answer."""
    peer = RawPeer(greet=False)
    call = peer.request()
    answer = b"HTTP/1.1 400 Bad Request\r\n"
    peer.feed(answer[:cut])
    assert (call.failure is not None) == (cut == len(answer))
    if ends:
        peer.engine.lost("the server closed the connection")
    else:
        peer.feed(answer[cut:])
    assert call.failure is not None
    assert call.failure.kind == ("not-http2" if cut >= 5 or not ends else "lost")
    if not ends:
        assert "400 Bad Request" in call.failure.message


def test_r62_status_line_without_end() -> None:
    peer = RawPeer(greet=False)
    call = peer.request()
    peer.feed(b"HTTP/")
    for _ in range(300):
        peer.feed(b"1")
    assert call.failure is not None
    assert call.failure.kind == "not-http2"


def test_r47_every_settings_is_acknowledged() -> None:
    peer = RawPeer(greet=False)
    peer.take()
    peer.feed(f.settings(), f.settings({f.MAX_CONCURRENT_STREAMS: 5}), f.settings(ack=True))
    assert peer.take() == [f.Frame(f.SETTINGS, f.ACK, 0, b"")] * 2
    assert peer.engine.settings_acknowledged
    assert peer.engine.max_concurrent_streams == 5


def test_r50_ping_is_answered_before_queued_data() -> None:
    peer = RawPeer()
    call = peer.started(end=False)
    assert call.stream is not None
    call.stream.send(bytes(50_000))
    peer.feed(f.ping(b"abcdefgh"))
    frames = peer.take()
    assert frames[0] == f.Frame(f.PING, f.ACK, 0, b"abcdefgh")
    assert {one.kind for one in frames[1:]} == {f.DATA}


def test_r50_ping_answer_is_not_answered() -> None:
    peer = RawPeer()
    peer.engine.ping(b"01234567")
    assert peer.take() == [f.Frame(f.PING, 0, 0, b"01234567")]
    peer.feed(f.ping(b"01234567", ack=True))
    assert peer.log.pongs == [b"01234567"]
    assert peer.take() == []


def test_r50_unknown_frames_settings_and_flags_are_ignored() -> None:
    peer = RawPeer()
    call = peer.started()
    peer.feed(f.settings({0xFEED: 7}), f.frame(0xBB, 0xFF, 0, b"x" * 50), f.frame(0xEE, 0xFF, 1, b"y"))
    peer.feed(f.frame(f.PRIORITY, 0, 1, bytes(5)), f.ping()[:4] + b"\xf0" + f.ping()[5:])
    peer.feed(peer.head(1), f.data(1, b"body"), peer.trailers(1))
    assert call.outcome == (200, RESPONSE[1:], b"body", TRAILERS, None)


CONNECTION_FAULTS = {
    "ping-on-stream": (f.frame(f.PING, 0, 1, bytes(8)), f.PROTOCOL_ERROR),
    "ping-7-bytes": (f.frame(f.PING, 0, 0, bytes(7)), f.FRAME_SIZE_ERROR),
    "settings-on-stream": (f.frame(f.SETTINGS, 0, 1), f.PROTOCOL_ERROR),
    "settings-5-bytes": (f.frame(f.SETTINGS, 0, 0, bytes(5)), f.FRAME_SIZE_ERROR),
    "settings-ack-with-payload": (f.frame(f.SETTINGS, f.ACK, 0, bytes(6)), f.FRAME_SIZE_ERROR),
    "settings-enable-push": (f.settings({f.ENABLE_PUSH: 1}), f.PROTOCOL_ERROR),
    "settings-window-2^31": (f.settings({f.INITIAL_WINDOW_SIZE: 1 << 31}), f.FLOW_CONTROL_ERROR),
    "settings-frame-2^14-1": (f.settings({f.MAX_FRAME_SIZE: (1 << 14) - 1}), f.PROTOCOL_ERROR),
    "settings-frame-2^24": (f.settings({f.MAX_FRAME_SIZE: 1 << 24}), f.PROTOCOL_ERROR),
    "goaway-on-stream": (f.frame(f.GOAWAY, 0, 1, bytes(8)), f.PROTOCOL_ERROR),
    "goaway-7-bytes": (f.frame(f.GOAWAY, 0, 0, bytes(7)), f.FRAME_SIZE_ERROR),
    "rst-3-bytes": (f.frame(f.RST_STREAM, 0, 1, bytes(3)), f.FRAME_SIZE_ERROR),
    "rst-on-0": (f.rst(0, 0), f.PROTOCOL_ERROR),
    "rst-idle": (f.rst(99, 0), f.PROTOCOL_ERROR),
    "rst-even": (f.rst(2, 0), f.PROTOCOL_ERROR),
    "window-update-5-bytes": (f.frame(f.WINDOW_UPDATE, 0, 1, bytes(5)), f.FRAME_SIZE_ERROR),
    "window-update-idle": (f.window_update(99, 1), f.PROTOCOL_ERROR),
    "window-update-0-for-connection": (f.window_update(0, 0), f.PROTOCOL_ERROR),
    "window-update-overflow": (f.window_update(0, (1 << 31) - 1), f.FLOW_CONTROL_ERROR),
    "priority-4-bytes": (f.frame(f.PRIORITY, 0, 1, bytes(4)), f.FRAME_SIZE_ERROR),
    "push-promise": (f.frame(f.PUSH_PROMISE, f.END_HEADERS, 1, struct.pack(">I", 2)), f.PROTOCOL_ERROR),
    "data-on-0": (f.data(0, b"x"), f.PROTOCOL_ERROR),
    "data-idle": (f.data(99, b"x"), f.PROTOCOL_ERROR),
    "data-even": (f.data(2, b"x"), f.PROTOCOL_ERROR),
    "data-padding-too-long": (f.frame(f.DATA, f.PADDED, 1, b"\x05abcd"), f.PROTOCOL_ERROR),
    "data-padded-empty": (f.frame(f.DATA, f.PADDED, 1, b""), f.PROTOCOL_ERROR),
    "headers-on-0": (f.headers(0, b"\x88"), f.PROTOCOL_ERROR),
    "headers-idle": (f.headers(99, b"\x88"), f.PROTOCOL_ERROR),
    "headers-padding-too-long": (f.frame(f.HEADERS, f.PADDED | f.END_HEADERS, 1, b"\x09\x88"), f.PROTOCOL_ERROR),
    "headers-short-priority": (f.frame(f.HEADERS, f.PRIORITY_FLAG | f.END_HEADERS, 1, b"\0\0"), f.FRAME_SIZE_ERROR),
    "continuation-alone": (f.continuation(1, b"\x88"), f.PROTOCOL_ERROR),
    "frame-inside-block": (f.headers(1, b"\x88", end_headers=False) + f.ping(), f.PROTOCOL_ERROR),
    "data-inside-block": (f.headers(1, b"\x88", end_headers=False) + f.data(1, b"x"), f.PROTOCOL_ERROR),
    "unknown-inside-block": (f.headers(1, b"\x88", end_headers=False) + f.frame(0xBB), f.PROTOCOL_ERROR),
    "continuation-of-another": (f.headers(1, b"\x88", end_headers=False) + f.continuation(3, b""), f.PROTOCOL_ERROR),
    "hpack-index-0": (f.headers(1, b"\x80"), f.COMPRESSION_ERROR),
    "hpack-index-unknown": (f.headers(1, b"\xfe"), f.COMPRESSION_ERROR),
    "hpack-endless-integer": (f.headers(1, b"\xff" + b"\x80" * 40), f.COMPRESSION_ERROR),
    "hpack-cut-string": (f.headers(1, b"\x00\x05ab"), f.COMPRESSION_ERROR),
    "hpack-bad-huffman": (f.headers(1, b"\x00\x84\xff\xff\xff\xff\x00"), f.COMPRESSION_ERROR),
    "hpack-table-too-large": (f.headers(1, b"\x3f\xe1\xff\x03\x88"), f.COMPRESSION_ERROR),
}


@pytest.mark.parametrize("name", CONNECTION_FAULTS)
def test_connection_fault(name: str) -> None:
    """These end the connection: every call fails at once, the peer is told why, and nothing else is written."""
    script, code = CONNECTION_FAULTS[name]
    peer = RawPeer(OPTIONS)
    calls = [peer.started(), peer.started(end=False), peer.request()]  # Complete, half written, not written.
    peer.feed(script)
    for call in calls:
        assert call.failure is not None
        assert call.failure.kind == "protocol"
    assert [call.failure.unprocessed for call in calls if call.failure] == [False, False, True]
    assert not peer.engine.usable
    assert peer.engine.open_streams == 0
    assert goaway_code(peer) == code
    assert peer.take() == []


def test_connection_fault_leaves_streams_harmless() -> None:
    """Their users may still call every method."""
    peer = RawPeer()
    calls = [peer.started(end=False), peer.request(None)]
    peer.feed(f.window_update(0, 0))
    peer.take()
    for call in calls:
        assert call.stream is not None
        call.stream.send(b"more")
        call.stream.consumed(10)
        call.stream.reset(f.CANCEL)
    assert peer.take() == []


def test_r54_close_fails_streams_that_were_not_written() -> None:
    peer = RawPeer()
    calls = [peer.started(), peer.request()]
    peer.engine.close()
    assert [call.failure is not None for call in calls] == [True, True]
    assert [call.failure.unprocessed for call in calls if call.failure] == [False, True]
    assert [one.kind for one in peer.take()] == [f.GOAWAY]
    for call in calls:
        assert call.stream is not None
        call.stream.reset(f.CANCEL)
    peer.engine.close()
    assert peer.take() == []


def test_r54_lost_connection_tells_what_was_written() -> None:
    peer = RawPeer()
    written, unwritten = peer.started(), peer.request()
    error = ConnectionResetError("gone")
    peer.engine.lost("the connection broke", error)
    assert written.failure is not None
    assert unwritten.failure is not None
    assert (written.failure.kind, written.failure.unprocessed, written.failure.cause) == ("lost", False, error)
    assert (unwritten.failure.kind, unwritten.failure.unprocessed) == ("lost", True)


@pytest.mark.parametrize("length", [(1 << 14) + 1, (1 << 24) - 1])
@pytest.mark.parametrize("kind", [f.DATA, f.HEADERS, f.SETTINGS, f.PING, 0xBB])
def test_oversized_frame_is_refused_by_its_header(kind: int, length: int) -> None:
    peer = RawPeer(OPTIONS)
    call = peer.started()
    peer.feed(f.frame(kind, 0, 1 if kind < 2 else 0, length=length))
    assert call.failure is not None
    assert goaway_code(peer) == f.FRAME_SIZE_ERROR


def test_frame_of_the_largest_size_passes() -> None:
    peer = RawPeer(OPTIONS)
    call = peer.started()
    peer.feed(peer.head(1), f.data(1, bytes(1 << 14)), peer.trailers(1))
    assert len(call.body) == 1 << 14
    assert call.trailers == TRAILERS


@pytest.mark.parametrize("padding", [0, 1, 255])
def test_padding_is_dropped(padding: int) -> None:
    peer = RawPeer()
    call = peer.started()
    block = peer.block(RESPONSE)
    peer.feed(f.frame(f.HEADERS, f.PADDED | f.END_HEADERS, 1, bytes((padding,)) + block + bytes(padding)))
    peer.feed(f.data(1, b"body", padding=padding), f.data(1, b"", padding=padding), peer.trailers(1))
    assert call.outcome == (200, RESPONSE[1:], b"body", TRAILERS, None)


def test_headers_with_priority() -> None:
    peer = RawPeer()
    call = peer.started()
    block = b"\0\0\0\0\x10" + peer.block(RESPONSE)
    peer.feed(f.frame(f.HEADERS, f.PRIORITY_FLAG | f.END_HEADERS, 1, block), peer.trailers(1))
    assert call.outcome == (200, RESPONSE[1:], b"", TRAILERS, None)


def test_padded_data_that_ends_the_stream() -> None:
    peer = RawPeer()
    call = peer.started()
    peer.feed(peer.head(1), f.data(1, b"last", padding=9, end=True))
    assert (call.body, call.trailers) == (b"last", [])
