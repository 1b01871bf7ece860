"""Each row of the fault matrix and each rule has tests: found in the sources, so that it does not matter which run."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.transport.matrix.rows import ROWS
from tests.transport.matrix.rules import RULES

TESTS = Path(__file__).resolve().parents[2]


@cache
def marked_rows() -> frozenset[int]:
    """The rows that some test or parameter is marked with."""
    found: set[int] = set()
    for path in TESTS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.row":
                found.update(ast.literal_eval(argument) for argument in node.args)
    return frozenset(found)


@cache
def rules_with_tests() -> frozenset[int]:
    """The rules that some test is named after."""
    text = "\n".join(path.read_text() for path in TESTS.rglob("test_*.py"))
    return frozenset(map(int, re.findall(r"def test_r(\d+)_", text)))


@pytest.mark.parametrize("row", ROWS)
def test_row_has_tests(row: int) -> None:
    assert row in marked_rows(), f"no test is marked with row {row}: {ROWS[row].fault}"


def test_no_other_rows() -> None:
    assert marked_rows() <= set(ROWS)
    assert list(ROWS) == list(range(1, 56))


@pytest.mark.parametrize("rule", RULES)
def test_rule_has_a_test(rule: int) -> None:
    assert rule in rules_with_tests(), f"no test is named test_r{rule}_...: {RULES[rule]}"


def test_no_other_rules() -> None:
    assert rules_with_tests() <= set(RULES)
    assert list(RULES) == list(range(1, 82))
