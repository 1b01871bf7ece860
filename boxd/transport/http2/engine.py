"""The client's side of an HTTP/2 connection (RFC 9113): streams, windows and the connection's own state."""

from __future__ import annotations

from typing import Protocol

from boxd.transport.http2.codes import (
    DEFAULT_WINDOW,
    MAX_MAX_FRAME_SIZE,
    MAX_STREAM_ID,
    MAX_WINDOW,
    MIN_MAX_FRAME_SIZE,
    PREFACE,
    ErrorCode,
    Setting,
    error_name,
)
from boxd.transport.http2.errors import ConnectionFault, NotHTTP2Fault, StreamFailure, StreamFault
from boxd.transport.http2.frames import (
    SETTINGS_ACK,
    end_stream_frame,
    goaway_frame,
    ping_frame,
    rst_stream_frame,
    settings_frame,
    window_update_frame,
)
from boxd.transport.http2.headers import body_length, check_fields, split_status
from boxd.transport.http2.options import EngineOptions
from boxd.transport.http2.outbound import Outbound
from boxd.transport.http2.receiver import Receiver
from boxd.transport.http2.stream import Headers, Stream, StreamEvents

#: Before the server's SETTINGS, with its limit: the first request goes at once, and the others wait for a round trip.
#: Servers such as grpcio reset what is over their limit, and not as REFUSED_STREAM.
EARLY_STREAMS = 1
#: Informational (1xx) responses a server may send before the final one.
MAX_INFORMATIONAL = 16


class EngineEvents(Protocol):
    """What concerns the connection as a whole. Neither blocks nor raises."""

    def on_capacity(self) -> None:
        """More streams may be opened than before: one ended, or the peer's limit changed."""

    def on_goaway(self) -> None:
        """The peer wants no new streams here; those it accepted go on."""

    def on_pong(self, payload: bytes) -> None:
        """The answer to a `ping`."""


class ClientEngine:
    """Feed it what the socket gives with `receive`, and write what `take` returns. Nothing raises for what a
    peer does: faults end streams through `StreamEvents.on_failure`, and `failure` says why a connection ended."""

    def __init__(self, events: EngineEvents, options: EngineOptions | None = None) -> None:
        self.options = options or EngineOptions()
        self._events = events
        self.outbound = Outbound(self._opened)
        self._streams: dict[int, Stream] = {}
        self._unsent = 0
        self._window_used = 0
        self._receive_window = self.options.connection_window
        self.max_concurrent_streams = EARLY_STREAMS
        #: The peer's limit for a header list; None while it has not given one.
        self.peer_max_header_list_size: int | None = None
        #: True once the peer's first SETTINGS frame came.
        self.established = False
        #: True once the peer acknowledged our SETTINGS.
        self.settings_acknowledged = False
        #: Set by GOAWAY: no stream may be opened, and ids above it are not processed.
        self.last_stream_id: int | None = None
        self.goaway_code = 0
        self.goaway_debug = b""
        #: Why the connection is over; None while it lives.
        self.failure: StreamFailure | None = None
        self._receiver = Receiver(self)
        self._send_preface()

    # -- the user's side

    @property
    def open_streams(self) -> int:
        """Streams that hold a slot: open, or waiting to be written."""
        return len(self._streams) + self._unsent

    @property
    def _next_id(self) -> int:
        """The id of the next stream to be opened: those that wait to be written come first."""
        return self.outbound.next_id + 2 * self._unsent

    @property
    def usable(self) -> bool:
        """True while new streams may be opened here at all, slots aside."""
        return self.failure is None and self.last_stream_id is None and self._next_id < MAX_STREAM_ID

    @property
    def has_slot(self) -> bool:
        """True when a stream may be opened now."""
        return self.open_streams < self.max_concurrent_streams and self.usable

    def open(self, headers: Headers, events: StreamEvents) -> Stream:
        """Start a request. Its headers, pseudo-headers first, are written by the next `take`. Ask `has_slot` before."""
        if not self.has_slot:
            raise RuntimeError("no stream can be opened on this connection now; ask has_slot first")
        stream = Stream(self, headers, events, self.options.stream_window)
        self._unsent += 1
        self.outbound.open(stream)
        return stream

    def ping(self, payload: bytes) -> None:
        """Ask the peer for a sign of life; eight bytes come back through `on_pong`."""
        self._control(ping_frame(payload))

    def receive(self, data: bytes) -> None:
        """What came from the peer, cut anywhere."""
        if self.failure is not None:
            return
        try:
            self._receiver.feed(data)
        except ConnectionFault as fault:
            self._fault(fault)

    def take(self, limit: int = 1 << 18) -> bytes:
        """What is to be written now; empty when there is nothing. Taken bytes count as sent."""
        window = self.outbound.window
        data = self.outbound.take(limit)
        if self.outbound.window < window:
            self._receiver.made_progress()
        return data

    def lost(self, message: str, cause: BaseException | None = None, kind: str = "lost") -> None:
        """The connection ended under us. Every open stream fails, for this kind of reason."""
        if self.failure is None:
            try:
                self._receiver.end_of_file()
            except ConnectionFault as fault:
                self._fault(fault)
        refused = kind == "tls"  # TLS let nothing through, so there is nothing that the peer can have acted on.
        self._end(StreamFailure(kind, ErrorCode.NO_ERROR, message, unprocessed=refused, cause=cause))

    def close(self, kind: str = "closed", code: int = ErrorCode.NO_ERROR, message: str = "it was closed here") -> None:
        """End the connection from our side; open streams fail for this reason. Idempotent."""
        if self.failure is None:
            self._end(StreamFailure(kind, code, message))
            self.outbound.last_words(goaway_frame(0, code))

    # -- called by Stream

    def queue_data(self, stream: Stream, data: bytes | memoryview, end: bool) -> None:
        if stream.done or stream.end_queued:
            return
        if data:
            stream.outbox.append(memoryview(data))
            stream.outbox_size += len(data)
        stream.end_queued = end
        if stream.id and (stream.outbox_size or end):
            if stream.outbox_size:
                if stream.send_window > 0:
                    self.outbound.make_ready(stream)
            else:  # Only the end: an empty DATA frame needs no window.
                stream.local_closed = True
                self._control(end_stream_frame(stream.id))

    def credit(self, stream: Stream, size: int) -> None:
        if stream.done:
            return
        stream.uncredited += size
        if stream.uncredited * 4 >= self.options.stream_window:
            stream.receive_window += stream.uncredited
            self._control(window_update_frame(stream.id, stream.uncredited))
            stream.uncredited = 0

    def reset(self, stream: Stream, code: int) -> None:
        if stream.done:
            return
        if stream.id:
            self._control(rst_stream_frame(stream.id, code))
        self._forget(stream)

    # -- called by Receiver; each may raise ConnectionFault or StreamFault

    def on_data_frame(self, stream_id: int, size: int) -> Stream | None:
        """Account for a DATA frame of `size` bytes, padding included, before its payload. None: ignore it."""
        self._receive_window -= size
        if self._receive_window < 0:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "the server sent more than the connection's window")
        self._window_used += size
        if self._window_used * 4 >= self.options.connection_window:
            self._receive_window += self._window_used
            self._control(window_update_frame(0, self._window_used))
            self._window_used = 0
        stream = self._find(stream_id)
        if stream is None:
            return None
        stream.receive_window -= size
        if stream.receive_window < 0:
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR, "the server sent more than the stream's window")
        if not stream.response_started:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "the server sent DATA before HEADERS")
        return stream

    def on_headers_block(self, stream_id: int, headers: Headers, end_stream: bool) -> bool:
        """False when the stream is over and nobody wanted them."""
        stream = self._find(stream_id)
        if stream is None:
            return False
        if stream.response_started:
            if not end_stream:
                raise StreamFault(ErrorCode.PROTOCOL_ERROR, "the server sent trailers that do not end the stream")
            check_fields(headers)
            self.end_stream(stream, headers)
            return True
        status, fields = split_status(headers)
        check_fields(fields)
        if status < 200 and status >= 100:
            stream.informational += 1
            if end_stream or stream.informational > MAX_INFORMATIONAL:
                raise StreamFault(ErrorCode.PROTOCOL_ERROR, f"the server sent no final response after {status}")
            return True
        stream.response_started = True
        stream.content_length = body_length(stream.headers, status, fields)
        stream.events.on_headers(status, fields, end_stream)
        if end_stream and not stream.done:
            # Servers name the length of a body that they leave out in more cases than they should.
            stream.content_length = None
            self.end_stream(stream, [])
        return True

    def end_stream(self, stream: Stream, trailers: Headers) -> None:
        """END_STREAM came."""
        if stream.content_length is not None and stream.received != stream.content_length:
            raise StreamFault(
                ErrorCode.PROTOCOL_ERROR,
                f"the body has {stream.received} bytes where content-length says {stream.content_length}",
            )
        if not stream.local_closed:
            # The server answered before it had all of the request: nothing more of it is wanted (section 8.1).
            self._control(rst_stream_frame(stream.id, ErrorCode.NO_ERROR))
        self._forget(stream)
        stream.events.on_end(trailers)

    def on_rst_stream(self, stream_id: int, code: int) -> None:
        stream = self._find(stream_id)
        if stream is not None:
            refused = code == ErrorCode.REFUSED_STREAM and not stream.response_started
            self._fail(
                stream, StreamFailure("reset", code, f"the server reset the stream: {error_name(code)}", refused)
            )

    def on_settings(self, values: list[tuple[int, int]]) -> None:
        if not self.established:
            # A server that does not say how many streams it allows sets no limit (section 6.5.2).
            self.max_concurrent_streams = MAX_STREAM_ID
            self.established = True
        for name, value in values:
            self._apply(name, value)
        self.outbound.answer(SETTINGS_ACK)
        self._events.on_capacity()

    def on_settings_ack(self) -> None:
        self.settings_acknowledged = True

    def on_ping(self, payload: bytes, ack: bool) -> None:
        if ack:
            self._events.on_pong(payload)
        else:
            self.outbound.answer(ping_frame(payload, ack=True))

    def on_goaway(self, last_stream_id: int, code: int, debug: bytes) -> None:
        if self.last_stream_id is not None and last_stream_id > self.last_stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the server raised the last stream id of its GOAWAY")
        self.last_stream_id, self.goaway_code, self.goaway_debug = last_stream_id, code, debug
        reason = f"the server is going away: {error_name(code)}"
        if debug:
            reason += f" {debug[:128].decode('latin-1')!r}"
        for stream in [s for s in self._streams.values() if s.id > last_stream_id] + self.outbound.unsent():
            self._fail(stream, StreamFailure("goaway", code, reason, unprocessed=not stream.response_started))
        self._events.on_goaway()

    def on_window_update(self, stream_id: int, increment: int) -> None:
        if stream_id == 0:
            if increment == 0:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0 for the connection")
            self.outbound.window += increment
            if self.outbound.window > MAX_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "the connection's window exceeds 2^31-1")
            return
        stream = self._find(stream_id)
        if stream is None:
            return
        if increment == 0:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
        stream.send_window += increment
        if stream.send_window > MAX_WINDOW:
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR, "the stream's window exceeds 2^31-1")
        if stream.outbox_size and stream.send_window > 0:
            self.outbound.make_ready(stream)

    def fail_stream(self, stream_id: int, fault: StreamFault) -> None:
        """The peer broke the protocol on one stream."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._control(rst_stream_frame(stream.id, fault.code))
            self._fail(stream, StreamFailure("protocol", fault.code, fault.message))

    # -- inside

    def _send_preface(self) -> None:
        options = self.options
        settings: dict[int, int] = {
            Setting.ENABLE_PUSH: 0,
            Setting.INITIAL_WINDOW_SIZE: options.stream_window,
            Setting.MAX_FRAME_SIZE: options.max_frame_size,
            Setting.MAX_HEADER_LIST_SIZE: options.max_header_list_size,
        }
        self._control(PREFACE + settings_frame(settings))
        if options.connection_window > DEFAULT_WINDOW:
            self._control(window_update_frame(0, options.connection_window - DEFAULT_WINDOW))

    def _control(self, frame: bytes) -> None:
        self.outbound.control(frame)

    def _opened(self, stream: Stream) -> None:
        """The stream's headers are being written and it has its id."""
        self._unsent -= 1
        self._streams[stream.id] = stream

    def _find(self, stream_id: int) -> Stream | None:
        """The stream with this id, None if it is over. One that never was is the peer's error."""
        stream = self._streams.get(stream_id)
        if stream is None and (stream_id >= self.outbound.next_id or stream_id % 2 == 0):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"a frame for the stream {stream_id}, which was not opened")
        return stream

    def _forget(self, stream: Stream) -> None:
        stream.done = True
        stream.outbox.clear()
        stream.outbox_size = 0
        if stream.id:
            del self._streams[stream.id]
        else:
            self._unsent -= 1
            self.outbound.abandon(stream)
        self._events.on_capacity()

    def _fail(self, stream: Stream, failure: StreamFailure) -> None:
        self._forget(stream)
        stream.events.on_failure(failure)

    def _end(self, failure: StreamFailure) -> None:
        if self.failure is not None:
            return
        self.failure = failure
        for stream in list(self._streams.values()):
            self._fail(stream, failure)
        for stream in self.outbound.unsent():
            self._fail(stream, failure._replace(unprocessed=True))

    def _fault(self, fault: ConnectionFault) -> None:
        self._end(StreamFailure(fault.kind, fault.code, fault.message))
        if isinstance(fault, NotHTTP2Fault):
            self.outbound.last_words(b"")
        else:
            self.outbound.last_words(goaway_frame(0, fault.code, fault.message.encode()[:128]))

    def _apply(self, name: int, value: int) -> None:
        """One parameter of the peer's SETTINGS (section 6.5.2); unknown ones mean nothing to us."""
        if name == Setting.INITIAL_WINDOW_SIZE:
            self._set_initial_window(value)
        elif name == Setting.MAX_FRAME_SIZE:
            if not MIN_MAX_FRAME_SIZE <= value <= MAX_MAX_FRAME_SIZE:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"SETTINGS_MAX_FRAME_SIZE of {value}")
            self.outbound.max_frame_size = value
        elif name == Setting.MAX_CONCURRENT_STREAMS:
            self.max_concurrent_streams = value
        elif name == Setting.HEADER_TABLE_SIZE:
            self.outbound.set_header_table_size(value)
        elif name == Setting.MAX_HEADER_LIST_SIZE:
            self.peer_max_header_list_size = value
        elif name == Setting.ENABLE_PUSH and value:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a server may not enable push")

    def _set_initial_window(self, value: int) -> None:
        """Change the windows of the streams too, which may make them negative (section 6.9.2)."""
        if value > MAX_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, f"SETTINGS_INITIAL_WINDOW_SIZE of {value}")
        delta = value - self.outbound.initial_window
        self.outbound.initial_window = value
        for stream in self._streams.values():
            stream.send_window += delta
            if stream.send_window > MAX_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "SETTINGS make a stream's window exceed 2^31-1")
            if stream.outbox_size and stream.send_window > 0:
                self.outbound.make_ready(stream)
