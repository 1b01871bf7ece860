"""Every example of the published client's documentation, with the published client and with ours."""

from __future__ import annotations

import os
import re
import signal
import struct
import subprocess
from collections.abc import Callable
from typing import IO

import pytest

import boxd
from tests.fixtures.servers import Server
from tests.published.cases import BOX, DOCSTRINGS, GUIDE, PROGRAMS, Case
from tests.published.documentation import Documentation, is_python
from tests.published.programs import CLIENTS, OURS, PUBLISHED, Program, finish

fcntl = pytest.importorskip("fcntl", reason="needs POSIX")
pty = pytest.importorskip("pty", reason="needs POSIX")
termios = pytest.importorskip("termios", reason="needs POSIX")
pytestmark = pytest.mark.slow
# These need something to happen beside them, and have tests of their own.
LOGS, TERMINAL = ("Logs", 0), ("PTY size + resize", 0)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("case", GUIDE, ids=str)
def test_an_example_of_the_guide(
    case: Case, client: str, documentation: Documentation, program: Program, service: Server
) -> None:
    _check(case, client, documentation.blocks("python")[case.heading, case.number], program, service)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("case", DOCSTRINGS, ids=str)
def test_an_example_of_a_docstring(
    case: Case, client: str, documentation: Documentation, program: Program, service: Server
) -> None:
    _check(case, client, documentation.docstring_examples()[case.heading, case.number], program, service)


def _check(case: Case, client: str, example: str, program: Program, service: Server) -> None:
    if case.isolated and service.sandbox == "plain":
        pytest.skip("boxes have no mounts here")
    plan = program.plan(
        before=case.before,
        example=example,
        after=case.after,
        unless=case.unless,
        again=case.again,
        raises=case.raises or (case.defect if client == PUBLISHED else ""),
    )
    done = program.run(client, "run_example.py", plan)
    assert done.status == 0, done.err
    expected = case.out + (case.out_of_ours if client == OURS else "")
    assert re.fullmatch(expected, done.out), done.out
    if client == OURS:
        assert done.err == ""


def test_no_example_is_left_out(documentation: Documentation) -> None:
    """Of those in Python. The blocks for a shell install the package and work on its source, which it does not have."""
    blocks = documentation.blocks("python")
    assert all(is_python(code) for code in blocks.values())
    assert {(case.heading, case.number) for case in GUIDE} | {LOGS, TERMINAL} == set(blocks)
    assert {(case.heading, case.number) for case in DOCSTRINGS} == set(documentation.docstring_examples())


@pytest.mark.parametrize("client", CLIENTS)
def test_the_example_of_logs(
    client: str, documentation: Documentation, program: Program, admin: boxd.Compute, service: Server
) -> None:
    """It follows the log until the box is destroyed, here once it has shown everything twice."""
    if service.sandbox == "plain":
        pytest.skip("boxes have no console here")
    process = program.start(
        client,
        "run_example.py",
        program.plan(
            before=BOX + 'assert box.exec("sh", "-c", "echo; echo from the box > /dev/console").success',
            example=documentation.blocks("python")[LOGS],
        ),
    )
    _read_until(process, process.stdout, lambda seen: seen.count("from the box") == 2)
    box = admin.box.get("my-vm")
    assert box.exec("sh", "-c", "echo and more > /dev/console").success
    _read_until(process, process.stdout, lambda seen: "and more" in seen)
    box.destroy()
    done = finish(process)
    assert done.status == 0, done.err


def _read_until(process: subprocess.Popen[str], output: IO[str] | None, complete: Callable[[str], bool]) -> None:
    """Read what a program prints until it is all there."""
    assert output is not None
    seen = ""
    while not complete(seen):
        line = output.readline()
        assert line, (seen, finish(process).err)
        seen += line


WAITS_FOR_ITS_SIZE = """#!/bin/sh
old=$(stty size)
echo is $old
while [ "$(stty size)" = "$old" ]; do sleep 0.05; echo .; done
echo now $(stty size)
"""


@pytest.mark.parametrize("client", CLIENTS)
def test_the_example_of_a_terminal(client: str, documentation: Documentation, program: Program) -> None:
    """It has the size of the local terminal, and takes on the new one when that changes."""
    plan = program.plan(
        before=f"{PROGRAMS}\nbox.write_file({WAITS_FOR_ITS_SIZE!r}, 'bin/claude')",
        example=documentation.blocks("python")[TERMINAL],
    )
    screen, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 31, 101, 0, 0))
    with open(screen, errors="replace", newline="") as output:
        process = program.start(client, "run_example.py", plan, stdout=terminal)
        os.close(terminal)
        _read_until(process, output, lambda seen: "is 31 101" in seen)
        fcntl.ioctl(output, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 90, 0, 0))
        process.send_signal(signal.SIGWINCH)
        _read_until(process, output, lambda seen: "now 20 90" in seen)
        done = finish(process)
    assert done.status == 0, done.err
