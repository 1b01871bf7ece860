from __future__ import annotations

import sys

import pytest

from boxd import update_notice
from boxd.update_notice import is_newer, note_latest, parse_version

ORDER = [
    "0.9",
    "1.0.dev1",
    "1.0.dev2",
    "1.0a1.dev1",
    "1.0a1",
    "1.0a1.post1",
    "1.0b1",
    "1.0rc1",
    "1.0",
    "1.0.post1",
    "1.0.1.dev1",
    "1.0.1",
    "1.9",
    "1.10",
    "2",
]


@pytest.mark.parametrize("low", range(len(ORDER)))
def test_order(low: int) -> None:
    for high in range(len(ORDER)):
        assert is_newer(ORDER[high], ORDER[low]) is (high > low)


@pytest.mark.parametrize(
    ("one", "other"), [("1.0", "1"), ("1.0.0", "1.0"), ("v1.2", "1.2"), ("1RC1", "1c1"), ("1+x", "1")]
)
def test_equal(one: str, other: str) -> None:
    assert parse_version(one) == parse_version(other)


@pytest.mark.parametrize(
    "text", ["", "latest", "1.x", "1..2", "1.0-", "-1", "1 2", "1\x1b[2J", "1." + "9" * 100, "\uff11.0"]
)
def test_unparseable(text: str) -> None:
    assert parse_version(text) is None
    assert not is_newer(text, "0.1")


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update_notice, "_noted", False)
    monkeypatch.setattr(update_notice, "__version__", "1.2.0")


@pytest.mark.usefixtures("fresh")
def test_one_note_in_a_process(capsys: pytest.CaptureFixture[str]) -> None:
    for latest in ("1.2.0", "1.1.9", "1.2.0.dev3", "garbage", "1.2.0rc1"):
        note_latest(latest)
    assert capsys.readouterr().err == ""
    note_latest("1.3.0")
    note_latest("1.4.0")
    text = capsys.readouterr().err
    assert "1.3.0" in text
    assert "1.2.0" in text
    assert text.count("\n") == 1


@pytest.mark.usefixtures("fresh")
def test_a_closed_stderr_does_not_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        def write(self, text: str) -> int:
            raise ValueError("I/O operation on closed file")

    monkeypatch.setattr(sys, "stderr", Closed())
    note_latest("9.0")


@pytest.mark.usefixtures("fresh")
def test_no_stderr_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    note_latest("9.0")
