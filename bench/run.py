"""Runs the rows of `client.py` with two clients in turn against one server, and prints medians, spread and ratios.

python run.py --ours PYTHON --peer PYTHON --server PROGRAM [--rounds N] [--rows NAME ...] [--json]
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

CLIENT = Path(__file__).with_name("client.py")
TIMEOUT = 60


@dataclass(frozen=True)
class Row:
    """What is measured, and what ours should be in relation to the peer's (None: no goal)."""

    name: str
    label: str
    unit: str
    goal: float | None
    higher_is_better: bool = False


ROWS = (
    Row("import_ms", "import", "ms", 0.5),
    Row("first_answer_ms", "import to first answer", "ms", 0.65),
    Row("unary_async_us", "unary call, async, p50", "us", 0.65),
    Row("unary_blocking_us", "unary call, blocking, p50", "us", 0.8),
    Row("unary_cpu_us", "CPU for a unary call", "us", 0.7),
    Row("unary_100_per_s", "unary calls, 100 in flight", "1/s", 1.2, True),
    Row("exec_us", "exec, one-shot, p50", "us", 0.45),
    Row("stream_64k_mb_s", "exec stream, 64 KiB chunks", "MB/s", 2.5, True),
    Row("stream_256_per_s", "exec stream, 256 B chunks", "1/s", 6, True),
    Row("echo_us", "stdin echo, p50", "us", 0.75),
    Row("upload_mb_s", "upload of 100 MB", "MB/s", 2.5, True),
    Row("download_100_mb_s", "download of 100 MB", "MB/s", None, True),
    Row("download_3_mb_s", "download of 3 MB", "MB/s", 1, True),
    Row("list_1000_ms", "list of 1,000 machines", "ms", 1),
    Row("peak_mb", "peak memory", "MB", 0.5),
    Row("streams_1000_ms", "1,000 exec streams at once", "ms", None),
    Row("streams_1000_kb_each", "memory for each of them", "kB", None),
)


def measure(python: str, row: str, port: int) -> float | None:
    """One row in a process of its own; None where the client cannot do it."""
    command = [python, str(CLIENT), row, str(port)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return None
    return float(done.stdout.split()[-1]) if done.returncode == 0 and done.stdout.strip() else None


def installed_mb(python: str) -> float:
    """What the environment's packages take on disk, pip and its like aside, in megabytes."""
    folder = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    others = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence", "__pycache__")
    files = (path for path in Path(folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    kept = (path for path in files if not path.relative_to(folder).parts[0].startswith(others))
    return sum(path.stat().st_size for path in kept) / 1e6


def raw_socket_mb_s() -> float:
    """What a plain socket copies on this machine, from a thread to this one: the ceiling of the transfer rows."""
    left, right = socket.socketpair()
    total = 400_000_000

    def send() -> None:
        block = bytes(1 << 18)
        for _ in range(total // len(block)):
            left.sendall(block)
        left.close()

    thread = threading.Thread(target=send)
    start = time.perf_counter()
    thread.start()
    received = 0
    while data := right.recv(1 << 18):
        received += len(data)
    thread.join()
    right.close()
    return received / (time.perf_counter() - start) / 1e6


def compare(row: Row, ours: list[float], peers: list[float]) -> dict[str, object]:
    """A row's figures. The ratio is of each round's pair, so that a machine that changes its speed does no harm."""
    both = list(zip(ours, peers, strict=False))
    ratio = statistics.median(mine / theirs for mine, theirs in both) if both else None
    met = None
    if row.goal is not None and ratio is not None:
        met = ratio >= row.goal if row.higher_is_better else ratio <= row.goal
    return {
        "row": row.label,
        "unit": row.unit,
        "ours": statistics.median(ours) if ours else None,
        "ours_range": [min(ours), max(ours)] if ours else None,
        "peer": statistics.median(peers) if peers else None,
        "peer_range": [min(peers), max(peers)] if peers else None,
        "ratio": ratio,
        "goal": row.goal,
        "higher_is_better": row.higher_is_better,
        "met": met,
    }


def number(value: object) -> str:
    if not isinstance(value, (int, float)):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(figures: list[dict[str, object]]) -> str:
    """The figures as a Markdown table."""
    lines = [
        "| row | ours | range | `boxd==0.1.9` | range | ratio | goal |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in figures:
        spans = [
            "-".join(map(number, span)) if isinstance(span := one[key], list) else "-"
            for key in ("ours_range", "peer_range")
        ]
        goal = "-" if one["goal"] is None else f"{'>=' if one['higher_is_better'] else '<='} {one['goal']}"
        verdict = {True: "met", False: "missed", None: ""}[one["met"]]  # type: ignore[index]
        peer = f"{number(one['peer'])} {one['unit']}" if one["peer"] is not None else "cannot"
        lines.append(
            f"| {one['row']} | {number(one['ours'])} {one['unit']} | {spans[0]} | {peer} | {spans[1]} "
            f"| {number(one['ratio'])} | {goal} {verdict} |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare our client with the published one.")
    parser.add_argument("--ours", required=True, help="a Python that has our package")
    parser.add_argument("--peer", required=True, help="a Python that has the published package")
    parser.add_argument("--server", required=True, help="the bench server's program")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", nargs="*", default=[], help="only these, by their names in client.py")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--layers", action="store_true", help="instead: where our client's time goes, row by row")
    options = parser.parse_args()
    rows = [row for row in ROWS if not options.rows or row.name in options.rows]
    figures = []
    with subprocess.Popen([options.server], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            if options.layers:
                command = [options.ours, str(CLIENT.with_name("layers.py")), str(port), *options.rows]
                return subprocess.run(command, check=False).returncode
            for row in rows:
                ours: list[float] = []
                peers: list[float] = []
                for _ in range(options.rounds):
                    for python, found in ((options.ours, ours), (options.peer, peers)):
                        value = measure(python, row.name, port)
                        if value is not None:
                            found.append(value)
                figures.append(compare(row, ours, peers))
                print(f"measured: {row.label}", file=sys.stderr)
        finally:
            server.terminate()
    size = Row("installed_mb", "installed size", "MB", 0.35)
    figures.append(compare(size, [installed_mb(options.ours)], [installed_mb(options.peer)]))
    if options.json:
        print(json.dumps({"rows": figures, "raw_socket_mb_s": raw_socket_mb_s()}, indent=2))
    else:
        print(table(figures))
        print(f"\nA plain socket copies {raw_socket_mb_s():,.0f} MB/s on this machine.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
