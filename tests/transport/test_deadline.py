"""Deadlines and the `grpc-timeout` header (R5, R6)."""

from __future__ import annotations

import math
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxd.transport.deadline import Deadline, grpc_timeout

UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


def seconds(header: bytes) -> float:
    match = re.fullmatch(r"([0-9]{1,8})([HMSmun])", header.decode())
    assert match, header
    assert int(match[1]) > 0
    return int(match[1]) * UNITS[match[2]]


@pytest.mark.parametrize(
    ("timeout", "header"),
    [
        (1e-12, b"1n"),
        (1e-9, b"1n"),
        (0.05, b"50000000n"),
        (0.099999999, b"99999999n"),
        (0.1, b"100000u"),
        (1, b"1000000u"),
        (99.999999, b"99999999u"),
        (100, b"100000m"),
        (99_999.999, b"99999999m"),
        (100_000, b"100000S"),
        (99_999_999, b"99999999S"),
        (100_000_000, b"1666667M"),
        (99_999_999 * 60, b"99999999M"),
        (99_999_999 * 60 + 1, b"1666667H"),
        (1e30, b"99999999H"),
        (math.inf, b"99999999H"),
        (0, b"1n"),
        (-1, b"1n"),
    ],
)
def test_r5_format(timeout: float, header: bytes) -> None:
    assert grpc_timeout(timeout) == header


@given(st.floats(min_value=1e-9, max_value=3e11))
def test_r5_rounds_up_with_the_finest_unit(timeout: float) -> None:
    value = seconds(grpc_timeout(timeout))
    assert value >= timeout * (1 - 1e-9)
    assert value - timeout <= max(1.1e-9, timeout * 1.1e-5)


def test_r33_deadline_is_one_instant(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    deadline = Deadline(5)
    assert deadline.remaining() == 5
    now = 103.0
    assert deadline.remaining() == 2
    now = 106.0
    assert deadline.remaining() == -1


def test_r6_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="timeout"):
        Deadline(math.nan)
