"""The timer of a connection, by a clock of our own (R47, R58)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from boxd.transport.http2.engine import ClientEngine
from boxd.transport.options import ConnectionOptions
from boxd.transport.watch import PAYLOAD, Watch
from tests.fixtures import frames as f
from tests.fixtures.pair import REQUEST, Recorder


class Timer:
    def __init__(self, due: float, callback: Callable[[], None]) -> None:
        self.due, self.callback, self.cancelled = due, callback, False

    def cancel(self) -> None:
        self.cancelled = True


class Bench:
    """A connection, its runtime and its clock in one."""

    def __init__(self, **options: Any) -> None:
        self.now = 1_000.0
        self.timers: list[Timer] = []
        self.ended: list[tuple[float, str]] = []
        self.engine = ClientEngine(self)
        self.start = self.now
        self.watch = Watch(self, self, ConnectionOptions(**options), clock=lambda: self.now)  # type: ignore[arg-type]
        self.receive(f.settings(), f.settings(ack=True))
        self.taken()

    # -- what the watch uses

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        assert not [one for one in self.timers if not one.cancelled], "one timer at a time"
        self.timers.append(Timer(self.now + delay, callback))
        return self.timers[-1]

    def ping(self, payload: bytes) -> None:
        self.engine.ping(payload)

    def flush(self) -> None:
        """The engine's bytes are taken by `taken`."""

    def give_up(self, kind: str, code: int, message: str) -> None:
        self.ended.append((self.now - self.start, kind))
        self.engine.close(kind, code, message)

    def on_capacity(self) -> None:
        if not self.engine.open_streams:
            self.watch.idle()

    def on_goaway(self) -> None: ...

    def on_pong(self, payload: bytes) -> None: ...

    # -- what the tests use

    def receive(self, *parts: bytes) -> None:
        self.watch.last_read = self.now
        self.engine.receive(b"".join(parts))

    def taken(self) -> list[f.Frame]:
        return f.split(self.engine.take().removeprefix(f.PREFACE))[0]

    def pings(self) -> int:
        return len([one for one in self.taken() if one.kind == f.PING and one.payload == PAYLOAD])

    def open(self) -> Any:
        self.watch.opening()
        return self.engine.open(REQUEST, Recorder())

    def wait(self, seconds: float, late: float = 0) -> None:
        """Let time pass, and the timer fire when it is due; `late` seconds later than that."""
        end = self.now + seconds
        while True:
            self.timers = [one for one in self.timers if not one.cancelled]
            if not self.timers or self.timers[0].due > end:
                break
            timer = self.timers.pop()
            assert timer.due >= self.now
            self.now = timer.due + late
            timer.callback()
        self.now = max(end, self.now)


def test_r58_a_ping_after_silence_and_the_end_after_more() -> None:
    bench = Bench(keepalive_time=60, keepalive_timeout=20)
    bench.open()
    bench.wait(59)
    assert bench.pings() == 0
    bench.wait(2)
    assert bench.pings() == 1
    bench.wait(18)
    assert (bench.pings(), bench.ended) == (0, [])
    bench.wait(2)
    assert bench.ended == [(80, "keepalive")]
    assert bench.engine.failure is not None
    assert "80 s" in bench.engine.failure.message


@pytest.mark.parametrize("answer", [f.ping(PAYLOAD, ack=True), f.window_update(0, 1)], ids=["pong", "anything"])
def test_r58_any_byte_is_an_answer_and_there_is_one_ping_at_a_time(answer: bytes) -> None:
    bench = Bench(keepalive_time=60, keepalive_timeout=200)
    bench.open()
    for _ in range(10):
        bench.wait(61)
        assert bench.pings() == 1
        bench.wait(120)
        assert bench.pings() == 0
        bench.receive(answer)
    assert bench.ended == []


def test_r58_a_connection_that_talks_is_not_pinged() -> None:
    bench = Bench(keepalive_time=60)
    bench.open()
    for _ in range(100):
        bench.wait(30)
        bench.receive(f.window_update(0, 1))
    assert bench.pings() == 0


def test_r58_not_without_calls_unless_asked_for() -> None:
    bench = Bench(keepalive_time=60, idle_timeout=None)
    bench.wait(1_000)
    assert bench.pings() == 0
    bench = Bench(keepalive_time=60, idle_timeout=None, keepalive_without_calls=True)
    bench.wait(61)
    assert bench.pings() == 1


def test_r58_a_new_stream_after_silence_has_a_ping_before_it() -> None:
    bench = Bench(keepalive_time=60, keepalive_timeout=20, idle_timeout=None)
    bench.wait(59)
    bench.open().reset(f.CANCEL)
    assert bench.pings() == 0
    bench.wait(100)
    bench.open()
    bench.open()
    assert [one.kind for one in bench.taken()] == [f.PING, f.HEADERS, f.HEADERS]
    bench.wait(21)
    assert bench.ended == [(179, "keepalive")]


def test_r58_a_stream_opened_in_the_silence_is_watched_from_the_last_byte_on() -> None:
    bench = Bench(keepalive_time=60, idle_timeout=None)
    bench.wait(30)
    bench.open()
    bench.wait(31)
    assert bench.pings() == 1


def test_r58_an_event_loop_that_stood_still_reads_before_it_judges() -> None:
    bench = Bench(keepalive_time=60, keepalive_timeout=20)
    bench.open()
    bench.wait(61)
    bench.wait(20, late=30)
    assert bench.ended == []
    bench.receive(f.ping(PAYLOAD, ack=True))
    bench.wait(50)
    assert bench.ended == []


def test_r58_a_dead_peer_is_found_in_spite_of_that() -> None:
    bench = Bench(keepalive_time=60, keepalive_timeout=20)
    bench.open()
    bench.wait(61)
    bench.wait(20, late=30)
    bench.wait(2)
    assert [kind for _, kind in bench.ended] == ["keepalive"]


@pytest.mark.parametrize("first", [b"", f.settings()], ids=["silence", "no acknowledgement"])
def test_r47_settings_in_time(first: bytes) -> None:
    bench = Bench.__new__(Bench)
    bench.now = bench.start = 0.0
    bench.timers, bench.ended = [], []
    bench.engine = ClientEngine(bench)
    bench.watch = Watch(bench, bench, ConnectionOptions(), clock=lambda: bench.now)  # type: ignore[arg-type]
    bench.receive(first)
    bench.wait(9)
    assert bench.ended == []
    bench.wait(2)
    assert bench.ended == [(10, "lost")]
    goaway = bench.taken()[-1]
    assert goaway.kind == f.GOAWAY
    assert goaway.payload[4:8] == f.SETTINGS_TIMEOUT.to_bytes(4, "big")


def test_idle_connections_are_closed() -> None:
    bench = Bench(idle_timeout=300, keepalive_time=None)
    stream = bench.open()
    bench.wait(1_000)
    assert bench.ended == []
    stream.reset(f.CANCEL)
    bench.wait(200)
    bench.open().reset(f.CANCEL)
    bench.wait(299)
    assert bench.ended == []
    bench.wait(2)
    assert bench.ended == [(1500, "closed")]


def test_idle_in_spite_of_pings() -> None:
    bench = Bench(idle_timeout=300, keepalive_time=60, keepalive_without_calls=True)
    for _ in range(40):
        bench.wait(10)
        bench.receive(f.ping(PAYLOAD, ack=True))
    assert bench.ended == [(300, "closed")]


def test_nothing_to_watch_is_no_timer() -> None:
    bench = Bench(keepalive_time=None, idle_timeout=None)
    bench.wait(20)
    assert bench.timers == []
    assert bench.ended == []
