"""Decompression within limits, of exactly one gzip member (R17 to R19)."""

from __future__ import annotations

import gzip
import random
import tracemalloc
import zlib

import pytest

from boxd.transport.compression import gzip_compress, gzip_decompress
from boxd.transport.errors import DecodeFailed, MessageTooLarge
from boxd.transport.status import StatusCode

TEXT = b"some text, some text, some text; " * 50


def test_r17_round_trip() -> None:
    for data in (b"", b"x", TEXT, random.Random(1).randbytes(200_000)):
        assert gzip_decompress(gzip_compress(data), None) == data
        assert gzip.decompress(gzip_compress(data)) == data
        assert gzip_decompress(gzip.compress(data), len(data)) == data


def test_r19_nothing_is_not_decompressed() -> None:
    assert gzip_decompress(b"", 10) == b""


@pytest.mark.parametrize("limit", [None, 1 << 20])
@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(TEXT)[:-1],
        gzip.compress(TEXT)[:-8],
        gzip.compress(TEXT)[:20],
        gzip.compress(TEXT)[:5],
        gzip.compress(TEXT) + b"\0",
        gzip.compress(TEXT) + gzip.compress(TEXT),
        zlib.compress(TEXT),
        b"not gzip at all",
        b"\x1f\x8b" + bytes(30),
        gzip.compress(TEXT)[:-8] + b"\0\0\0\0" + gzip.compress(TEXT)[-4:],
        gzip.compress(TEXT)[:-4] + b"\0\0\0\0",
    ],
    ids=["cut-1", "cut-trailer", "cut-body", "cut-head", "junk", "second", "zlib", "text", "zeros", "crc", "length"],
)
def test_r17_anything_but_one_whole_member(data: bytes, limit: int | None) -> None:
    with pytest.raises(DecodeFailed) as caught:
        gzip_decompress(data, limit)
    assert caught.value.code == StatusCode.INTERNAL


@pytest.mark.parametrize("limit", [0, 1, len(TEXT) - 1])
def test_r18_limit_is_on_the_content(limit: int) -> None:
    with pytest.raises(MessageTooLarge) as caught:
        gzip_decompress(gzip.compress(TEXT), limit)
    assert caught.value.code == StatusCode.RESOURCE_EXHAUSTED


def test_r18_limit_met_exactly() -> None:
    assert gzip_decompress(gzip.compress(TEXT), len(TEXT)) == TEXT


def test_r18_bomb_costs_no_more_than_the_limit() -> None:
    bomb = gzip.compress(bytes(64 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(MessageTooLarge):
            gzip_decompress(bomb, 1 << 20)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
