"""Where the time of a row goes: the share of each layer, as cProfile sees it.

python layers.py PORT [ROW ...]

cProfile makes Python's own functions look dearer than they are beside the kernel's, so the shares tell where to look,
not how much is to be gained. What runs in a background thread (the blocking rows) is not seen.
"""

from __future__ import annotations

import cProfile
import pstats
import sys
from collections import defaultdict
from pathlib import Path

import client

LAYERS = (
    ("http2", "boxd/transport/http2"),
    ("transport", "boxd/transport"),
    ("messages", "boxd/messages"),
    ("client", "boxd/"),
    ("asyncio", "asyncio"),
    ("hpack", "hpack"),
    ("bench", "bench/client.py"),
)
KERNEL = ("'send' of '_socket.socket'", "'recv' of '_socket.socket'", "'poll' of 'select.epoll'")
HEADINGS = ("kernel", "asyncio", "http2", "hpack", "transport", "messages", "client", "bench", "other")
ROWS = (
    "unary_cpu_us",
    "unary_100_per_s",
    "exec_us",
    "stream_64k_mb_s",
    "stream_256_per_s",
    "echo_us",
    "upload_mb_s",
    "download_100_mb_s",
    "list_1000_ms",
)


def layer(file: str, function: str) -> str:
    """The layer that a function belongs to."""
    if file == "~":
        return "kernel" if any(name in function for name in KERNEL) else "other"
    path = Path(file).as_posix()
    return next((name for name, part in LAYERS if part in path), "other")


def shares(row: str) -> dict[str, float]:
    """The part of a row's time that each layer has of its own; 1 in all. The second run counts: the first imports."""
    client.ROWS[row]()
    profile = cProfile.Profile()
    profile.runcall(client.ROWS[row])
    times: dict[str, float] = defaultdict(float)
    for (file, _, function), (_, _, own, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        times[layer(file, function)] += own
    total = sum(times.values())
    return {name: time / total for name, time in times.items()}


def main() -> None:
    port, *rows = sys.argv[1:]
    sys.argv[1:] = ["", port]  # As `client.py` reads them.
    print("| row |" + "".join(f" {name} |" for name in HEADINGS))
    print("|---|" + "---|" * len(HEADINGS))
    for row in rows or ROWS:
        found = shares(row)
        print(f"| {row} |" + "".join(f" {found.get(name, 0):.0%} |" for name in HEADINGS), flush=True)


if __name__ == "__main__":
    main()
