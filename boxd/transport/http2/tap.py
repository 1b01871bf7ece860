"""Reading the frames of a connection along with its two sides, for those who look at it from outside. Nothing here is
in the way of the engine: a tap gets the same bytes, and what it cannot read it passes over."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import hpack

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
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Setting,
    error_name,
)
from boxd.transport.http2.frames import FRAME_HEADER, HEADER_SIZE, parse_goaway, parse_settings
from boxd.transport.http2.secret import shown
from boxd.transport.http2.stream import Headers

_NAMES = {
    DATA: "DATA",
    HEADERS: "HEADERS",
    PRIORITY: "PRIORITY",
    RST_STREAM: "RST_STREAM",
    SETTINGS: "SETTINGS",
    PUSH_PROMISE: "PUSH_PROMISE",
    PING: "PING",
    GOAWAY: "GOAWAY",
    WINDOW_UPDATE: "WINDOW_UPDATE",
    CONTINUATION: "CONTINUATION",
}
_BLOCKS = (HEADERS, CONTINUATION)
_FLAGS = {
    DATA: {FLAG_END_STREAM: "END_STREAM", FLAG_PADDED: "PADDED"},
    HEADERS: {
        FLAG_END_STREAM: "END_STREAM",
        FLAG_END_HEADERS: "END_HEADERS",
        FLAG_PADDED: "PADDED",
        FLAG_PRIORITY: "PRIORITY",
    },
    CONTINUATION: {FLAG_END_HEADERS: "END_HEADERS"},
    SETTINGS: {FLAG_ACK: "ACK"},
    PING: {FLAG_ACK: "ACK"},
}
#: Frames longer than this are not gathered: only bodies, and what is no HTTP/2, are.
_LONGEST = 1 << 20


class Frame(NamedTuple):
    """A frame as it is shown: the payload of DATA is left out, and secrets are."""

    type: str
    stream: int
    flags: tuple[str, ...]
    length: int
    details: dict[str, object]
    """What is in it, by the kind of frame: `headers`, `settings`, `code`, `increment`, `last_stream`, `debug`."""


class Tap:
    """One side of a connection."""

    def __init__(self, sent: deque[Headers] | None = None) -> None:
        """For the client's side, `sent` are its header lists in their order, which are taken from there: a decoder of
        one's own would see the secrets in them. The server's are decoded."""
        self._sent = sent
        self._decoder = hpack.Decoder() if sent is None else None
        self._buffer = b""
        # What is left of the payload that is passed over.
        self._skip = 0 if sent is None else len(PREFACE)
        self._block: list[bytes] = []

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are complete with `data`, which may be cut anywhere. DATA is told with its first byte."""
        data = self._buffer + data
        frames: list[Frame] = []
        position = 0
        while True:
            step = min(self._skip, len(data) - position)
            position += step
            self._skip -= step
            if len(data) - position < HEADER_SIZE:
                break
            high, low, kind, flags, stream = FRAME_HEADER.unpack_from(data, position)
            length = high << 8 | low
            start = position + HEADER_SIZE
            payload = b""
            if kind == DATA or kind not in _NAMES or length > _LONGEST:
                self._skip = length
                position = start
            elif len(data) - start < length:
                break
            else:
                position = start + length
                payload = data[start:position]
            frames.append(self._frame(kind, flags, stream & 0x7FFFFFFF, length, payload))
        self._buffer = data[position:]
        return frames

    def _frame(self, kind: int, flags: int, stream: int, length: int, payload: bytes) -> Frame:
        names = _FLAGS.get(kind, {})
        set_ = [1 << bit for bit in range(8) if flags >> bit & 1]
        shown_flags = tuple(names.get(bit, f"0x{bit:x}") for bit in set_)
        details: dict[str, object] = {}
        if len(payload) == length:
            if kind in _BLOCKS:
                details = self._headers(kind, flags, payload)
            elif length:
                details = _details(kind, payload)
        return Frame(_NAMES.get(kind, f"0x{kind:x}"), stream, shown_flags, length, details)

    def _headers(self, kind: int, flags: int, payload: bytes) -> dict[str, object]:
        """The header list, with the frame in which its block ends."""
        if kind == HEADERS:
            pad = payload[0] if flags & FLAG_PADDED and payload else 0
            start = bool(flags & FLAG_PADDED) + (5 if flags & FLAG_PRIORITY else 0)
            self._block = [payload[start : len(payload) - pad]]
        else:
            self._block.append(payload)
        if not flags & FLAG_END_HEADERS:
            return {}
        block, self._block = b"".join(self._block), []
        fields = self._decode(block) if self._sent is None else self._sent.popleft() if self._sent else None
        return {} if fields is None else {"headers": [shown(field) for field in fields]}

    def _decode(self, block: bytes) -> Headers | None:
        if self._decoder is None:
            return None
        try:
            return list(self._decoder.decode(block, raw=True))
        except Exception:  # The engine decodes the same and says what is wrong; from here on the table is unknown.
            self._decoder = None
            return None


def _details(kind: int, payload: bytes) -> dict[str, object]:
    """What stands in a frame of the connection's, as far as it is well-formed."""
    number = int.from_bytes(payload[:4], "big")
    if kind == SETTINGS and len(payload) % 6 == 0:
        return {"settings": {_setting(name): value for name, value in parse_settings(payload)}}
    if kind == RST_STREAM:
        return {"code": error_name(number)}
    if kind == WINDOW_UPDATE:
        return {"increment": number & 0x7FFFFFFF}
    if kind == GOAWAY and len(payload) >= 8:
        last, code, debug = parse_goaway(payload)
        return {"last_stream": last, "code": error_name(code), "debug": debug[:256].decode("latin-1")}
    return {}


def _setting(name: int) -> str:
    try:
        return Setting(name).name
    except ValueError:
        return f"0x{name:x}"
