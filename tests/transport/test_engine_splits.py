"""The engine does not care how bytes are cut, and survives any bytes at all."""

from __future__ import annotations

import itertools

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from boxd.transport.http2.options import EngineOptions
from boxd.transport.http2.outbound import MAX_ANSWERS
from tests.fixtures import frames as f
from tests.fixtures.pair import RESPONSE, RawPeer, Recorder

OPTIONS = EngineOptions(stream_window=100_000, connection_window=200_000, max_frame_size=1 << 14)


def traffic(peer: RawPeer) -> bytes:
    """Some of everything a server may send to three streams."""
    block = peer.block([*RESPONSE, (b"x-one", b"1" * 50)])
    return b"".join(
        (
            f.settings({f.MAX_CONCURRENT_STREAMS: 7, f.INITIAL_WINDOW_SIZE: 50_000}),
            f.headers(1, block[:5], end_headers=False),
            f.continuation(1, block[5:]),
            f.settings(ack=True),
            f.data(1, b"first"),
            f.ping(),
            peer.head(3, [(b":status", b"103")]),
            peer.head(3, [*RESPONSE, (b"content-length", b"8")]),
            f.data(3, b"four", padding=5),
            f.data(1, b""),
            f.frame(0xBB, 0xFF, 5, b"unknown"),
            f.window_update(0, 70_000),
            f.window_update(5, 9),
            f.data(3, b"more", end=True),
            f.data(1, b"second" * 20),
            f.goaway((1 << 31) - 1),
            f.rst(5, f.REFUSED_STREAM),
            f.goaway(3),
            peer.trailers(1),
        )
    )


def three_requests(peer: RawPeer) -> list[Recorder]:
    """Three streams that are open before the server has said a word."""
    peer.engine.max_concurrent_streams = 3
    return [peer.request(b"x" * 60_000 if number == 2 else b"x") for number in range(3)]


def replay(pieces: list[bytes], peer: RawPeer) -> list[Recorder]:
    calls = three_requests(peer)
    written = peer.take()
    for piece in pieces:
        peer.feed(piece)
        written += peer.take()
    assert [one.flags for one in f.of_kind(written, f.SETTINGS)] == [0, f.ACK]
    assert [one.payload for one in f.of_kind(written, f.PING)] == [b"12345678"]
    return calls


def expected() -> list[tuple[object, ...]]:
    peer = RawPeer(OPTIONS, greet=False)
    calls = replay([traffic(peer)], peer)
    outcomes = [call.outcome for call in calls]
    assert outcomes[0][2:] == (b"first" + b"second" * 20, [(b"grpc-status", b"0")], None)
    assert outcomes[1][2:] == (b"fourmore", [], None)
    assert calls[2].failure is not None
    assert calls[2].failure.unprocessed
    return outcomes


def test_valid_traffic_cut_in_two_everywhere() -> None:
    want = expected()
    for cut in range(1, len(traffic(RawPeer(greet=False)))):
        peer = RawPeer(OPTIONS, greet=False)
        data = traffic(peer)
        assert [call.outcome for call in replay([data[:cut], data[cut:]], peer)] == want, f"cut at {cut}"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 9, 10, 64])
def test_valid_traffic_in_small_pieces(size: int) -> None:
    peer = RawPeer(OPTIONS, greet=False)
    data = traffic(peer)
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    assert [call.outcome for call in replay(pieces, peer)] == expected()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 600), max_size=12))
def test_valid_traffic_in_any_pieces(cuts: list[int]) -> None:
    peer = RawPeer(OPTIONS, greet=False)
    data = traffic(peer)
    places = [0, *sorted({cut for cut in cuts if cut < len(data)}), len(data)]
    pieces = [data[start:stop] for start, stop in itertools.pairwise(places)]
    assert [call.outcome for call in replay(pieces, peer)] == expected()


def check_bounded(peer: RawPeer) -> None:
    """What the engine holds back of what came is never more than a frame or a header block."""
    receiver = peer.engine._receiver
    assert len(receiver._buffer) < OPTIONS.max_frame_size + 9
    assert sum(map(len, receiver._blocks._fragments)) <= OPTIONS.max_header_list_size
    assert peer.engine.outbound._answers <= MAX_ANSWERS


def check_invariants(peer: RawPeer, calls: list[Recorder]) -> None:
    engine = peer.engine
    engine.take()
    if engine.failure is not None:
        assert all(call.over for call in calls)
        assert engine.open_streams == 0
        assert not engine.has_slot
        assert not engine.outbound.pending
    else:
        assert engine.open_streams == sum(not call.over for call in calls)
        assert engine._receive_window + engine._window_used == OPTIONS.connection_window
    engine.lost("the end")
    assert all(call.over for call in calls)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_arbitrary_bytes_neither_raise_nor_hang(noise: bytes, greet: bool) -> None:
    peer = RawPeer(OPTIONS, greet=greet)
    calls = [peer.started(), peer.started(end=False), peer.request()] if greet else [peer.request()]
    for start in range(0, len(noise), 50):
        peer.feed(noise[start : start + 50])
        check_bounded(peer)
    check_invariants(peer, calls)


NUMBERS = st.one_of(st.sampled_from([0, 1, 2, 3, 5, 99]), st.integers(0, (1 << 31) - 1))
FRAMES = st.builds(
    f.frame,
    st.one_of(st.integers(0, 10), st.just(0), st.just(1)),
    st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 4, 5])),
    st.sampled_from([0, 1, 1, 3, 3, 5, 7, 2, 99]),
    st.one_of(
        st.binary(max_size=30),
        NUMBERS.map(lambda number: number.to_bytes(4, "big")),
        st.just(b"\x88"),
        st.just(b"\x88\x5f\x10application/grpc"),
        st.just(bytes(8)),
    ),
)


@settings(max_examples=500, deadline=None)
@given(st.lists(FRAMES, max_size=30), st.integers(1, 40))
def test_arbitrary_frames_neither_raise_nor_hang(script: list[bytes], size: int) -> None:
    """Well-formed frames in any order reach much deeper than noise does."""
    peer = RawPeer(OPTIONS)
    calls = [peer.started(), peer.started(end=False), peer.request()]
    data = b"".join(script)
    for start in range(0, len(data), size):
        peer.feed(data[start : start + size])
        check_bounded(peer)
    check_invariants(peer, calls)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_traffic_neither_raises_nor_hangs(draw: st.DataObject) -> None:
    """One byte of good traffic is changed."""
    peer = RawPeer(OPTIONS, greet=False)
    calls = three_requests(peer)
    peer.take()
    damaged = bytearray(traffic(peer))
    damaged[draw.draw(st.integers(0, len(damaged) - 1))] ^= draw.draw(st.integers(1, 255))
    for start in range(0, len(damaged), 100):
        peer.feed(bytes(damaged[start : start + 100]))
    check_invariants(peer, calls)
