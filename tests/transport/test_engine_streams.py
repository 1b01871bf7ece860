"""The life of a stream: concurrency, RST_STREAM, GOAWAY, cancelling, answers that come early (RFC 9113 section 5)."""

from __future__ import annotations

import struct

import pytest

from boxd.transport.http2.stream import Stream
from tests.fixtures import frames as f
from tests.fixtures.pair import TRAILERS, RawPeer, Recorder


def stream_of(call: Recorder) -> Stream:
    assert call.stream is not None
    return call.stream


def test_r60_ids_are_odd_and_rise_in_the_order_of_the_wire() -> None:
    peer = RawPeer()
    first, second, third = peer.request(), peer.request(), peer.request()
    stream_of(second).reset(f.CANCEL)
    assert [one.stream for one in peer.take() if one.kind == f.HEADERS] == [1, 3]
    assert [stream_of(one).id for one in (first, second, third)] == [1, 0, 3]


def test_r60_a_connection_whose_ids_run_out_takes_no_more() -> None:
    peer = RawPeer(settings={f.MAX_CONCURRENT_STREAMS: 2_000_000})
    peer.engine.outbound.next_id = (1 << 31) - 3_001
    count = 0
    while peer.engine.has_slot:
        peer.request()
        count += 1
    ids = [one.stream for one in peer.take() if one.kind == f.HEADERS]
    assert len(ids) == count >= 1_000
    assert max(ids) < 1 << 31
    assert not peer.engine.usable


def test_r34_cancel_before_headers_leaves_nothing_on_the_wire() -> None:
    peer = RawPeer()
    call = peer.request(b"body")
    stream_of(call).reset(f.CANCEL)
    assert peer.take() == []
    assert peer.engine.open_streams == 0
    assert peer.log.capacity > 0


def test_r34_cancel_sends_one_rst_stream() -> None:
    peer = RawPeer()
    call = peer.started(end=False)
    stream_of(call).send(bytes(1_000))
    for _ in range(3):
        stream_of(call).reset(f.CANCEL)
        stream_of(call).send(b"late")
    assert peer.take() == [f.Frame(f.RST_STREAM, 0, 1, struct.pack(">I", f.CANCEL))]
    peer.feed(peer.head(1), f.data(1, b"late"), peer.trailers(1))
    assert call.order == []
    assert peer.take() == []


def test_r34_cancel_inside_a_data_frame() -> None:
    """The rest of the frame belongs to nobody, and the next frame is found all the same."""
    peer = RawPeer()
    call, sibling = peer.started(), peer.started()
    frame = f.data(1, bytes(1_000))
    peer.feed(peer.head(1), frame[:500])
    stream_of(call).reset(f.CANCEL)
    peer.feed(frame[500:], peer.head(3), f.data(3, b"body"), peer.trailers(3))
    assert (sibling.body, sibling.trailers) == (b"body", TRAILERS)
    assert len(call.body) == 491


def test_r36_early_answer_stops_the_upload() -> None:
    peer = RawPeer(settings={f.INITIAL_WINDOW_SIZE: 100})
    call = peer.started(end=False)
    stream_of(call).send(bytes(1_000))
    assert len(peer.take()) == 1
    peer.feed(peer.head(1), peer.trailers(1))
    assert call.trailers == TRAILERS
    assert peer.take() == [f.Frame(f.RST_STREAM, 0, 1, struct.pack(">I", f.NO_ERROR))]
    peer.feed(f.window_update(1, 10_000), f.rst(1, f.NO_ERROR))
    assert peer.take() == []
    assert call.failure is None


def test_r36_no_rst_when_the_request_was_complete() -> None:
    peer = RawPeer()
    peer.started()
    peer.feed(peer.head(1), peer.trailers(1))
    assert peer.take() == []


def test_r37_response_before_the_request_ends() -> None:
    peer = RawPeer()
    call = peer.started(end=False)
    peer.feed(peer.head(1), f.data(1, b"early"))
    assert call.body == b"early"
    stream_of(call).send(b"more", end=True)
    assert peer.take() == [f.Frame(f.DATA, f.END_STREAM, 1, b"more")]
    peer.feed(peer.trailers(1))
    assert call.trailers == TRAILERS


@pytest.mark.parametrize("code", [*range(14), 255, 0xFFFFFFFF])
def test_r31_reset_by_the_server(code: int) -> None:
    peer = RawPeer()
    call, sibling = peer.started(), peer.started()
    peer.feed(f.rst(1, code), peer.head(3), peer.trailers(3))
    assert call.failure is not None
    assert (call.failure.kind, call.failure.code) == ("reset", code)
    assert call.failure.unprocessed is (code == f.REFUSED_STREAM)
    assert sibling.trailers == TRAILERS
    assert peer.take() == []


def test_r55_refused_after_a_response_began_is_not_unprocessed() -> None:
    peer = RawPeer()
    call = peer.started()
    peer.feed(peer.head(1), f.rst(1, f.REFUSED_STREAM))
    assert call.failure is not None
    assert not call.failure.unprocessed


# -- MAX_CONCURRENT_STREAMS


def test_r48_one_stream_before_the_servers_settings() -> None:
    """More would be reset by a server with a low limit; the others wait for a round trip."""
    peer = RawPeer(greet=False)
    peer.request()
    assert not peer.engine.has_slot
    with pytest.raises(RuntimeError, match="has_slot"):
        peer.request()
    before = peer.log.capacity
    peer.feed(f.settings({f.MAX_CONCURRENT_STREAMS: 2}))
    assert peer.log.capacity > before
    peer.request()
    assert not peer.engine.has_slot


def test_r48_no_limit_where_the_server_sets_none() -> None:
    peer = RawPeer()
    for _ in range(1000):
        assert peer.engine.has_slot
        peer.request()
    assert peer.engine.has_slot


def test_r48_limit_may_fall_below_what_is_open() -> None:
    peer = RawPeer()
    calls = [peer.started() for _ in range(5)]
    peer.feed(f.settings({f.MAX_CONCURRENT_STREAMS: 3}))
    for number in range(3):
        assert not peer.engine.has_slot
        peer.feed(peer.head(2 * number + 1, end=True))
    assert peer.engine.has_slot
    assert [call.failure for call in calls] == [None] * 5
    peer.feed(f.settings({f.MAX_CONCURRENT_STREAMS: 0}))
    assert not peer.engine.has_slot
    assert peer.engine.usable


def test_r48_a_slot_is_announced() -> None:
    peer = RawPeer(settings={f.MAX_CONCURRENT_STREAMS: 1})
    call = peer.started()
    before = peer.log.capacity
    stream_of(call).reset(f.CANCEL)
    assert peer.log.capacity > before
    assert peer.engine.has_slot


# -- GOAWAY


def test_r51_graceful_goaway_in_two_phases() -> None:
    """Max age: first the warning, then the real id; what was accepted runs on."""
    peer = RawPeer()
    first, second = peer.started(end=False), peer.started()
    peer.feed(f.goaway((1 << 31) - 1, f.NO_ERROR, b"max_age"))
    assert peer.log.goaways == 1
    assert not peer.engine.usable
    assert peer.engine.open_streams == 2
    peer.feed(f.goaway(3, f.NO_ERROR))
    assert (first.failure, second.failure) == (None, None)
    stream_of(first).send(b"still here", end=True)
    assert peer.take() == [f.Frame(f.DATA, f.END_STREAM, 1, b"still here")]
    peer.feed(peer.head(1), f.data(1, b"and the answer"), peer.trailers(1), peer.head(3, end=True))
    assert (first.body, first.trailers, second.trailers) == (b"and the answer", TRAILERS, [])
    assert peer.engine.open_streams == 0


def test_r51_streams_above_the_last_id_were_not_processed() -> None:
    peer = RawPeer()
    first, second, unwritten = peer.started(), peer.started(), peer.request()
    peer.feed(f.goaway(1, f.ENHANCE_YOUR_CALM, b"too_many_pings"))
    assert first.failure is None
    for call in (second, unwritten):
        assert call.failure is not None
        assert (call.failure.kind, call.failure.unprocessed) == ("goaway", True)
        assert "too_many_pings" in call.failure.message
    assert peer.take() == []
    peer.feed(f.data(3, b"late"), f.rst(3, 8), peer.head(1), peer.trailers(1))
    assert first.trailers == TRAILERS


def test_r55_goaway_that_takes_back_an_answered_stream() -> None:
    peer = RawPeer()
    call = peer.started()
    peer.feed(peer.head(1), f.goaway(0))
    assert call.failure is not None
    assert not call.failure.unprocessed


def test_r51_last_id_may_only_fall() -> None:
    peer = RawPeer()
    call = peer.started()
    peer.feed(f.goaway(1), f.goaway(3))
    assert call.failure is not None
    assert call.failure.kind == "protocol"


def test_r52_goaway_and_the_end_in_one_read() -> None:
    peer = RawPeer()
    first, second = peer.started(), peer.started()
    peer.feed(f.goaway(1))
    peer.engine.lost("the server closed the connection")
    assert first.failure is not None
    assert second.failure is not None
    assert (first.failure.kind, first.failure.unprocessed) == ("lost", False)
    assert (second.failure.kind, second.failure.unprocessed) == ("goaway", True)
