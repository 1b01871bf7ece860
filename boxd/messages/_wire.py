"""Pieces of protobuf's binary format that the messages' codecs share.

What is common, a number or a length below 128, a tag below 16384, is written out in the codecs: a call per field would
double their time. These functions do the rest.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import TypeVar

VARINT, FIXED64, BYTES, GROUP, END_GROUP, FIXED32 = range(6)
"""Wire types: the low three bits of a tag."""

DEPTH = 100
"""How many groups may be inside each other; protobuf's own limit."""

Kind = TypeVar("Kind")

_DOUBLE = struct.Struct("<d")
_SMALL = tuple(bytes((value,)) for value in range(128))


# Encoding. `tag` is an encoded tag, and `field` is what errors name.


def varint(value: int) -> bytes:
    """A number that is not negative."""
    if value < 128:
        return _SMALL[value]
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _integer(low: int, high: int) -> Callable[[int, str], bytes]:
    def encode(value: int, field: str) -> bytes:
        try:
            if 0 <= value < 128:
                return _SMALL[value]
            if low <= value <= high:
                # A negative number takes the ten bytes of its 64-bit two's complement, whatever its type.
                return varint(value if value >= 0 else value + (1 << 64))
        except TypeError:
            raise _wrong_type(field, "int", value) from None
        raise ValueError(f"{field} is {value}; it must be between {low} and {high}")

    return encode


int32 = _integer(-(1 << 31), (1 << 31) - 1)
int64 = _integer(-(1 << 63), (1 << 63) - 1)
uint32 = _integer(0, (1 << 32) - 1)
uint64 = _integer(0, (1 << 64) - 1)


def double(value: float, field: str) -> bytes:
    """The eight bytes of a number."""
    try:
        return _DOUBLE.pack(value)
    except struct.error:
        raise _wrong_type(field, "float", value) from None


def text(tag: bytes, value: str, field: str) -> bytes:
    """A field of text."""
    try:
        raw = value.encode()
    except AttributeError:
        raise _wrong_type(field, "str", value) from None
    except UnicodeEncodeError as error:
        raise ValueError(f"{field} cannot be encoded as UTF-8: {error.reason} at index {error.start}") from None
    return tag + varint(len(raw)) + raw


def raw(tag: bytes, value: bytes, field: str) -> tuple[bytes, bytes]:
    """A field of bytes in two pieces, so that a large value is not copied before the message is put together."""
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise _wrong_type(field, "bytes", value)
    return tag + varint(memoryview(value).nbytes), value


def nested(tag: bytes, value: bytes) -> bytes:
    """A field that holds an encoded message."""
    return tag + varint(len(value)) + value


def submessage(tag: bytes, value: Kind, kind: type[Kind], field: str) -> bytes:
    """A field that holds a message."""
    if not isinstance(value, kind):
        raise _wrong_type(field, kind.__name__, value)
    return nested(tag, bytes(value))  # type: ignore[call-overload]  # a message has `__bytes__`


def entries(tag: bytes, values: Mapping[str, str], field: str) -> list[bytes]:
    """A map from text to text: for each key, a message with the fields 1 and 2."""
    return [nested(tag, text(b"\x0a", key, field) + text(b"\x12", value, field)) for key, value in values.items()]


def _wrong_type(field: str, wanted: str, value: object) -> TypeError:
    # Without the value, which may be a secret.
    return TypeError(f"{field} must be of type {wanted}, not {type(value).__name__}")


# Decoding. Where data ends too early, an IndexError says so: that is what indexing gives, and codecs turn it into a
# ValueError of their message with `malformed`.


class Malformed(Exception):
    """Bytes that are no message, and why."""


def malformed(name: str, error: Exception) -> ValueError:
    """The error for the caller of a codec, which names the message."""
    if isinstance(error, IndexError):
        return ValueError(f"not a {name}: the data ends within a field")
    if isinstance(error, UnicodeDecodeError):
        return ValueError(f"not a {name}: a text is not UTF-8: {error.reason} at its byte {error.start}")
    return ValueError(f"not a {name}: {error}")


def more(data: bytes, at: int, value: int) -> tuple[int, int]:
    """The rest of a varint that is longer than one byte.

    Args:
        data: Holds the varint.
        at: Where its second byte is.
        value: Its first byte.

    Returns:
        The number, and where the varint ends.
    """
    value -= 128
    for shift in (7, 14, 21, 28, 35, 42, 49, 56):
        byte = data[at]
        at += 1
        if byte < 128:
            return value | byte << shift, at
        value |= (byte - 128) << shift
    if data[at] > 1:
        raise Malformed("a number is longer than 64 bits")
    return value | data[at] << 63, at + 1


def more_int32(data: bytes, at: int, value: int) -> tuple[int, int]:
    """`more` for a signed number; the bits that are too many are dropped, as protobuf drops them."""
    value, at = more(data, at, value)
    value &= 0xFFFFFFFF
    return (value - (1 << 32) if value >> 31 else value), at


def more_int64(data: bytes, at: int, value: int) -> tuple[int, int]:
    """`more` for a signed number."""
    value, at = more(data, at, value)
    return (value - (1 << 64) if value >> 63 else value), at


def more_uint32(data: bytes, at: int, value: int) -> tuple[int, int]:
    """`more` for a number of 32 bits; the bits that are too many are dropped, as protobuf drops them."""
    value, at = more(data, at, value)
    return value & 0xFFFFFFFF, at


def eight_bytes(data: bytes, at: int) -> float:
    """The number of a field of the type double."""
    if at + 8 > len(data):
        raise IndexError
    number: float = _DOUBLE.unpack_from(data, at)[0]
    return number


def text_entry(data: bytes) -> tuple[str, str]:
    """Key and value of a map from text to text, which is a message with the fields 1 and 2."""
    at, end, key, value = 0, len(data), b"", b""
    while at < end:
        tag = data[at]
        if tag != 0x0A and tag != 0x12:
            at, _ = unknown(data, at, (0x0A, 0x12), None)
            continue
        size = data[at + 1]
        at += 2
        if size > 127:
            size, at = more(data, at, size)
        if tag == 0x0A:
            key = data[at : at + size]
        else:
            value = data[at : at + size]
        at += size
    if at > end:
        raise IndexError
    return key.decode(), value.decode()


def unknown(data: bytes, at: int, tags: tuple[int, ...], kept: list[bytes] | None) -> tuple[int, list[bytes]]:
    """What is left when a codec does not know a tag: fields of a newer contract, or nonsense.

    Args:
        data: The message.
        at: Where the tag is.
        tags: The tags that the codec knows.
        kept: What was kept of the message so far; None is nothing.

    Returns:
        Where the next field is that the codec knows, and what is kept now: all between goes in as one piece.
    """
    start = at
    while at < len(data):
        tag, after = _tag(data, at)
        if tag in tags:
            if after - at > (tag.bit_length() + 6) // 7:
                raise Malformed("a tag is longer than it needs to be")
            break
        if any(tag >> 3 == known >> 3 for known in tags):
            raise Malformed(f"field {tag >> 3} has the wire type {tag & 7}, which is not that of its type")
        at = _skip(data, after, tag)
    kept = [] if kept is None else kept
    kept.append(data[start:at])
    return at, kept


def _tag(data: bytes, at: int) -> tuple[int, int]:
    tag, after = data[at], at + 1
    if tag > 127:
        tag, after = more(data, after, tag)
    if after - at > 5 or tag >> 32 or not tag >> 3:
        raise Malformed("a tag has no valid field number")
    return tag, after


def _skip(data: bytes, at: int, tag: int) -> int:
    """Where the field ends whose tag ends at `at`."""
    groups: list[int] = []
    while True:
        wire = tag & 7
        if wire == VARINT:
            at += 1
            if data[at - 1] > 127:
                _, at = more(data, at, data[at - 1])
        elif wire == BYTES:
            size, at = data[at], at + 1
            if size > 127:
                size, at = more(data, at, size)
            at += size
        elif wire == GROUP and len(groups) < DEPTH:
            groups.append(tag >> 3)
        elif wire == END_GROUP and groups and groups[-1] == tag >> 3:
            groups.pop()
        elif wire in (FIXED64, FIXED32):
            at += 8 if wire == FIXED64 else 4
        else:
            raise Malformed(f"field {tag >> 3} has the wire type {wire}, which is not expected there")
        if at > len(data):
            raise IndexError
        if not groups:
            return at
        tag, at = _tag(data, at)
