"""Bodies made of envelopes: what gRPC, gRPC-Web and Connect's streams have in common."""

from __future__ import annotations

from collections.abc import Callable

from boxd.transport.compression import gzip_compress
from boxd.transport.envelope import envelope
from boxd.transport.http2.stream import Headers
from boxd.transport.protocol import CallFormat, Content, RequestHead, ResponseReader


def pseudo_headers(head: RequestHead) -> Headers:
    """The fields that begin every request (RFC 9113 section 8.3.1)."""
    return [
        (b":method", b"POST"),
        (b":scheme", head.scheme.encode()),
        (b":path", head.path.encode()),
        (b":authority", head.authority.encode()),
    ]


def envelope_encoder(content: Content) -> Callable[[bytes], bytes]:
    """What puts messages in envelopes, compressed where the channel asks for it and it may be worth the time."""
    if content.compression is None:
        return envelope
    smallest = max(content.compress_from, 1)

    def encode(message: bytes) -> bytes:
        if len(message) < smallest:
            return envelope(message)
        return envelope(gzip_compress(message), 1)

    return encode


class EnvelopeFormat(CallFormat):
    """Calls whose heads do not depend on their messages, and whose messages each have an envelope."""

    def __init__(
        self,
        before: Headers,
        after: Headers,
        encode: Callable[[bytes], bytes],
        reader: Callable[[int | None], ResponseReader],
    ) -> None:
        self._before = before
        self._after = after
        self._encode = encode
        self._reader = reader

    def open(self, message: bytes | None) -> tuple[Headers, Headers, bytes]:
        return self._before, self._after, b"" if message is None else self._encode(message)

    def encode(self, message: bytes) -> bytes:
        return self._encode(message)

    def reader(self, limit: int | None) -> ResponseReader:
        return self._reader(limit)
