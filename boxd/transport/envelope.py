"""Messages in a body: a flag byte and a length before each (gRPC's `PROTOCOL-HTTP2.md`; Connect's envelopes)."""

from __future__ import annotations

import struct

from boxd.transport.errors import MessageTooLarge

PREFIX = struct.Struct(">BI")
PREFIX_SIZE = PREFIX.size


def envelope(message: bytes, flags: int = 0) -> bytes:
    """A message with its prefix."""
    return PREFIX.pack(flags, len(message)) + message


class EnvelopeReader:
    """Cuts a body into messages, however it is split. A message's length is checked before anything is kept."""

    __slots__ = ("_chunks", "_end_flag", "_end_limit", "_flags", "_limit", "_missing", "_prefix")

    def __init__(self, limit: int | None, end_flag: int = 0, end_limit: int = 0) -> None:
        """`limit` is the size of the largest message to accept, in bytes; `end_limit` that of a message with
        `end_flag`, which holds the trailers."""
        self._limit = limit
        self._end_flag = end_flag
        self._end_limit = end_limit
        self._prefix = b""
        # While a message is open: its flags, its pieces, and how many bytes it still lacks.
        self._flags = 0
        self._chunks: list[bytes] = []
        self._missing = 0

    @property
    def inside(self) -> bool:
        """True in the middle of a prefix or a message."""
        return self._missing > 0 or bool(self._prefix)

    def feed(self, data: bytes, out: list[tuple[int, bytes]]) -> None:
        """Append the messages that `data` completes, each as (flags, payload). Raises `MessageTooLarge`, after those
        that came before it."""
        position = 0
        if self._missing:
            if len(data) < self._missing:
                self._chunks.append(data)
                self._missing -= len(data)
                return
            position = self._missing
            out.append(self._complete(data[:position]))
        elif self._prefix:
            data = self._prefix + data
        size = len(data)
        while size - position >= PREFIX_SIZE:
            flags, length = PREFIX.unpack_from(data, position)
            limit = self._end_limit if flags and flags & self._end_flag else self._limit
            if limit is not None and length > limit:
                raise MessageTooLarge(f"the server sent a message of {length} bytes; the limit is {limit}")
            position += PREFIX_SIZE
            stop = position + length
            if stop > size:
                self._flags = flags
                self._missing = stop - size
                self._chunks.append(data[position:])
                position = size
                break
            out.append((flags, data[position:stop]))
            position = stop
        self._prefix = data[position:]

    def _complete(self, last: bytes) -> tuple[int, bytes]:
        self._chunks.append(last)
        message = b"".join(self._chunks)
        self._chunks = []
        self._missing = 0
        return self._flags, message
