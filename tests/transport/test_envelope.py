"""Cutting a body into messages (R15, R18, R19)."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxd.transport.envelope import EnvelopeReader, envelope
from boxd.transport.errors import MessageTooLarge
from boxd.transport.status import StatusCode

MESSAGES = [(0, b""), (0, b"a"), (1, b"bc" * 10), (0, b""), (0, bytes(300)), (0, b"last")]
BODY = b"".join(envelope(payload, flags) for flags, payload in MESSAGES)


def read(*pieces: bytes, limit: int | None = None) -> tuple[list[tuple[int, bytes]], EnvelopeReader]:
    reader = EnvelopeReader(limit)
    out: list[tuple[int, bytes]] = []
    for piece in pieces:
        reader.feed(piece, out)
    return out, reader


def test_r15_prefix() -> None:
    assert envelope(b"abc") == b"\0\0\0\0\3abc"
    assert envelope(b"", 1) == b"\1\0\0\0\0"
    assert envelope(bytes(1 << 17))[:5] == b"\0\0\2\0\0"


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 100, 10_000])
def test_r15_any_pieces(size: int) -> None:
    out, reader = read(*[BODY[start : start + size] for start in range(0, len(BODY), size)])
    assert out == MESSAGES
    assert not reader.inside


def test_r15_cut_in_two_everywhere() -> None:
    for cut in range(len(BODY) + 1):
        assert read(BODY[:cut], BODY[cut:])[0] == MESSAGES


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=40)), max_size=20), st.randoms(use_true_random=False))
def test_r15_random_pieces(messages: list[tuple[int, bytes]], rng: random.Random) -> None:
    body = b"".join(envelope(payload, flags) for flags, payload in messages)
    pieces = []
    while body:
        size = rng.randrange(0, 12)
        pieces.append(body[:size])
        body = body[size:]
    assert read(*pieces)[0] == messages


@pytest.mark.parametrize("cut", range(1, 9))
def test_r20_inside_is_true_within_a_message(cut: int) -> None:
    reader = read(envelope(b"abcd")[:cut])[1]
    assert reader.inside


def test_r18_limit_is_checked_on_the_prefix() -> None:
    out: list[tuple[int, bytes]] = []
    reader = EnvelopeReader(10)
    with pytest.raises(MessageTooLarge) as caught:
        reader.feed(envelope(bytes(10)) + struct.pack(">BI", 0, 11), out)
    assert caught.value.code == StatusCode.RESOURCE_EXHAUSTED
    assert out == [(0, bytes(10))], "a message before the large one is lost"


def test_r18_four_gigabytes_are_refused() -> None:
    with pytest.raises(MessageTooLarge):
        read(b"\0\xff\xff\xff\xff", limit=4 << 20)


def test_r18_no_limit() -> None:
    assert len(read(envelope(bytes(5 << 20)))[0][0][1]) == 5 << 20
