"""The blocking client and the process around it: each test runs programs of its own, whose output, exit status and
silence are checked."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

import boxd
from tests.fixtures.servers import ROOT, Server

SECONDS = 30
# Warnings are errors, but for those that the programs are about: fork with threads, and streams that are left open.
WARNINGS = [
    *("-W", "error"),
    *("-W", "ignore:This process:DeprecationWarning"),
    *("-W", "ignore:Exec was left open:ResourceWarning"),
]
START = """
import os, signal, sys, threading, time
import boxd
c = boxd.Compute()
box = c.box.get(sys.argv[1])
"""


@pytest.fixture(scope="module")
def box(emulator: Server) -> Iterator[boxd.Box]:
    """A box for the programs; they get its id as their argument."""
    with boxd.Compute(**emulator.settings) as client:
        made = client.box.create()
        yield made
        made.destroy()


@dataclass
class Programs:
    """Runs programs against the emulator."""

    server: Server
    box: boxd.Box

    def start(self, code: str) -> subprocess.Popen[str]:
        """Start one that has `c` and `box`."""
        return subprocess.Popen(
            [sys.executable, *WARNINGS, "-c", START + textwrap.dedent(code), self.box.id],
            cwd=ROOT,
            env={**os.environ, **self.server.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, code: str, *, status: int = 0) -> str:
        """Run one to its end, which must be quiet and have the right exit status; returns what it printed."""
        with self.start(code) as process:
            try:
                printed, errors = process.communicate(timeout=SECONDS)
            finally:
                process.kill()
        assert errors == ""
        assert process.returncode == status
        return printed

    def held(self, path: str) -> boxd.ExecProcess:
        """Watches a FIFO in the box: it ends when the last process that holds the FIFO does."""
        script = f"mkfifo {path}; echo ready; exec 3<{path}; echo held; cat <&3; rm {path}"
        watch = self.box.exec("sh", "-c", script, stream=True, timeout=SECONDS)
        assert watch.stdout.read() == b"ready\n"
        return watch


@pytest.fixture
def programs(emulator: Server, box: boxd.Box) -> Programs:
    return Programs(emulator, box)


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Wait for a program's end; what it says until then."""
    try:
        return process.communicate(timeout=SECONDS)
    finally:
        process.kill()


def readline(process: subprocess.Popen[str]) -> str:
    """The next line that a program prints."""
    assert process.stdout is not None
    return process.stdout.readline()
