"""Call metadata: what callers may send, and how it looks on the wire (gRPC's `PROTOCOL-HTTP2.md`)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from boxd.transport.http2.stream import Headers

#: Pairs of a lower-case name and a value; names ending in `-bin` carry bytes. Names may repeat.
Metadata: TypeAlias = Sequence[tuple[str, "str | bytes"]]

_NAME = re.compile(r"[0-9A-Za-z_.\-]+")
_VALUE = re.compile(r"[\x20-\x7e]*")
_RESERVED_PREFIXES = ("grpc-", "connect-", ":")
_RESERVED = frozenset(
    [
        "te",
        "content-type",
        "content-length",
        "host",
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
    ]
)


def encode_metadata(metadata: Iterable[tuple[str, str | bytes]]) -> Headers:
    """Metadata as header fields. Raises `ValueError` for what must not be sent, without quoting values, which may be
    secret."""
    return [_encode(name, value) for name, value in metadata]


def _encode(name: str, value: str | bytes) -> tuple[bytes, bytes]:
    if not _NAME.fullmatch(name):
        raise ValueError(f"metadata name {name!r}: use lower-case letters, digits, '-', '_' and '.'")
    name = name.lower()
    if name in _RESERVED or name.startswith(_RESERVED_PREFIXES):
        raise ValueError(f"metadata name {name!r} is reserved for the protocol")
    if name.endswith("-bin"):
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise ValueError(f"metadata {name!r} is binary: its value must be bytes, not {type(value).__name__}")
        from base64 import b64encode  # Few calls have binary metadata.

        return name.encode(), b64encode(value).rstrip(b"=")
    if not isinstance(value, str):
        raise ValueError(f"metadata {name!r} is text: its value must be str (binary ones end in '-bin')")
    if not _VALUE.fullmatch(value):
        raise ValueError(f"metadata {name!r}: the value has characters other than printable ASCII")
    return name.encode(), value.strip(" ").encode()


def decode_metadata(headers: Headers) -> list[tuple[str, str | bytes]]:
    """Received header fields as metadata. Never fails: what is not base64 in a `-bin` field is given as it came."""
    out: list[tuple[str, str | bytes]] = []
    for name, value in headers:
        if name.endswith(b"-bin"):
            out.extend((name.decode("latin-1"), decode_binary(part)) for part in value.split(b","))
        else:
            out.append((name.decode("latin-1"), value.decode("latin-1")))
    return out


def decode_binary(value: bytes) -> bytes:
    """The bytes of one `-bin` value, padded or not; the value itself where it is not base64."""
    from base64 import b64decode

    value = value.strip()
    try:
        return b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except ValueError:  # binascii.Error is one.
        return value


def split_user_agent(fields: Headers) -> tuple[bytes | None, Headers]:
    """A `user-agent` among header fields, the last if there are several, and the other fields."""
    agents = [value for name, value in fields if name == b"user-agent"]
    return (agents[-1] if agents else None), [one for one in fields if one[0] != b"user-agent"]


def header_list_size(headers: Headers) -> int:
    """The size of a header list as SETTINGS_MAX_HEADER_LIST_SIZE counts it (RFC 9113 section 6.5.2)."""
    return sum(len(name) + len(value) + 32 for name, value in headers)
