"""HTTP/2 frames as bytes (RFC 9113 section 6): plain functions, one for each frame a client sends."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from boxd.transport.http2.codes import (
    CONTINUATION,
    DATA,
    FLAG_ACK,
    FLAG_END_HEADERS,
    FLAG_END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)

#: Length of every frame's header, in bytes.
HEADER_SIZE = 9

# Length (24 bits, as 16 + 8), type, flags, stream id.
FRAME_HEADER = struct.Struct(">HBBBI")
_SETTING = struct.Struct(">HI")
_U32 = struct.Struct(">I")
_GOAWAY = struct.Struct(">II")


def frame_header(length: int, kind: int, flags: int, stream_id: int) -> bytes:
    """The nine bytes before a frame's payload (section 4.1)."""
    return FRAME_HEADER.pack(length >> 8, length & 0xFF, kind, flags, stream_id)


def settings_frame(values: Mapping[int, int]) -> bytes:
    """A SETTINGS frame (section 6.5)."""
    payload = b"".join(_SETTING.pack(name, value) for name, value in values.items())
    return frame_header(len(payload), SETTINGS, 0, 0) + payload


def parse_settings(payload: bytes) -> list[tuple[int, int]]:
    """The parameters in a SETTINGS payload, whose length is a multiple of six, in their order."""
    return [(name, value) for name, value in _SETTING.iter_unpack(payload)]


SETTINGS_ACK = frame_header(0, SETTINGS, FLAG_ACK, 0)


def end_stream_frame(stream_id: int) -> bytes:
    """An empty DATA frame that half-closes a stream (section 6.1)."""
    return frame_header(0, DATA, FLAG_END_STREAM, stream_id)


def ping_frame(payload: bytes, *, ack: bool = False) -> bytes:
    """A PING frame with its eight bytes (section 6.7)."""
    return frame_header(8, PING, FLAG_ACK if ack else 0, 0) + payload


def rst_stream_frame(stream_id: int, code: int) -> bytes:
    """A RST_STREAM frame (section 6.4)."""
    return frame_header(4, RST_STREAM, 0, stream_id) + _U32.pack(code)


def window_update_frame(stream_id: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame; stream 0 is the connection (section 6.9)."""
    return frame_header(4, WINDOW_UPDATE, 0, stream_id) + _U32.pack(increment)


def goaway_frame(last_stream_id: int, code: int, debug: bytes = b"") -> bytes:
    """A GOAWAY frame (section 6.8)."""
    return frame_header(8 + len(debug), GOAWAY, 0, 0) + _GOAWAY.pack(last_stream_id, code) + debug


def parse_goaway(payload: bytes) -> tuple[int, int, bytes]:
    """A GOAWAY payload as (last stream id, error code, debug data)."""
    last_stream_id, code = _GOAWAY.unpack_from(payload)
    return last_stream_id & 0x7FFFFFFF, code, payload[8:]


def header_frames(stream_id: int, block: bytes, *, end_stream: bool, max_frame_size: int) -> bytes:
    """A header block as one HEADERS frame, and CONTINUATION frames where it is larger than a frame may be."""
    flags = FLAG_END_STREAM if end_stream else 0
    if len(block) <= max_frame_size:
        return frame_header(len(block), HEADERS, flags | FLAG_END_HEADERS, stream_id) + block
    out = [frame_header(max_frame_size, HEADERS, flags, stream_id), block[:max_frame_size]]
    for start in range(max_frame_size, len(block), max_frame_size):
        part = block[start : start + max_frame_size]
        last = start + max_frame_size >= len(block)
        out += (frame_header(len(part), CONTINUATION, FLAG_END_HEADERS if last else 0, stream_id), part)
    return b"".join(out)
