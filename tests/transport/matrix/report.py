"""Prints the fault matrix at the end of a test run: each row, how many tests it has, and whether they passed."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.transport.matrix.rows import ROWS


class MatrixReport:
    """A plugin of pytest that follows the tests marked with `row`."""

    def __init__(self) -> None:
        self._rows: dict[str, set[int]] = {}
        self._passed: dict[str, bool] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            rows = {number for marker in item.iter_markers("row") for number in marker.args}
            if not rows <= set(ROWS):
                raise pytest.UsageError(f"{item.nodeid}: the fault matrix has no row {sorted(rows - set(ROWS))}")
            if rows:
                self._rows[item.nodeid] = rows

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.nodeid in self._rows and (report.failed or (report.when == "call" and report.passed)):
            self._passed[report.nodeid] = report.passed and self._passed.get(report.nodeid, True)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The table, when tests of more than a row ran."""
        counts = {number: Counter[bool]() for number in ROWS}
        for test, passed in self._passed.items():
            for number in self._rows[test]:
                counts[number][passed] += 1
        if sum(map(bool, counts.values())) < 2:
            return
        terminalreporter.section("fault matrix")
        terminalreporter.line("row  result  tests  fault: what is expected")
        for number, row in ROWS.items():
            count = counts[number]
            result = f"{count[False]} FAIL" if count[False] else "pass" if count else "-"
            terminalreporter.line(f"{number:>3}  {result:>6}  {sum(count.values()):>5}  {row.fault}: {row.expected}")
