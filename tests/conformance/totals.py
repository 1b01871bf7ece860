"""The totals of a conformance run, from the client's list of cases and the runner's report.

python -m tests.conformance.totals MODE CASES REPORT
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

_FAILED = re.compile(r"^FAILED: (.*):$", re.MULTILINE)
_SUMMARY = re.compile(r"^(\d+) passed, (\d+) failed$", re.MULTILINE)
_HEADINGS = ("protocol", "HTTP", "codec", "TLS")


def main(mode: str, cases: Path, report: Path) -> int:
    """Print the table; returns the exit status. Fails too where the two lists do not agree, or nothing was run."""
    text = report.read_text()
    failed = set(_FAILED.findall(text))
    ran: Counter[tuple[str, ...]] = Counter()
    bad: Counter[tuple[str, ...]] = Counter()
    for line in cases.read_text().splitlines() if cases.exists() else []:
        *kind, name = line.split("\t")
        ran[tuple(kind)] += 1
        bad[tuple(kind)] += name in failed
    print(f"\n== conformance, {mode}")
    if failed or not ran:
        print(text)
    print("{:10} {:5} {:6} {:12} {:>7} {:>7}".format(*_HEADINGS, "passed", "failed"))
    for kind in sorted(ran):
        print("{:10} {:5} {:6} {:12} {:7} {:7}".format(*kind, ran[kind] - bad[kind], bad[kind]))
    print(f"{'all':36} {ran.total() - bad.total():7} {bad.total():7}")
    summary = _SUMMARY.search(text)
    if summary is None or (int(summary[1]), int(summary[2])) != (ran.total() - bad.total(), bad.total()):
        print("the runner reports other totals: " + (summary[0] if summary else "none"))
        return 1
    return 1 if bad.total() or not ran else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
