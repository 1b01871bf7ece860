"""Metadata, to the server and from it (R9 to R14)."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxd.transport.metadata import decode_metadata, encode_metadata, header_list_size


def test_r9_names_are_lower_cased_and_values_trimmed() -> None:
    assert encode_metadata([("X-Name_1.a", "  value with  spaces ")]) == [(b"x-name_1.a", b"value with  spaces")]


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\n", "\xe4", "a/b", "\u017f", "\u0130", "\u212a", "a\0"])
def test_r9_bad_names(name: str) -> None:
    with pytest.raises(ValueError, match="metadata"):
        encode_metadata([(name, "x")])


@pytest.mark.parametrize("value", ["a\r\nb", "a\n", "\0", "ä", "\x7f", "tab\there", "\ud800"])
def test_r11_bad_values_are_refused_without_being_quoted(value: str) -> None:
    with pytest.raises(ValueError, match="x-secret") as caught:
        encode_metadata([("x-secret", "hunter2" + value)])
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        ":path",
        ":x",
        "grpc-timeout",
        "grpc-anything",
        "GRPC-Status",
        "connect-protocol-version",
        "te",
        "content-type",
        "content-length",
        "host",
        "connection",
        "keep-alive",
        "transfer-encoding",
        "upgrade",
        "proxy-connection",
    ],
)
def test_r11_reserved_names(name: str) -> None:
    with pytest.raises(ValueError, match="metadata"):
        encode_metadata([(name, "x")])


def test_r10_binary_is_sent_unpadded() -> None:
    assert encode_metadata([("x-bin", b"a"), ("y-bin", b""), ("z-bin", b"\xfb\xff")]) == [
        (b"x-bin", b"YQ"),
        (b"y-bin", b""),
        (b"z-bin", b"+/8"),
    ]


@pytest.mark.parametrize(("name", "value"), [("x-bin", "text"), ("x", b"bytes")])
def test_r10_kind_of_value_follows_the_name(name: str, value: str | bytes) -> None:
    with pytest.raises(ValueError, match="metadata"):
        encode_metadata([(name, value)])


@pytest.mark.parametrize(
    ("wire", "values"),
    [
        (b"YQ", [b"a"]),
        (b"YQ==", [b"a"]),
        (b"", [b""]),
        (b"YQ,YWI=", [b"a", b"ab"]),
        (b"YQ , YWI", [b"a", b"ab"]),
        (b"!!!", [b"!!!"]),
        (b"A", [b"A"]),
        (b"\xff\xfe", [b"\xff\xfe"]),
    ],
)
def test_r10_received_binary(wire: bytes, values: list[bytes]) -> None:
    assert decode_metadata([(b"x-bin", wire)]) == [("x-bin", value) for value in values]


def test_r12_duplicates_keep_their_order() -> None:
    pairs = [("b", "1"), ("a", "2"), ("b", "3"), ("a", "4")]
    assert decode_metadata(encode_metadata(pairs)) == pairs


def test_r13_values_outside_the_range_are_kept() -> None:
    assert decode_metadata([(b"x", b"caf\xe9\x01")]) == [("x", "caf\xe9\x01")]


@given(st.lists(st.tuples(st.just("k-bin"), st.binary())))
def test_r10_binary_round_trip(pairs: list[tuple[str, bytes]]) -> None:
    assert decode_metadata(encode_metadata(pairs)) == pairs


@given(st.binary(), st.binary())
def test_r13_decoding_never_fails(name: bytes, value: bytes) -> None:
    decode_metadata([(name, value), (name + b"-bin", value)])


def test_r14_size_counts_32_for_each_field() -> None:
    assert header_list_size([]) == 0
    assert header_list_size([(b"ab", b"cde"), (b"", b"")]) == 37 + 32


def test_r10_padding_is_never_needed() -> None:
    for size in range(50):
        data = bytes(range(size))
        assert decode_metadata([(b"x-bin", b64encode(data))]) == decode_metadata(
            [(b"x-bin", b64encode(data).rstrip(b"="))]
        )
