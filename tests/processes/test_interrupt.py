"""Ctrl-C in a blocking call."""

from __future__ import annotations

import signal
import time

import pytest

from tests.processes.conftest import Programs, finish, readline

PROMPT = 5.0
"""Seconds within which Ctrl-C has its effect; far more than it takes, far less than the command."""


@pytest.mark.parametrize(
    "call",
    [
        'box.exec("sh", "-c", script)',
        'box.exec("sh", "-c", script, stream=True).wait()',
        'next(box.exec("sh", "-c", script, stream=True).stdout)',
    ],
    ids=["exec", "wait", "read"],
)
def test_r68_control_c_ends_a_blocking_call_and_its_command(programs: Programs, call: str) -> None:
    path = f"/tmp/interrupt-{abs(hash(call))}"
    watch = programs.held(path)
    process = programs.start(
        f"""
        script = "exec 9>{path}; sleep 600 & wait"
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            {call}
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        print(box.exec("echo", "next").stdout.strip())
        c.close()
        """
    )
    assert watch.stdout.read() == b"held\n"
    pressed = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert readline(process) == "interrupted\n"
    assert time.monotonic() - pressed < PROMPT
    assert finish(process) == ("next\n", "")
    assert process.returncode == 0
    assert watch.wait() == 0


def test_control_c_that_nobody_catches(programs: Programs) -> None:
    watch = programs.held("/tmp/uncaught")
    process = programs.start(
        """
        signal.signal(signal.SIGINT, signal.default_int_handler)
        box.exec("sh", "-c", "exec 9>/tmp/uncaught; sleep 600 & wait")
        """
    )
    assert watch.stdout.read() == b"held\n"
    process.send_signal(signal.SIGINT)
    printed, errors = finish(process)
    assert printed == ""
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
    assert errors.count("Traceback") == 1
    assert process.returncode == -signal.SIGINT
    assert watch.wait() == 0
