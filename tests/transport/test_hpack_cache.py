"""Header blocks are kept while the HPACK table stays the same: never longer, whatever the table does (RFC 7541). And
hpack's log does not show secrets."""

from __future__ import annotations

import logging
import random

import hpack
import pytest

from boxd.transport.http2.headers import HeaderBlockReader, HeaderEncoder
from boxd.transport.http2.stream import Headers
from tests.fixtures.pair import REQUEST

NAMES = [b"x-a", b"x-b", b"x-c", b":status", b"content-type"]


def some_headers(rng: random.Random) -> Headers:
    """Few names and values, so that lists repeat; some so long that one entry fills the table."""
    values = [b"1", b"2", b"200", b"l" * 1_500, b"m" * 3_000, b"n" * 3_900, b"o" * 4_100]
    weights = [8, 8, 8, 2, 2, 2, 1]
    return [(rng.choice(NAMES), rng.choices(values, weights)[0]) for _ in range(rng.randrange(1, 5))]


@pytest.mark.parametrize("seed", range(8))
def test_encoder_agrees_with_a_plain_decoder(seed: int) -> None:
    rng = random.Random(seed)
    encoder, decoder = HeaderEncoder(), hpack.Decoder(max_header_list_size=1 << 20)
    lists = [some_headers(rng) for _ in range(12)]
    for _ in range(200):
        headers = rng.choice(lists)
        assert [(bytes(n), bytes(v)) for n, v in decoder.decode(encoder.encode(headers), raw=True)] == headers
        if rng.random() < 0.02:
            size = rng.choice([0, 64, 1_000, 4_096])
            encoder.set_table_size(size)
            decoder.max_allowed_table_size = size
        if rng.random() < 0.05:
            lists[rng.randrange(len(lists))] = some_headers(rng)


@pytest.mark.parametrize("seed", range(8))
def test_reader_agrees_with_a_plain_encoder(seed: int) -> None:
    rng = random.Random(seed)
    encoder = hpack.Encoder()
    reader = HeaderBlockReader(max_list_size=1 << 20, max_block_size=1 << 20)
    lists = [some_headers(rng) for _ in range(12)]
    for _ in range(200):
        headers = rng.choice(lists)
        reader.begin(1, encoder.encode(headers), end_stream=False)
        assert reader.finish() == headers
        if rng.random() < 0.02:
            encoder.header_table_size = rng.choice([0, 64, 1_000, 4_096])
        if rng.random() < 0.05:
            lists[rng.randrange(len(lists))] = some_headers(rng)


def test_entry_that_takes_the_place_of_the_only_one() -> None:
    """The table holds one large entry; two are added at once, so that only the last stays. Its predecessor's memory may
    be used again, which must not make the table look unchanged."""
    reader = HeaderBlockReader(max_list_size=1 << 20, max_block_size=1 << 20)
    encoder = hpack.Encoder()
    reference = b"\xbe"  # Index 62: the newest dynamic entry.
    for number in range(200):
        first, last = b"%04d" % number + b"a" * 3_000, b"%04d" % number + b"b" * 3_000
        reader.begin(1, encoder.encode([(b"x", first), (b"x", last)], huffman=False), end_stream=False)
        reader.finish()
        for _ in range(2):
            reader.begin(1, reference, end_stream=False)
            assert reader.finish() == [(b"x", last)]


def test_cached_block_is_not_shared_with_its_users() -> None:
    """What one stream does to its header list is not seen by the next."""
    reader = HeaderBlockReader(max_list_size=1 << 20, max_block_size=1 << 20)
    encoder = hpack.Encoder()
    for _ in range(3):
        reader.begin(1, encoder.encode([(b"x", b"y")]), end_stream=False)
        headers = reader.finish()
        assert headers == [(b"x", b"y")]
        headers.append((b"z", b"z"))


@pytest.mark.parametrize("size", [0, 1, 126, 127, 128, 254, 255, 300, 5_000, 20_000])
@pytest.mark.parametrize("name", [b"authorization", b"cookie", b"proxy-authorization"])
def test_secrets_stay_out_of_the_table_and_of_the_log_of_hpack(
    name: bytes, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = (b"not-to-be-shown" * (size // 15 + 1))[:size]
    encoder, decoder = HeaderEncoder(), hpack.Decoder(max_header_list_size=1 << 20)
    blocks = [encoder.encode([(b":path", b"/shown"), (name, secret), (b"x-a", b"1")]) for _ in range(3)]
    assert "/shown" in caplog.text
    assert "not-to-be" not in caplog.text
    for block in blocks:
        fields = decoder.decode(block, raw=True)
        assert fields == [(b":path", b"/shown"), (b"x-a", b"1"), (name, secret)]
        assert isinstance(fields[-1], hpack.NeverIndexedHeaderTuple)
    assert len(decoder.header_table.dynamic_entries) == 2


@pytest.mark.parametrize(
    ("sizes", "announced"),
    [
        ([100], [100]),
        ([100, 100], [100]),
        ([0, 4_096], [0, 4_096]),
        ([100, 4_096, 100], [100]),
        ([200, 50, 4_096, 150], [50, 150]),
    ],
)
def test_changes_of_the_table_size_between_two_blocks(sizes: list[int], announced: list[int]) -> None:
    """The smallest and the last are announced, and none that the peer does not allow any more (RFC 7541, 4.2)."""
    encoder, decoder = HeaderEncoder(), hpack.Decoder()
    decoder.decode(encoder.encode(REQUEST))
    for size in sizes:
        encoder.set_table_size(size)
    decoder.max_allowed_table_size = sizes[-1]
    block = encoder.encode(REQUEST)
    updates = b"".join(_size_update(size) for size in announced)
    assert block.startswith(updates)
    assert block[len(updates)] & 0xE0 != 0x20
    assert [tuple(one) for one in decoder.decode(block, raw=True)] == REQUEST


def _size_update(size: int) -> bytes:
    if size < 31:
        return bytes((0x20 | size,))
    rest, out = size - 31, bytearray((0x3F,))
    while rest >= 128:
        out.append(rest & 127 | 128)
        rest >>= 7
    return bytes((*out, rest))
