"""Flow control, both ways (RFC 9113 section 5.2)."""

from __future__ import annotations

import random
import struct

import pytest

from boxd.transport.http2.engine import EngineOptions
from boxd.transport.http2.outbound import MAX_DATA_FRAME
from boxd.transport.http2.stream import Stream
from tests.fixtures import frames as f
from tests.fixtures.pair import RawPeer, Recorder

MAX_WINDOW = (1 << 31) - 1


def sent(peer: RawPeer) -> dict[int, int]:
    """Body bytes in the next write, by stream."""
    out: dict[int, int] = {}
    for one in f.of_kind(peer.take(), f.DATA):
        out[one.stream] = out.get(one.stream, 0) + len(one.payload)
    return out


def stream_of(call: Recorder) -> Stream:
    assert call.stream is not None
    return call.stream


# -- sending


def test_r39_a_frame_fits_every_limit() -> None:
    peer = RawPeer(settings={f.INITIAL_WINDOW_SIZE: MAX_WINDOW})
    peer.feed(f.window_update(0, 1 << 24))
    call = peer.started(end=False)
    stream_of(call).send(bytes(100_000))
    assert {len(one.payload) for one in peer.take()} == {1 << 14, 100_000 % (1 << 14)}
    peer.feed(f.settings({f.MAX_FRAME_SIZE: (1 << 24) - 1}))
    peer.take()
    stream_of(call).send(bytes(100_000))
    assert [len(one.payload) for one in peer.take()] == [MAX_DATA_FRAME, 100_000 - MAX_DATA_FRAME]


def test_r39_stream_window_limits() -> None:
    peer = RawPeer(settings={f.INITIAL_WINDOW_SIZE: 10})
    call, sibling = peer.started(end=False), peer.started(end=False)
    stream_of(call).send(b"a" * 25)
    stream_of(sibling).send(b"b" * 5)
    assert sent(peer) == {1: 10, 3: 5}
    assert not peer.engine.outbound.pending
    peer.feed(f.window_update(1, 7))
    assert sent(peer) == {1: 7}
    assert call.drained == 0
    peer.feed(f.window_update(1, 100))
    assert sent(peer) == {1: 8}
    assert call.drained == 1
    assert stream_of(call).send_window == 92


def test_r39_connection_window_limits_all_streams() -> None:
    peer = RawPeer(settings={f.INITIAL_WINDOW_SIZE: MAX_WINDOW})
    first, second = peer.started(end=False), peer.started(end=False)
    stream_of(first).send(bytes(60_000))
    stream_of(second).send(bytes(60_000))
    out = sent(peer)
    assert sum(out.values()) == 65_535
    assert min(out.values()) > 0, "one stream starves the other"
    assert not peer.engine.outbound.pending
    peer.feed(f.window_update(0, 60_000))
    rest = sent(peer)
    assert {key: out[key] + rest[key] for key in out} == {1: 60_000, 3: 60_000}


def test_r39_negative_window() -> None:
    """The server cuts INITIAL_WINDOW_SIZE while a stream has used more than that (section 6.9.2)."""
    peer = RawPeer(settings={f.INITIAL_WINDOW_SIZE: 1_000})
    call = peer.started(end=False)
    stream_of(call).send(bytes(1_500))
    assert sent(peer) == {1: 1_000}
    peer.feed(f.settings({f.INITIAL_WINDOW_SIZE: 0}))
    assert stream_of(call).send_window == -1_000
    peer.feed(f.window_update(1, 1_000))
    assert sent(peer) == {}
    peer.feed(f.window_update(1, 1))
    assert sent(peer) == {1: 1}
    peer.feed(f.settings({f.INITIAL_WINDOW_SIZE: 500}))
    assert sent(peer) == {1: 499}


def test_r35_half_close_needs_no_window() -> None:
    peer = RawPeer(settings={f.INITIAL_WINDOW_SIZE: 0})
    empty, full = peer.started(end=False), peer.started(end=False)
    stream_of(empty).send(b"", end=True)
    stream_of(full).send(b"body", end=True)
    assert peer.take() == [f.Frame(f.DATA, f.END_STREAM, 1, b"")]
    peer.feed(f.window_update(3, 4))
    assert peer.take() == [f.Frame(f.DATA, f.END_STREAM, 3, b"body")]


def test_r35_a_request_without_a_message_ends_with_an_empty_data_frame() -> None:
    """Also where the end is known before the headers are written: grpc-go does not see the end on HEADERS."""
    peer = RawPeer()
    peer.request(b"", end=True)
    assert [(one.kind, one.flags & f.END_STREAM, one.payload) for one in peer.take()][1:] == [
        (f.DATA, f.END_STREAM, b"")
    ]


def test_r35_end_goes_with_the_last_data() -> None:
    peer = RawPeer()
    peer.request(b"one")
    assert [(one.kind, one.flags & f.END_STREAM) for one in peer.take()] == [(f.HEADERS, 0), (f.DATA, 1)]
    stream_of(call := peer.started(end=False)).send(b"two")
    stream_of(call).send(b"", end=True)
    stream_of(call).send(b"after the end")
    assert peer.take() == [f.Frame(f.DATA, f.END_STREAM, 3, b"two")]


@pytest.mark.parametrize("settings_first", [False, True])
def test_r49_window_of_streams_opened_before_settings(settings_first: bool) -> None:
    peer = RawPeer(greet=False)
    call = peer.request(bytes(70_000), end=True)
    if not settings_first:
        assert sent(peer) == {1: 65_535}
    peer.feed(f.settings({f.INITIAL_WINDOW_SIZE: 66_000}), f.window_update(0, 100_000))
    first = 0 if settings_first else 65_535
    assert sent(peer) == {1: 66_000 - first}
    peer.feed(f.window_update(1, 10_000))
    assert sent(peer) == {1: 4_000}
    assert call.drained == 1


def test_r49_settings_that_overflow_a_window() -> None:
    peer = RawPeer()
    call = peer.started(end=False)
    peer.feed(f.window_update(1, MAX_WINDOW - 65_535), f.settings({f.INITIAL_WINDOW_SIZE: 65_536}))
    assert call.failure is not None
    assert call.failure.code == f.FLOW_CONTROL_ERROR
    assert peer.engine.failure is not None


@pytest.mark.parametrize(("increment", "code"), [(0, f.PROTOCOL_ERROR), (MAX_WINDOW, f.FLOW_CONTROL_ERROR)])
def test_bad_window_update_ends_its_stream_only(increment: int, code: int) -> None:
    peer = RawPeer()
    call, sibling = peer.started(), peer.started()
    peer.feed(f.window_update(1, increment))
    assert call.failure is not None
    assert call.failure.code == code
    assert peer.take() == [f.Frame(f.RST_STREAM, 0, 1, code.to_bytes(4, "big"))]
    assert sibling.failure is None


def test_r41_a_write_is_bounded() -> None:
    peer = RawPeer(settings={f.INITIAL_WINDOW_SIZE: MAX_WINDOW})
    peer.feed(f.window_update(0, 1 << 30))
    call = peer.started(end=False)
    stream_of(call).send(bytes(10 << 20))
    assert len(peer.engine.take(1 << 18)) <= (1 << 18) + MAX_DATA_FRAME
    assert call.drained == 0


def test_streams_take_turns() -> None:
    peer = RawPeer(settings={f.INITIAL_WINDOW_SIZE: MAX_WINDOW})
    peer.feed(f.window_update(0, 1 << 30))
    calls = [peer.started(end=False) for _ in range(4)]
    for call in calls:
        stream_of(call).send(bytes(1 << 20))
    order = [one.stream for one in peer.take(16 * (1 << 14))]
    assert order == [1, 3, 5, 7] * 4


# -- receiving


def credits(peer: RawPeer) -> dict[int, int]:
    out: dict[int, int] = {}
    for one in f.of_kind(peer.take(), f.WINDOW_UPDATE):
        out[one.stream] = out.get(one.stream, 0) + one.number
    return out


OPTIONS = EngineOptions(stream_window=100_000, connection_window=200_000, max_frame_size=1 << 14)


def test_r42_connection_is_credited_on_receipt_and_the_stream_when_taken() -> None:
    peer = RawPeer(OPTIONS)
    call = peer.started(hold=True)
    peer.feed(peer.head(1), *[f.data(1, bytes(10_000))] * 10)
    assert credits(peer) == {0: 100_000}
    stream_of(call).consumed(24_999)
    assert credits(peer) == {}
    stream_of(call).consumed(1)
    assert credits(peer) == {1: 25_000}


def test_r42_a_stalled_stream_does_not_stall_another() -> None:
    peer = RawPeer(OPTIONS)
    stalled, sibling = peer.started(hold=True), peer.started()
    peer.feed(peer.head(1), peer.head(3), *[f.data(1, bytes(10_000))] * 10)
    for _ in range(100):
        peer.feed(f.data(3, bytes(10_000)))
    assert (len(stalled.body), len(sibling.body)) == (100_000, 1_000_000)
    assert peer.engine.failure is None


def test_r44_more_than_the_stream_window() -> None:
    peer = RawPeer(OPTIONS)
    call, sibling = peer.started(hold=True), peer.started()
    peer.feed(peer.head(1), *[f.data(1, bytes(10_000))] * 10, f.data(1, b"x"))
    assert call.failure is not None
    assert call.failure.code == f.FLOW_CONTROL_ERROR
    assert sibling.failure is None


def test_r44_more_than_the_connection_window() -> None:
    """Within one read: no WINDOW_UPDATE for it has been written yet, but we already count what we will return."""
    peer = RawPeer(EngineOptions(stream_window=1 << 20, connection_window=65_535, max_frame_size=1 << 17))
    call = peer.started(hold=True)
    peer.feed(peer.head(1), f.data(1, bytes(65_536)))
    assert call.failure is not None
    assert call.failure.code == f.FLOW_CONTROL_ERROR
    assert peer.engine.failure is not None


@pytest.mark.parametrize("window", [0, 1, 65_534])
def test_a_window_below_the_default_is_refused(window: int) -> None:
    """The connection's window cannot be announced smaller than 65,535."""
    with pytest.raises(ValueError, match="connection_window"):
        EngineOptions(connection_window=window)


def test_r42_every_byte_is_credited_once() -> None:
    """Open streams, ended, reset and unknown ones, padding: after a long run the connection's window is what it was,
    within the quarter that waits to be returned."""
    rng = random.Random(1)
    peer = RawPeer(OPTIONS)
    window, streams = OPTIONS.connection_window, {}
    for _ in range(3_000):
        if len(streams) < 5:
            call = peer.started(hold=rng.random() < 0.3, end=rng.random() < 0.5)
            streams[stream_of(call).id] = [call, OPTIONS.stream_window]
            peer.feed(peer.head(stream_of(call).id))
        number = rng.choice(list(streams))
        call, room = streams[number]
        size, padding = rng.randrange(0, 9_000), rng.choice([None, 0, 7, 255])
        frame = f.data(number, bytes(size), padding=padding)
        cost = len(frame) - 9
        if cost <= min(room, window):
            peer.feed(frame)
            streams[number][1] -= cost
            window -= cost
        action = rng.random()
        if action < 0.02:
            stream_of(call).reset(f.CANCEL)  # The server goes on for a while.
        elif action < 0.04:
            peer.feed(peer.trailers(number))
        elif action < 0.06:
            del streams[number]
        for number, increment in credits(peer).items():
            assert increment > 0
            if number == 0:
                window += increment
            elif number in streams:
                streams[number][1] += increment
        assert window <= OPTIONS.connection_window
        assert all(one[1] <= OPTIONS.stream_window for one in streams.values())
    assert peer.engine.failure is None
    assert window > OPTIONS.connection_window * 3 // 4
    assert window + peer.engine._window_used == OPTIONS.connection_window


# -- the sizes of our own windows


def test_r43_defaults() -> None:
    options = EngineOptions()
    assert options.stream_window == 4 << 20
    assert options.connection_window == 16 << 20
    frames = RawPeer(greet=False).take()
    (announced,) = f.of_kind(frames, f.SETTINGS)
    assert dict(struct.iter_unpack(">HI", announced.payload))[f.INITIAL_WINDOW_SIZE] == 4 << 20
    assert [one.number for one in f.of_kind(frames, f.WINDOW_UPDATE)] == [(16 << 20) - 65_535]


@pytest.mark.parametrize("hold", [False, True], ids=["taken", "held"])
def test_r43_windows_are_renewed_by_the_quarter(hold: bool) -> None:
    """Once for many frames, for the stream and the connection each, and in one write with what else there is."""
    options = EngineOptions(stream_window=100_000, connection_window=200_000)
    peer = RawPeer(options)
    call = peer.started(hold=hold, end=False)
    peer.feed(peer.head(1), *(f.data(1, bytes(1_000)) for _ in range(24)))
    assert peer.take() == []
    peer.feed(f.data(1, bytes(1_000)))
    stream_of(call).send(b"more")
    frames = peer.take()
    assert [(one.stream, one.number) for one in f.of_kind(frames, f.WINDOW_UPDATE)] == ([] if hold else [(1, 25_000)])
    assert len(f.of_kind(frames, f.DATA)) == 1
    peer.feed(*(f.data(1, bytes(1_000)) for _ in range(25)))
    updates = [(one.stream, one.number) for one in f.of_kind(peer.take(), f.WINDOW_UPDATE)]
    assert sorted(updates) == ([(0, 50_000)] if hold else [(0, 50_000), (1, 25_000)])
