"""Header blocks: CONTINUATION, HPACK limits, 1xx, trailers, and malformed responses (RFC 9113 section 8)."""

from __future__ import annotations

import hpack
import pytest

from boxd.transport.http2.headers import MAX_CONTINUATIONS
from boxd.transport.http2.options import EngineOptions
from boxd.transport.http2.stream import Headers
from tests.fixtures import frames as f
from tests.fixtures.pair import REQUEST, RESPONSE, TRAILERS, RawPeer, Recorder


def test_r1_request_headers_go_out_in_order() -> None:
    peer = RawPeer()
    peer.request(b"")
    frame = peer.take()[0]
    assert [(bytes(n), bytes(v)) for n, v in peer.decoder.decode(frame.payload, raw=True)] == REQUEST
    assert frame.flags == f.END_HEADERS


def test_large_request_headers_are_continued() -> None:
    peer = RawPeer()
    recorder = Recorder()
    sent: Headers = [*REQUEST, (b"x-large", bytes(range(33, 127)) * 500)]
    peer.engine.open(sent, recorder)
    first, *rest = peer.take()
    assert first.kind == f.HEADERS
    assert not first.flags & f.END_HEADERS
    assert {one.kind for one in rest} == {f.CONTINUATION}
    assert [one.flags for one in rest] == [0] * (len(rest) - 1) + [f.END_HEADERS]
    assert all(len(one.payload) <= 1 << 14 for one in (first, *rest))
    block = b"".join(one.payload for one in (first, *rest))
    assert [(bytes(n), bytes(v)) for n, v in peer.decoder.decode(block, raw=True)] == sent


def test_response_headers_may_be_continued() -> None:
    peer = RawPeer()
    call = peer.started()
    block = peer.block(RESPONSE)
    peer.feed(f.headers(1, block[:3], end_headers=False), f.continuation(1, b"", end_headers=False))
    assert call.status is None
    peer.feed(f.continuation(1, block[3:]), peer.trailers(1))
    assert call.outcome == (200, RESPONSE[1:], b"", TRAILERS, None)


@pytest.mark.parametrize("piece", [b"", b"\x88"], ids=["empty", "full"])
def test_continuation_flood_is_cut(piece: bytes) -> None:
    peer = RawPeer()
    call = peer.started()
    peer.feed(f.headers(1, b"\x88", end_headers=False))
    for _ in range(MAX_CONTINUATIONS):
        peer.feed(f.continuation(1, piece, end_headers=False))
    assert call.failure is not None
    assert call.failure.code == f.ENHANCE_YOUR_CALM


def test_header_block_larger_than_announced_is_cut() -> None:
    peer = RawPeer(EngineOptions(max_header_list_size=1 << 14))
    call = peer.started()
    piece = bytes(16_000)
    peer.feed(f.headers(1, piece, end_headers=False), f.continuation(1, piece, end_headers=False))
    assert call.failure is not None
    assert call.failure.code == f.ENHANCE_YOUR_CALM


def test_hpack_bomb_is_cut() -> None:
    """A few bytes that stand for a large header list: one long entry, then references to it."""
    peer = RawPeer(EngineOptions(max_header_list_size=1 << 14))
    call = peer.started()
    bomb = hpack.Encoder().encode([(b"x", b"y" * 4_000)], huffman=False) + b"\xbe" * 8_000
    peer.feed(f.headers(1, bomb))
    assert call.failure is not None
    assert call.failure.code == f.ENHANCE_YOUR_CALM


def test_dynamic_table_survives_a_response_nobody_wants() -> None:
    """A cancelled stream's headers change the shared table all the same."""
    peer = RawPeer()
    first, second = peer.started(), peer.started()
    assert first.stream is not None
    first.stream.reset(f.CANCEL)
    peer.feed(peer.head(1, [(b":status", b"200"), (b"x-shared", b"value")]))
    peer.feed(peer.head(3, [(b":status", b"200"), (b"x-shared", b"value")]), peer.trailers(3))
    assert second.headers == [(b"x-shared", b"value")]


@pytest.mark.parametrize("count", [1, 16])
def test_r22_informational_responses_are_skipped(count: int) -> None:
    peer = RawPeer()
    call = peer.started()
    for _ in range(count):
        peer.feed(peer.head(1, [(b":status", b"103"), (b"link", b"</x>")]))
    peer.feed(peer.head(1), peer.trailers(1))
    assert call.outcome == (200, RESPONSE[1:], b"", TRAILERS, None)
    assert call.order == ["headers", "end"]


def test_r22_informational_flood_ends_the_stream_only() -> None:
    peer = RawPeer()
    call, sibling = peer.started(), peer.started()
    for _ in range(17):
        peer.feed(peer.head(1, [(b":status", b"100")]))
    assert call.failure is not None
    peer.feed(peer.head(3), peer.trailers(3))
    assert sibling.trailers == TRAILERS


def test_r23_trailers_only() -> None:
    peer = RawPeer()
    call = peer.started()
    peer.feed(peer.head(1, end=True))
    assert call.outcome == (200, RESPONSE[1:], b"", [], None)


STREAM_FAULTS: dict[str, list[Headers | bytes]] = {
    "no-status": [[(b"content-type", b"text/plain")]],
    "empty-list": [[]],
    "status-abc": [[(b":status", b"abc")]],
    "status-20": [[(b":status", b"20")]],
    "status-2000": [[(b":status", b"2000")]],
    "status-twice": [[(b":status", b"200"), (b":status", b"200")]],
    "status-not-first": [[(b"a", b"b"), (b":status", b"200")]],
    "request-pseudo-header": [[(b":status", b"200"), (b":path", b"/")]],
    "unknown-pseudo-header": [[(b":status", b"200"), (b":foo", b"/")]],
    "upper-case-name": [[(b":status", b"200"), (b"Content-Type", b"x")]],
    "empty-name": [[(b":status", b"200"), (b"", b"x")]],
    "space-in-name": [[(b":status", b"200"), (b"a b", b"x")]],
    "colon-in-name": [[(b":status", b"200"), (b"a:b", b"x")]],
    "obs-name": [[(b":status", b"200"), (b"\xe9", b"x")]],
    "connection": [[(b":status", b"200"), (b"connection", b"close")]],
    "keep-alive": [[(b":status", b"200"), (b"keep-alive", b"1")]],
    "transfer-encoding": [[(b":status", b"200"), (b"transfer-encoding", b"chunked")]],
    "upgrade": [[(b":status", b"200"), (b"upgrade", b"x")]],
    "cr-in-value": [[(b":status", b"200"), (b"a", b"x\ry")]],
    "lf-in-value": [[(b":status", b"200"), (b"a", b"x\ny")]],
    "nul-in-value": [[(b":status", b"200"), (b"a", b"x\0y")]],
    "content-length-text": [[(b":status", b"200"), (b"content-length", b"12a")]],
    "content-length-negative": [[(b":status", b"200"), (b"content-length", b"-1")]],
    "100-with-end": [f.END_STREAM.to_bytes(1, "big"), [(b":status", b"100")]],
    "trailers-without-end": [RESPONSE, TRAILERS],
    "pseudo-header-in-trailers": [RESPONSE, f.END_STREAM.to_bytes(1, "big"), [(b":status", b"200")]],
    "upper-case-trailer": [RESPONSE, f.END_STREAM.to_bytes(1, "big"), [(b"Grpc-Status", b"0")]],
}


@pytest.mark.parametrize("name", STREAM_FAULTS)
def test_malformed_response_ends_its_stream_only(name: str) -> None:
    """PROTOCOL_ERROR for the one stream (section 8.1.1). In the tables above, a byte says: with END_STREAM."""
    peer = RawPeer()
    call, sibling = peer.started(), peer.started()
    end = False
    for step in STREAM_FAULTS[name]:
        if isinstance(step, bytes):
            end = True
        else:
            peer.feed(f.headers(1, peer.block(step), end=end))
    assert call.failure is not None
    assert (call.failure.kind, call.failure.code) == ("protocol", f.PROTOCOL_ERROR)
    assert peer.take() == [f.Frame(f.RST_STREAM, 0, 1, b"\0\0\0\x01")]
    peer.feed(f.data(1, b"late"), peer.head(3), peer.trailers(3))
    assert sibling.outcome == (200, RESPONSE[1:], b"", TRAILERS, None)


def test_data_before_headers() -> None:
    peer = RawPeer()
    call, sibling = peer.started(), peer.started()
    peer.feed(f.data(1, b"early"), peer.head(3), peer.trailers(3))
    assert call.failure is not None
    assert call.failure.kind == "protocol"
    assert sibling.trailers == TRAILERS


@pytest.mark.parametrize(("declared", "ok"), [(4, True), (3, False), (5, False)])
def test_content_length_is_checked(declared: int, ok: bool) -> None:
    peer = RawPeer()
    call, sibling = peer.started(), peer.started()
    peer.feed(peer.head(1, [*RESPONSE, (b"content-length", b"%d" % declared)]), f.data(1, b"body", end=True))
    assert (call.failure is None) is ok
    peer.feed(peer.head(3), peer.trailers(3))
    assert sibling.trailers == TRAILERS


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", b"200"), (b"POST", b"304")])
@pytest.mark.parametrize("last", ["headers", "data", "trailers"])
def test_the_length_of_a_body_that_is_not_sent(method: bytes, status: bytes, last: str) -> None:
    """The answer to HEAD, or a 304, has the length of what is left out, however it ends."""
    peer = RawPeer()
    recorder = Recorder()
    recorder.stream = peer.engine.open([(b":method", method), *REQUEST[1:]], recorder)
    recorder.stream.send(b"", end=True)
    peer.take()
    head = peer.head(1, [(b":status", status), (b"content-length", b"5")], end=last == "headers")
    rest = {"headers": b"", "data": f.data(1, end=True), "trailers": b""}[last]
    peer.feed(head + rest)
    if last == "trailers":
        peer.feed(peer.head(1, [(b"x-checksum", b"abc")], end=True))
    assert (recorder.status, recorder.failure) == (int(status), None)
    assert recorder.trailers == ([(b"x-checksum", b"abc")] if last == "trailers" else [])


def test_frames_after_the_end_are_ignored() -> None:
    peer = RawPeer()
    call, sibling = peer.started(), peer.started()
    peer.feed(peer.head(1), peer.trailers(1))
    peer.feed(peer.head(1), f.data(1, b"late", end=True), peer.trailers(1), f.rst(1, 8), f.window_update(1, 5))
    assert call.trailers == TRAILERS
    peer.feed(peer.head(3), peer.trailers(3))
    assert sibling.trailers == TRAILERS


def test_server_table_size_is_obeyed() -> None:
    """SETTINGS_HEADER_TABLE_SIZE 0: nothing may stay in the table, and the block says so first."""
    peer = RawPeer()
    peer.started()
    peer.decoder.decode(peer.block([]) or b"")
    peer.feed(f.settings({f.HEADER_TABLE_SIZE: 0}))
    peer.decoder.max_allowed_table_size = 0
    peer.request()
    headers = f.of_kind(peer.take(), f.HEADERS)[0]
    assert [(bytes(n), bytes(v)) for n, v in peer.decoder.decode(headers.payload, raw=True)] == REQUEST
