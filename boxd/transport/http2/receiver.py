"""Splitting received bytes into frames and handing each to the engine (RFC 9113 sections 4 and 6)."""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING

from boxd.transport.http2.codes import (
    CONTINUATION,
    DATA,
    FLAG_ACK,
    FLAG_END_HEADERS,
    FLAG_END_STREAM,
    FLAG_PADDED,
    FLAG_PRIORITY,
    GOAWAY,
    HEADERS,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    ErrorCode,
)
from boxd.transport.http2.errors import ConnectionFault, NotHTTP2Fault, StreamFault
from boxd.transport.http2.frames import FRAME_HEADER, HEADER_SIZE, parse_goaway, parse_settings
from boxd.transport.http2.headers import HeaderBlockReader
from boxd.transport.http2.stream import Stream

if TYPE_CHECKING:
    from boxd.transport.http2.engine import ClientEngine

#: Frames in a row that bring nothing (empty DATA, PING, SETTINGS, WINDOW_UPDATE and the like) before the
#: connection is given up, if they came within `FLOOD_PERIOD` seconds: a flood, not the PINGs of an idle day.
MAX_BARREN_FRAMES = 10_000
FLOOD_PERIOD = 60.0

_U32 = struct.Struct(">I")
_FIXED_LENGTH = {PRIORITY: 5, RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}
_CONNECTION_FRAMES = frozenset((SETTINGS, PING, GOAWAY))
_STREAM_FRAMES = frozenset((DATA, HEADERS, PRIORITY, RST_STREAM, PUSH_PROMISE, CONTINUATION))


class Receiver:
    """Body bytes are passed on as they come, also from the middle of a frame, so that a frame of any size costs
    no buffer; every other frame is gathered first, within the limits we announced."""

    def __init__(self, engine: ClientEngine) -> None:
        self._engine = engine
        self._buffer = b""
        self._max_frame_size = engine.options.max_frame_size
        self._blocks = HeaderBlockReader(
            max_list_size=engine.options.max_header_list_size, max_block_size=engine.options.max_header_list_size
        )
        # The DATA frame being received: what is left of it, its stream (None: nobody wants it) and its flags.
        self._body_left = 0
        self._body_stream: Stream | None = None
        self._body_end = False
        self._barren = 0
        self._barren_since = time.monotonic()

    def feed(self, data: bytes) -> None:
        """Handle all frames that are complete in what came so far."""
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        position = 0
        size = len(data)
        if self._body_left:
            position = min(self._body_left, size)
            self._deliver(data[:position])
        elif not self._engine.established and _is_cut_status_line(data):
            self._buffer = data
            return
        while size - position >= HEADER_SIZE:
            high, low, kind, flags, stream_id = FRAME_HEADER.unpack_from(data, position)
            length = high << 8 | low
            stream_id &= 0x7FFFFFFF
            start = position + HEADER_SIZE
            if self._checks_needed(kind, length, stream_id):
                self._check(kind, flags, length, stream_id, data)
            if kind == DATA and not flags & FLAG_PADDED:
                position = self._data(data, start, size, length, flags, stream_id)
                continue
            if size - start < length:
                break
            position = start + length
            self._frame(kind, flags, stream_id, data[start:position])
        if position < size:
            self._buffer = data[position:]

    def end_of_file(self) -> None:
        """Nothing more comes. A frame that was cut off is dropped."""
        if not self._engine.established:
            _check_first_bytes(self._buffer, self._engine.options.peer)
        self._buffer = b""

    # -- DATA

    def _data(self, data: bytes, start: int, size: int, length: int, flags: int, stream_id: int) -> int:
        """Pass on the DATA frame of `length` bytes whose payload begins at `start`, as far as it came, together with
        the frames of the same stream that follow it: that costs 1 us for each of them instead of 5. Returns where the
        next frame begins."""
        stop = start + length
        total = length
        pieces: list[memoryview] = []
        view = memoryview(data)
        while length and size - stop >= HEADER_SIZE and not flags:
            high, low, kind, next_flags, next_id = FRAME_HEADER.unpack_from(data, stop)
            length = high << 8 | low
            if kind or next_id != stream_id or length > self._max_frame_size or next_flags & ~FLAG_END_STREAM:
                break
            pieces.append(view[start:stop])
            start = stop + HEADER_SIZE
            stop = start + length
            total += length
            flags = next_flags
        self._begin_body(stream_id, total, flags)
        stop = min(stop, size)
        if pieces:
            pieces.append(view[start:stop])
            self._deliver(b"".join(pieces))
        else:
            self._deliver(data[start:stop])
        return stop

    def _begin_body(self, stream_id: int, length: int, flags: int) -> None:
        self._body_left = length
        self._body_end = bool(flags & FLAG_END_STREAM)
        self._body_stream = self._account(stream_id, length)
        if length:
            self._barren = 0
        elif not self._body_end:
            self._count_barren()

    def _account(self, stream_id: int, length: int) -> Stream | None:
        try:
            return self._engine.on_data_frame(stream_id, length)
        except StreamFault as fault:
            self._engine.fail_stream(stream_id, fault)
            return None

    def _deliver(self, body: bytes) -> None:
        """Pass on a piece of the body that was begun."""
        self._body_left -= len(body)
        stream = self._body_stream
        if stream is not None and not stream.done:
            if body:
                stream.received += len(body)
                stream.events.on_data(body)
            if self._body_end and not self._body_left and not stream.done:
                self._end(stream)

    def _end(self, stream: Stream) -> None:
        try:
            self._engine.end_stream(stream, [])
        except StreamFault as fault:
            self._engine.fail_stream(stream.id, fault)

    def _padded_data(self, stream_id: int, flags: int, payload: bytes) -> None:
        stream = self._account(stream_id, len(payload))
        body = _unpad(payload)
        if body:
            self._barren = 0
        else:
            self._count_barren()
        if stream is None:
            return
        stream.received += len(body)
        if body:
            stream.events.on_data(body)
        stream.consumed(len(payload) - len(body))
        if flags & FLAG_END_STREAM and not stream.done:
            self._end(stream)

    # -- all other frames

    def _checks_needed(self, kind: int, length: int, stream_id: int) -> bool:
        """False for what is all right at first sight: DATA and HEADERS of a stream, between header blocks."""
        return (
            kind > HEADERS
            or not stream_id
            or length > self._max_frame_size
            or self._blocks.stream_id != 0
            or not self._engine.established
        )

    def _check(self, kind: int, flags: int, length: int, stream_id: int, data: bytes) -> None:
        """Refuse a frame by its header alone, before anything of it is buffered."""
        if not self._engine.established:
            peer = self._engine.options.peer
            _check_first_bytes(data, peer)
            if length > self._max_frame_size:
                # No server begins with a huge frame: it is text, or a TLS alert, read as one.
                raise NotHTTP2Fault(f"{peer} does not speak HTTP/2: it answered {data[:32]!r}")
            if kind != SETTINGS or flags & FLAG_ACK:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the server's first frame is not SETTINGS")
        if length > self._max_frame_size:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"the server sent a frame of {length} bytes")
        if self._blocks.stream_id and (kind != CONTINUATION or stream_id != self._blocks.stream_id):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "another frame inside a header block")
        if kind == CONTINUATION and not self._blocks.stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "CONTINUATION outside a header block")
        if kind in _CONNECTION_FRAMES and stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"a connection's frame on the stream {stream_id}")
        if kind in _STREAM_FRAMES and not stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a stream's frame on the stream 0")
        if kind == PUSH_PROMISE:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the server pushed, which our SETTINGS forbid")
        if _FIXED_LENGTH.get(kind, length) != length or (kind == SETTINGS and length % 6):
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"a frame of type {kind} with {length} bytes")
        if kind == GOAWAY and length < 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"a GOAWAY with {length} bytes")

    def _frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        try:
            if kind in (HEADERS, CONTINUATION):
                self._headers(kind, flags, stream_id, payload)
            elif kind == DATA:
                self._padded_data(stream_id, flags, payload)
            else:
                self._count_barren()
                self._control_frame(kind, flags, stream_id, payload)
        except StreamFault as fault:
            self._engine.fail_stream(stream_id, fault)

    def _headers(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if kind == HEADERS:
            if flags & FLAG_PADDED:
                payload = _unpad(payload)
            if flags & FLAG_PRIORITY:
                if len(payload) < 5:
                    raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "HEADERS too short for its priority")
                payload = payload[5:]
            self._blocks.begin(stream_id, payload, end_stream=bool(flags & FLAG_END_STREAM))
        else:
            self._blocks.add(payload)
        if flags & FLAG_END_HEADERS:
            end_stream = self._blocks.end_stream
            if self._engine.on_headers_block(stream_id, self._blocks.finish(), end_stream):
                self._barren = 0
            else:
                self._count_barren()

    def _control_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        engine = self._engine
        if kind == WINDOW_UPDATE:
            engine.on_window_update(stream_id, _U32.unpack(payload)[0] & 0x7FFFFFFF)
        elif kind == RST_STREAM:
            engine.on_rst_stream(stream_id, _U32.unpack(payload)[0])
        elif kind == SETTINGS and flags & FLAG_ACK:
            if payload:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a SETTINGS acknowledgement with a payload")
            engine.on_settings_ack()
        elif kind == SETTINGS:
            engine.on_settings(parse_settings(payload))
        elif kind == PING:
            engine.on_ping(payload, bool(flags & FLAG_ACK))
        elif kind == GOAWAY:
            engine.on_goaway(*parse_goaway(payload))
        # PRIORITY is obsolete (section 5.3.2), and unknown types are ignored (section 4.1).

    def _count_barren(self) -> None:
        self._barren += 1
        if self._barren > MAX_BARREN_FRAMES:
            start, self._barren_since = self._barren_since, time.monotonic()
            self._barren = 0
            if self._barren_since - start > FLOOD_PERIOD:
                return
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "the server floods us with frames that bring nothing")

    def made_progress(self) -> None:
        """Our own body data went out, so that the frames that allowed it were not idle."""
        self._barren = 0


def _unpad(payload: bytes) -> bytes:
    """The payload of a padded frame without its padding (section 6.1)."""
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "padding longer than its frame")
    return payload[1 : len(payload) - payload[0]]


def _is_cut_status_line(data: bytes) -> bool:
    """True for the beginning of an HTTP/1.x answer that does not say yet with which status."""
    return data.startswith(b"HTTP/") and len(data) < 256 and b"\n" not in data


def _check_first_bytes(data: bytes, peer: str) -> None:
    """Tell at once when the peer answers in HTTP/1.x or TLS: its text reads as the header of a huge frame."""
    if data.startswith(b"HTTP/"):
        line = data[:256].split(b"\r\n", 1)[0].split(b"\n", 1)[0].decode("latin-1")
        raise NotHTTP2Fault(f"{peer} does not speak HTTP/2: it answered {line!r}")
    if data.startswith(b"\x15\x03"):  # An alert (RFC 8446 section 6).
        raise NotHTTP2Fault(f"{peer} does not speak HTTP/2: it answered {data[:32]!r}, which is TLS: use https://")
