"""Message compression. Each message is a compression context of its own."""

from __future__ import annotations

import zlib

from boxd.transport.errors import DecodeFailed, MessageTooLarge, ProtocolViolation

#: What this client can decode, as `grpc-accept-encoding` lists it.
ACCEPTED = b"identity,gzip"

_GZIP = 31  # zlib's window bits for a gzip header and trailer


def gzip_compress(data: bytes) -> bytes:
    """`data` as a gzip member; level 1, since speed matters more than the last percent."""
    compressor = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
    return compressor.compress(data) + compressor.flush()


def gzip_decompress(data: bytes, limit: int | None) -> bytes:
    """The content of one gzip member, never more than `limit` bytes in memory. Raises `MessageTooLarge` beyond it and
    `DecodeFailed` for anything that is not exactly one whole member."""
    if not data:
        return b""
    decompressor = zlib.decompressobj(_GZIP)
    try:
        out = decompressor.decompress(data, 0 if limit is None else limit + 1)
    except zlib.error as exc:
        raise DecodeFailed(f"a compressed message cannot be decompressed: {exc}") from exc
    if limit is not None and len(out) > limit:
        raise MessageTooLarge(f"a compressed message holds more than the limit of {limit} bytes")
    if not decompressor.eof:
        raise DecodeFailed("a compressed message is cut short")
    if decompressor.unused_data:
        raise DecodeFailed("bytes follow the end of a compressed message")
    return out


def message_content(flags: int, payload: bytes, encoding: bytes, limit: int | None) -> bytes:
    """What is in an enveloped message: the payload as it is (flags 0), or one compressed with the response's `encoding`
    (flags 1). Raises `ProtocolViolation` for other flags, and what `gzip_decompress` raises."""
    if flags == 0:
        return payload
    if flags != 1:
        raise ProtocolViolation(f"the server sent a message with the flags {flags:#x}")
    if encoding == b"identity":
        raise ProtocolViolation("the server sent a compressed message without saying how it is compressed")
    return gzip_decompress(payload, limit)
