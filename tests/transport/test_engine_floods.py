"""A server that makes work for nothing is cut off, and one that is merely slow or old is not."""

from __future__ import annotations

import pytest

from boxd.transport.http2 import receiver
from boxd.transport.http2.outbound import MAX_ANSWERS
from tests.fixtures import frames as f
from tests.fixtures.pair import TRAILERS, RawPeer

FLOODS = {
    "ping": f.ping(),
    "ping-ack": f.ping(ack=True),
    "settings": f.settings({0xFEED: 1}),
    "window-update": f.window_update(0, 1),
    "window-update-closed": f.window_update(1, 1),
    "empty-data": f.data(3),
    "padding-only": f.data(3, padding=3),
    "priority": f.frame(f.PRIORITY, 0, 3, bytes(5)),
    "unknown": f.frame(0xBB),
    "rst-closed": f.rst(1, 8),
    "headers-closed": f.headers(1, b"\x88"),
}


@pytest.mark.parametrize("name", FLOODS)
def test_flood_is_cut(name: str) -> None:
    peer = RawPeer()
    first, second = peer.started(), peer.started()
    peer.feed(peer.head(1), peer.trailers(1), peer.head(3))
    assert first.trailers == TRAILERS
    for _ in range(receiver.MAX_BARREN_FRAMES // 100 + 1):
        peer.feed(FLOODS[name] * 100)
        peer.take()
    assert second.failure is not None
    assert second.failure.code == f.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("name", ["ping", "settings"])
def test_answers_are_bounded_while_we_cannot_write(name: str) -> None:
    peer = RawPeer()
    call = peer.started()
    peer.feed(FLOODS[name] * MAX_ANSWERS)
    assert call.failure is None
    peer.feed(FLOODS[name])
    assert call.failure is not None
    assert call.failure.code == f.ENHANCE_YOUR_CALM
    assert len(peer.take()) == MAX_ANSWERS + 1


def test_our_own_resets_are_no_answers() -> None:
    """Many calls cancelled at once, then a PING, while nothing is written: no flood."""
    peer = RawPeer(settings={f.MAX_CONCURRENT_STREAMS: 5_000})
    calls = [peer.request() for _ in range(MAX_ANSWERS + 1)]
    peer.take()
    for call in calls:
        assert call.stream is not None
        call.stream.reset(f.CANCEL)
    peer.feed(f.ping())
    assert peer.engine.failure is None


def test_pings_of_a_long_idle_stream_are_no_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that pings every ten seconds while an exec stream is silent for days."""
    now = 0.0
    monkeypatch.setattr(receiver.time, "monotonic", lambda: now)
    peer = RawPeer()
    call = peer.started()
    for _ in range(3 * receiver.MAX_BARREN_FRAMES):
        now += 10.0
        peer.feed(f.ping())
        peer.take()
    assert call.failure is None


def test_window_updates_of_a_long_upload_are_no_flood() -> None:
    peer = RawPeer()
    call = peer.started(end=False)
    assert call.stream is not None
    for _ in range(receiver.MAX_BARREN_FRAMES + 100):
        call.stream.send(b"x")
        peer.take()
        peer.feed(f.window_update(0, 1), f.window_update(1, 1))
    assert call.failure is None
