"""Prints the fault matrix at the end of a test run: each row, how many tests it has, and whether they passed."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.transport.matrix.rows import ROWS


class MatrixReport:
    """A plugin of pytest that follows the tests marked with `row`."""

    def __init__(self) -> None:
        self._rows: dict[str, set[int]] = {}
        self._passed: Counter[int] = Counter()
        self._bad: dict[int, set[str]] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            rows = {number for marker in item.iter_markers("row") for number in marker.args}
            if not rows <= set(ROWS):
                raise pytest.UsageError(f"{item.nodeid}: the fault matrix has no row {sorted(rows - set(ROWS))}")
            if rows:
                self._rows[item.nodeid] = rows

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for row in self._rows.get(report.nodeid, ()):
            if report.failed:
                self._bad.setdefault(row, set()).add(report.nodeid)
            elif report.when == "call" and report.passed:
                self._passed[row] += 1

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The table, when tests of more than a row ran."""
        if len(self._passed.keys() | self._bad.keys()) < 2:
            return
        terminalreporter.section("fault matrix")
        for number, row in ROWS.items():
            bad = len(self._bad.get(number, ()))
            good = self._passed[number] - bad if bad else self._passed[number]
            verdict = "FAIL" if bad else "pass" if good else "-"
            cases = f"{bad} of {max(good, 0) + bad}" if bad else str(good)
            terminalreporter.line(f"{number:>3}  {verdict:4} {cases:>8}  {row.fault}: {row.expected}")
