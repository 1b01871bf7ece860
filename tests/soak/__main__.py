"""`scripts/soak`: many calls over one channel with random faults in between, each result checked."""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from boxd.transport import Channel, Target
from boxd.transport.http2.options import EngineOptions
from tests.soak.client import Soak
from tests.transport.leaks import background, sockets, timers

ROOT = Path(__file__).resolve().parents[2]
#: The part of the calls after which the process has all that it needs.
WARM_UP = 0.1
#: By how much the process may be larger at the end than after that: what the allocator keeps, and what the interpreter
#: specialises. A leak of 100 bytes for each call is more.
GROWTH = 8 << 20
#: How many more Python objects there may be at the end than after the warm-up, when calls were under way.
OBJECTS = 1_000


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--unary", type=int, default=100_000, help="unary calls (%(default)s)")
    parser.add_argument("--streams", type=int, default=10_000, help="bidirectional streams (%(default)s)")
    parser.add_argument("--workers", type=int, default=48, help="calls at a time (%(default)s)")
    parser.add_argument("--faults", type=int, default=50, help="calls with a fault, of 1,000 (%(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="what decides about sizes and faults; random")
    parser.add_argument("--backend", choices=["asyncio", "trio"], default="asyncio")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    return parser.parse_args(given)


def resident() -> int:
    """This process's resident memory in bytes."""
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


class Run:
    """A soak from the start of its server to the report."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.seed = random.SystemRandom().randrange(1 << 31) if options.seed is None else options.seed
        self.seconds = 0.0
        self.memory: dict[str, int] = {}
        self.objects: dict[str, int] = {}
        self.left: dict[str, Any] = {}
        self.server: dict[str, Any] = {}
        self.soak: Soak

    def run(self) -> None:
        """Run all calls. The server is a process of its own."""
        command = [sys.executable, "-m", "tests.soak.server"]
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdin is not None
            assert server.stdout is not None
            anyio.run(self._main, int(server.stdout.readline()), backend=self.options.backend)
            server.stdin.close()
            self.server = json.loads(server.stdout.readline())

    async def _main(self, port: int) -> None:
        before = sockets()
        engine = EngineOptions(stream_window=64 << 10, connection_window=1 << 20)
        channel = Channel(Target("http", "127.0.0.1", port), engine_options=engine)
        self.soak = Soak(channel, seed=self.seed, faults=self.options.faults)
        started = time.monotonic()
        await self._calls()
        self.seconds = time.monotonic() - started
        self._measure("end")
        pools: list[Any] = channel._pools()
        self.left["streams"] = sum(pool.open_streams for pool in pools)
        self.left["waiting calls"] = sum(len(pool._waiters) for pool in pools)
        await channel.aclose()
        with anyio.move_on_after(5):
            while background() or sockets() > before:
                await checkpoint()
        self.left.update(tasks=len(background()), timers=len(timers()), sockets=sockets() - before)

    async def _calls(self) -> None:
        options = self.options
        total = options.unary + options.streams
        unary = iter(range(options.unary))
        streams = iter(range(options.unary, total))
        streaming = max(options.workers // 4, 1)
        async with anyio.create_task_group() as tasks:
            for _ in range(max(options.workers - streaming, 1)):
                tasks.start_soon(self.soak.unary_calls, self._counted(unary, total))
            for _ in range(streaming):
                tasks.start_soon(self.soak.streams, self._counted(streams, total))

    def _counted(self, numbers: Iterator[int], total: int) -> Iterator[int]:
        """The numbers of the calls to make; on the way, what memory there is."""
        for number in numbers:
            done = self.soak.tally.total
            if "start" not in self.memory and done >= total * WARM_UP:
                self._measure("start")
            if not self.options.quiet and done and done % max(total // 10, 1) == 0:
                print(f"  {done:>7} calls, {resident() >> 10} KiB", flush=True)
            yield number

    def _measure(self, when: str) -> None:
        self.memory[when] = resident()
        self.objects[when] = len(gc.get_objects())

    @property
    def growth(self) -> int:
        """Bytes of memory at the end more than after the warm-up."""
        return self.memory["end"] - self.memory["start"]

    def problems(self) -> list[str]:
        """All that is not as it must be."""
        tally, options = self.soak.tally, self.options
        found = list(tally.wrong)
        if tally.total != options.unary + options.streams:
            found.append(f"{options.unary + options.streams - tally.total} calls never ended")
        if self.growth > GROWTH:
            found.append(f"the process grew by {self.growth >> 10} KiB")
        if self.objects["end"] > self.objects["start"] + OBJECTS:
            found.append(f"{self.objects['end'] - self.objects['start']} objects more than after the warm-up")
        found += [f"{number} {name} left" for name, number in self.left.items() if number]
        return found

    def report(self, write: Callable[[str], object] = print) -> None:
        """What happened, in lines."""
        tally = self.soak.tally
        write(f"seed {self.seed}, {self.options.backend}: {tally.total} calls in {self.seconds:.0f} s")
        write(f"  {tally.right} answered right, {tally.cancelled} cancelled by us")
        for name, count in sorted(tally.failed.items()):
            write(f"  {count} failed as they must: {name}")
        write(f"  {tally.collateral} lost with a connection that another call cut")
        write(f"  {len(tally.wrong)} lost or wrong")
        faults = ", ".join(f"{name} {count}" for name, count in sorted(self.server["faults"].items()))
        write(f"server: {self.server['connections']} connections; {faults}")
        start, end = self.memory["start"] >> 10, self.memory["end"] >> 10
        write(f"memory: {start} KiB after the first {WARM_UP:.0%}, {end} KiB at the end ({self.growth >> 10:+} KiB)")
        write(f"Python objects: {self.objects['start']} and {self.objects['end']}")
        write("left: " + ", ".join(f"{number} {name}" for name, number in self.left.items()))


def main() -> int:
    options = arguments()
    run = Run(options)
    print(f"seed {run.seed}", flush=True)
    run.run()
    run.report()
    problems = run.problems()
    for problem in problems[:50]:
        print("WRONG:", problem)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
