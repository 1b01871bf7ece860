from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxd.sizes import parse_size


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("8G", 8 << 30),
        ("512M", 512 << 20),
        ("1.5T", 3 << 39),
        ("10GiB", 10 << 30),
        ("10GB", 10 << 30),
        ("10Gi", 10 << 30),
        (" 2 k ", 2048),
        ("0.5K", 512),
        ("1.3K", 1331),
        ("1024", 1024),
        ("7B", 7),
        ("1P", 1 << 50),
        (0, 0),
        ("0", 0),
        (1 << 40, 1 << 40),
        (2**64 - 1, 2**64 - 1),
    ],
)
def test_sizes_are_powers_of_1024(value: str | int, size: int) -> None:
    assert parse_size(value) == size


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "G",
        "8X",
        "8GG",
        "-1",
        "-1G",
        "1e3",
        "1,5G",
        "1.G",
        ".5G",
        "8iB",
        "0x10",
        "\u0668G",
        "1.5.2G",
        "NaN",
        "inf",
        "0.0001",
        "99999999P",
        "9" * 100,
        -1,
        2**64,
        1.5,
        True,
        None,
        b"8G",
    ],
)
def test_a_bad_size_is_a_value_error_that_names_it(value: Any) -> None:
    with pytest.raises(ValueError, match="is not a size") as caught:
        parse_size(value)
    assert repr(value) in str(caught.value)
    assert "'8G'" in str(caught.value)


@given(st.integers(0, 2**24 - 1), st.sampled_from("KMGT"), st.sampled_from(["", "B", "iB", "i", "b"]))
def test_whole_sizes(count: int, unit: str, suffix: str) -> None:
    assert parse_size(f"{count}{unit}{suffix}") == count * 1024 ** ("KMGT".index(unit) + 1)


@given(st.text(max_size=12))
def test_any_text_is_a_size_or_a_value_error(text: str) -> None:
    try:
        assert parse_size(text) >= 0
    except ValueError:
        return
