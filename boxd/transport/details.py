"""The rich error model: details of an error in `grpc-status-details-bin`, a `google.rpc.Status` message. It is read by
hand, since its three fields need no generated code."""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def parse_details(status: bytes) -> list[tuple[str, bytes]]:
    """The details of a `google.rpc.Status` as (message type, encoded message). Raises `ValueError` for other bytes."""
    return [_any(value) for number, value in _fields(status) if number == 3]


def _any(message: bytes) -> tuple[str, bytes]:
    """A `google.protobuf.Any`: the type is what follows the last slash of its URL."""
    url = value = b""
    for number, field in _fields(message):
        if number == 1:
            url = field
        elif number == 2:
            value = field
    return url.decode().rpartition("/")[2], value


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The length-delimited fields of a protobuf message; others are skipped."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        kind = key & 7
        if kind == _VARINT:
            _, position = _varint(message, position)
            continue
        if kind == _BYTES:
            size, position = _varint(message, position)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"not a protobuf message: wire type {kind}")
        end = position + size
        if end > len(message):
            raise ValueError("not a protobuf message: it is cut short")
        if kind == _BYTES:
            yield key >> 3, message[position:end]
        position = end


def _varint(message: bytes, position: int) -> tuple[int, int]:
    """A varint at a position, and the position after it."""
    value = shift = 0
    while position < len(message) and shift < 70:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise ValueError("not a protobuf message: a number without an end")
