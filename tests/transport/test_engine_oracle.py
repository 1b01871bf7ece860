"""The engine against the `h2` library as server, which checks every frame we send and every window."""

from __future__ import annotations

import random

import h2.events
import h2.settings
import hypothesis.strategies as st
from hypothesis import given, settings

from boxd.transport.http2.options import EngineOptions
from boxd.transport.http2.stream import Headers
from tests.fixtures import frames as f
from tests.fixtures.pair import RESPONSE, TRAILERS, Pair, Recorder

OPTIONS = EngineOptions(stream_window=1 << 16, connection_window=1 << 17, max_frame_size=1 << 14)
SETTINGS = {h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 20_000}


def stream_id(call: Recorder) -> int:
    assert call.stream is not None
    return call.stream.id


def test_one_call() -> None:
    pair = Pair()
    call = pair.request(b"question")
    events = pair.exchange()
    assert [type(one).__name__ for one in events] == ["RequestReceived", "DataReceived", "StreamEnded"]
    pair.server.send_headers(1, RESPONSE)
    pair.server.send_data(1, b"answer")
    pair.server.send_headers(1, TRAILERS, end_stream=True)
    pair.exchange()
    assert call.outcome == (200, RESPONSE[1:], b"answer", TRAILERS, None)


def test_upload_within_the_servers_windows() -> None:
    """h2 raises FlowControlError for a byte too many."""
    pair = Pair(OPTIONS, settings=SETTINGS)
    body = random.Random(2).randbytes(300_000)
    call = pair.request(body)
    received = b""
    for _ in range(1_000):
        for event in pair.exchange():
            if isinstance(event, h2.events.DataReceived):
                received += event.data
                pair.server.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        if len(received) == len(body):
            break
    assert received == body
    assert call.drained == 1


def test_download_keeps_the_windows_open() -> None:
    pair = Pair(OPTIONS)
    call = pair.request()
    pair.exchange()
    pair.server.send_headers(1, RESPONSE)
    body = random.Random(3).randbytes(500_000)
    sent = 0
    while sent < len(body):
        size = min(pair.server.local_flow_control_window(1), 16_384, len(body) - sent)
        assert size > 0, "the window stays closed"
        pair.server.send_data(1, body[sent : sent + size])
        sent += size
        pair.exchange()
    pair.server.send_headers(1, TRAILERS, end_stream=True)
    pair.exchange()
    assert call.body == body
    assert call.trailers == TRAILERS


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1 << 32), st.booleans())
def test_random_sequences(seed: int, goaway: bool) -> None:
    """Many streams at once, both ways, with cancels, resets, pings, changing settings, padding, informational responses
    and header blocks of several frames: h2 must never object, and every stream must end as the server ended it; also
    after a graceful GOAWAY in the middle."""
    run = _RandomRun(seed)
    for _ in range(60):
        run.step()
    if goaway:
        run.go_away()
        for _ in range(30):
            run.step()
    run.finish()


class _RandomRun:
    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.pair = Pair(OPTIONS, settings={**SETTINGS, h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 20})
        self.live: dict[int, Recorder] = {}
        self.opened: list[tuple[Recorder, bytes]] = []
        self.sent: dict[int, bytes] = {}
        self.received: dict[int, bytes] = {}
        self.answered: set[int] = set()
        self.heads: dict[int, Headers] = {}

    def step(self) -> None:
        action = self.rng.choice(
            [self.open, self.respond, self.respond, self.respond, self.end, self.cancel, self.rare]
        )
        action()
        if self.rng.random() < 0.7:
            self.pump()

    def pump(self) -> None:
        """Until everything has come over; taking what came opens windows, so that more may come."""
        while events := self.pair.exchange():
            for event in events:
                self.on_server(event)

    def on_server(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self.sent[event.stream_id] = b""
            self.received[event.stream_id] = b""
        elif isinstance(event, h2.events.DataReceived):
            self.received[event.stream_id] += event.data
            self.pair.server.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            self.sent.pop(event.stream_id, None)

    def open(self) -> None:
        if self.pair.engine.has_slot:
            body = self.rng.randbytes(self.rng.choice([0, 1, 100, 20_000, 50_000]))
            call = self.pair.request(body, hold=False)
            self.opened.append((call, body))

    def pick(self) -> int | None:
        return self.rng.choice(list(self.sent)) if self.sent else None

    def respond(self) -> None:
        number = self.pick()
        if number is None:
            return
        server = self.pair.server
        if number not in self.answered:
            self.head(number)
        size = min(server.local_flow_control_window(number), self.rng.choice([0, 5, 16_000]))
        if size > 300:
            body = self.rng.randbytes(size - 300)
            server.send_data(number, body, pad_length=self.rng.choice([None, 3, 255]))
            self.sent[number] += body

    def head(self, number: int) -> None:
        """The response's head, sometimes in several frames, sometimes after informational ones."""
        server = self.pair.server
        for _ in range(self.rng.choice([0, 0, 0, 1, 3])):
            server.send_headers(number, [(b":status", b"103"), (b"link", b"x")])
        large = [(b"x-large-%d" % one, b"v" * 9_000) for one in range(3)]
        extra = self.rng.choice([[], [], [(b"x-some", b"v" * 50)], large])
        self.heads[number] = [*RESPONSE, *extra]
        server.send_headers(number, self.heads[number])
        self.answered.add(number)

    def end(self) -> None:
        number = self.pick()
        if number is None or self.rng.random() < 0.5:
            return
        if self.rng.random() < 0.15:
            self.sent.pop(number)
            self.pair.server.reset_stream(number, self.rng.choice([f.NO_ERROR, f.CANCEL, f.REFUSED_STREAM]))
            self.pump()
            assert self.call(number).over
        else:
            self.finish_stream(number)

    def call(self, number: int) -> Recorder:
        return next(one for one, _ in self.opened if stream_id(one) == number)

    def finish_stream(self, number: int) -> None:
        """End it with trailers, some of them in several frames; a call that was not cancelled has got all of it."""
        if number not in self.answered:
            self.head(number)
        trailers = [*TRAILERS, *self.rng.choice([[], [], [(b"x-large", b"v" * 30_000)]])]
        self.pair.server.send_headers(number, trailers, end_stream=True)
        body = self.sent.pop(number)
        self.pump()
        call = self.call(number)
        assert call.over
        if call.trailers is None:
            assert call.failure is _CANCELLED
        else:
            assert (call.trailers, call.body, call.headers) == (trailers, body, self.heads[number][1:])

    def cancel(self) -> None:
        if self.opened and self.rng.random() < 0.3:
            call, _ = self.rng.choice(self.opened)
            assert call.stream is not None
            if not call.stream.done:
                call.stream.reset(self.rng.choice([f.CANCEL, f.NO_ERROR]))
                call.failure = call.failure or _CANCELLED

    def rare(self) -> None:
        server = self.pair.server
        codes = h2.settings.SettingCodes
        choices = {
            codes.INITIAL_WINDOW_SIZE: [0, 2_000, 30_000, 100_000],
            codes.MAX_CONCURRENT_STREAMS: [0, 1, 5, 20, 50],
            codes.MAX_FRAME_SIZE: [16_384, 20_000, 100_000],
            codes.HEADER_TABLE_SIZE: [0, 100, 4_096, 65_536],
        }
        if self.rng.random() < 0.7:
            code = self.rng.choice(list(choices))
            server.update_settings({code: self.rng.choice(choices[code])})
        else:
            server.ping(b"12345678")

    def go_away(self) -> None:
        """Behind h2's back, which would end the connection: nothing new may be opened, and all else goes on."""
        self.pump()
        self.pair.engine.receive(f.goaway((1 << 31) - 1))
        assert not self.pair.engine.has_slot
        self.pair.engine.receive(f.goaway(max(self.pair.engine.outbound.next_id - 2, 0)))

    def finish(self) -> None:
        pair = self.pair
        pair.server.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1 << 20})
        pair.server.increment_flow_control_window(1 << 24)
        self.pump()
        while self.sent:
            number = next(iter(self.sent))
            self.finish_stream(number)
            call, upload = next(one for one in self.opened if stream_id(one[0]) == number)
            assert call.trailers is not None
            assert self.received[number] == upload
        assert pair.engine.failure is None
        assert pair.engine.open_streams == 0
        engine = pair.engine
        assert engine._receive_window + engine._window_used == OPTIONS.connection_window
        # What h2 thinks of our window agrees with us, as soon as everything is written.
        assert pair.server.outbound_flow_control_window == engine._receive_window


class _Cancelled:
    kind = "cancelled"


_CANCELLED = _Cancelled()
