"""The blocking client and the process around it: fork, threads, running loops, Ctrl-C, and the end of the
interpreter. Each test is a program of its own, whose output, exit status and silence are checked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import pytest

import boxd
from tests.fixtures.servers import ROOT, Server

SECONDS = 30
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
            [
                sys.executable,
                "-W",
                "error",
                "-W",
                "ignore:This process:DeprecationWarning",
                "-c",
                START + textwrap.dedent(code),
                self.box.id,
            ],
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


# Fork.


def test_a_forked_child_works_and_leaves_the_parent_alone(programs: Programs) -> None:
    printed = programs.run(
        """
        open_process = box.exec("cat", stream=True)
        open_process.stdin.write("before ")
        pid = os.fork()
        if pid == 0:
            print("child", box.exec("echo", "one").stdout.strip(), flush=True)
            with boxd.Compute() as own:
                print("child", own.box.get(box.id).name == box.name, flush=True)
            c.close()
            sys.exit(3)
        _, status = os.waitpid(pid, 0)
        print("status", os.waitstatus_to_exitcode(status))
        open_process.stdin.write("after")
        open_process.stdin.write_eof()
        print("parent", b"".join(open_process.stdout), open_process.wait())
        print("parent", box.exec("echo", "two").stdout.strip())
        c.close()
        """
    )
    assert printed.splitlines() == [
        "child one",
        "child True",
        "status 3",
        "parent b'before after' 0",
        "parent two",
    ]


def test_a_process_of_the_parent_is_not_the_childs(programs: Programs) -> None:
    printed = programs.run(
        """
        process = box.exec("cat", stream=True)
        process.stdin.write("x")
        pid = os.fork()
        if pid == 0:
            for use in (process.wait, process.stdout.read, lambda: process.stdin.write("y"), process.stdin.write_eof):
                try:
                    use()
                except RuntimeError as error:
                    print(error, flush=True)
            process.close()
            os._exit(0)
        os.waitpid(pid, 0)
        process.stdin.write_eof()
        print(b"".join(process.stdout), process.wait())
        c.close()
        """
    )
    *refusals, last = printed.splitlines()
    assert len(refusals) == 4
    assert all("fork" in line for line in refusals), refusals
    assert last == "b'x' 0"


def test_fork_while_other_threads_call(programs: Programs) -> None:
    printed = programs.run(
        """
        stop = threading.Event()
        def work():
            while not stop.is_set():
                assert box.exec("echo", "thread").stdout == "thread\\n"
        workers = [threading.Thread(target=work) for _ in range(3)]
        for worker in workers: worker.start()
        for number in range(5):
            pid = os.fork()
            if pid == 0:
                ok = box.exec("echo", str(number)).stdout == f"{number}\\n"
                os._exit(0 if ok else 1)
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        stop.set()
        for worker in workers: worker.join()
        c.close()
        """
    )
    assert printed.split() == ["0"] * 5


def test_a_pool_of_forked_workers(programs: Programs) -> None:
    printed = programs.run(
        """
        import multiprocessing
        def work(number):
            return box.exec("sh", "-c", f"echo {number * number}").stdout.strip()
        with multiprocessing.get_context("fork").Pool(3) as pool:
            print(pool.map(work, range(9)))
            pool.close()
            pool.join()
        print(box.exec("echo", "parent").stdout.strip())
        c.close()
        """
    )
    assert printed.splitlines() == [str([str(number * number) for number in range(9)]), "parent"]


def test_an_async_client_in_a_forked_child(programs: Programs) -> None:
    printed = programs.run(
        """
        import asyncio, boxd.aio
        async def main(client):
            print((await (await client.box.get(sys.argv[1])).exec("echo", "async")).stdout.strip(), flush=True)
        client = boxd.aio.Compute()
        asyncio.run(main(client))
        pid = os.fork()
        if pid == 0:
            asyncio.run(main(client))
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        asyncio.run(main(client))
        c.close()
        """
    )
    assert printed.splitlines() == ["async", "async", "0", "async"]


# Threads and loops.


def test_threads_that_come_and_go(programs: Programs) -> None:
    printed = programs.run(
        """
        results = []
        for turn in range(5):
            workers = [
                threading.Thread(target=lambda n=n: results.append(box.exec("echo", str(n)).stdout)) for n in range(4)
            ]
            for worker in workers: worker.start()
            for worker in workers: worker.join()
        print(len(results), sorted(set(results)))
        print([thread.name for thread in threading.enumerate()])
        c.close()
        """
    )
    assert printed.splitlines() == ["20 ['0\\n', '1\\n', '2\\n', '3\\n']", "['MainThread', 'boxd']"]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_blocking_calls_inside_a_running_loop(programs: Programs, backend: str) -> None:
    """As in a notebook, whose cells run in a loop."""
    printed = programs.run(
        f"""
        import anyio
        async def cell():
            print(box.exec("echo", "inside").stdout.strip())
            with box.exec("cat", stream=True) as process:
                process.stdin.write("streamed")
                process.stdin.write_eof()
                print(b"".join(process.stdout))
            with boxd.Compute() as another:
                print(another.whoami().user_id)
        anyio.run(cell, backend="{backend}")
        c.close()
        """
    )
    assert printed.splitlines() == ["inside", "b'streamed'", "local-user"]


def test_one_async_client_in_one_loop_after_the_other(programs: Programs) -> None:
    printed = programs.run(
        """
        import asyncio, boxd.aio
        client = boxd.aio.Compute()
        async def main():
            return (await (await client.box.get(sys.argv[1])).exec("echo", "again")).stdout.strip()
        print(asyncio.run(main()), asyncio.run(main()))
        asyncio.run(client.close())
        c.close()
        """
    )
    assert printed == "again again\n"


# Ctrl-C.


def interrupt(process: subprocess.Popen[str], watch: boxd.ExecProcess) -> tuple[str, str]:
    """Press Ctrl-C once the command in the box runs; what the program says until its end."""
    assert watch.stdout.read() == b"held\n"
    process.send_signal(signal.SIGINT)
    try:
        return process.communicate(timeout=SECONDS)
    finally:
        process.kill()


@pytest.mark.parametrize(
    "call",
    [
        'box.exec("sh", "-c", script)',
        'box.exec("sh", "-c", script, stream=True).wait()',
        'next(box.exec("sh", "-c", script, stream=True).stdout)',
    ],
    ids=["exec", "wait", "read"],
)
def test_control_c_ends_a_blocking_call_and_its_command(programs: Programs, call: str) -> None:
    path = f"/tmp/interrupt-{abs(hash(call))}"
    watch = programs.held(path)
    process = programs.start(
        f"""
        script = "exec 9>{path}; sleep 600 & wait"
        started = None
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            {call}
        except KeyboardInterrupt:
            started = time.monotonic()
        print(box.exec("echo", "next").stdout.strip())
        print(time.monotonic() - started < 5)
        c.close()
        """
    )
    assert interrupt(process, watch) == ("next\nTrue\n", "")
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
    printed, errors = interrupt(process, watch)
    assert printed == ""
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
    assert errors.count("Traceback") == 1
    assert process.returncode == -signal.SIGINT
    assert watch.wait() == 0


# The end.


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("", 0),
        ("box.exec('true')", 0),
        ("process = box.exec('cat', stream=True); process.stdin.write('x'); print(process.stdout.read())", 0),
        ("process = box.exec('sleep', '600', stream=True); sys.exit(5)", 5),
        ("for piece in box.exec('yes', stream=True).stdout: break", 0),
        ("logs = box.stream_logs(); del c, box, logs", 0),
        ("import gc; del c, box; gc.collect()", 0),
    ],
    ids=["idle", "after a call", "open stream", "sys.exit", "half read", "deleted", "collected"],
)
def test_the_end_without_close(programs: Programs, code: str, status: int) -> None:
    programs.run(code, status=status)


def test_the_end_in_the_middle_of_a_call(programs: Programs) -> None:
    """A daemon thread still waits for a command; the command ends with the program."""
    watch = programs.held("/tmp/middle")
    process = programs.start(
        """
        def work():
            box.exec("sh", "-c", "exec 9>/tmp/middle; sleep 600 & wait")
        threading.Thread(target=work, daemon=True).start()
        sys.stdin.readline()
        sys.exit(4)
        """
    )
    assert watch.stdout.read() == b"held\n"
    printed, errors = _finish(process)
    assert (process.returncode, printed, errors) == (4, "", "")
    assert watch.wait() == 0


def _finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    try:
        return process.communicate(timeout=SECONDS)
    finally:
        process.kill()


def test_calls_from_exit_handlers(programs: Programs) -> None:
    """They run in the reverse order, so some that are older than the first call come after newer ones."""
    code = """
        import atexit
        late = boxd.Compute()
        atexit.register(late.close)
        atexit.register(lambda: print("in time", late.whoami().user_id))
        late.whoami()
    """
    assert programs.run(code) == "in time local-user\n"


def test_a_daemon_thread_that_calls_to_the_end(programs: Programs) -> None:
    code = """
        def work():
            while True:
                box.exec("true")
        for _ in range(3):
            threading.Thread(target=work, daemon=True).start()
        box.exec("true")
    """
    for _ in range(3):
        assert programs.run(code) == ""


def stream_of(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None
    return process.stdout


def test_killed_by_sigterm(programs: Programs) -> None:
    """A program that is ended from outside takes its commands with it: the connection is gone."""
    watch = programs.held("/tmp/killed")
    process = programs.start(
        """
        print("started", flush=True)
        box.exec("sh", "-c", "exec 9>/tmp/killed; sleep 600 & wait")
        """
    )
    assert stream_of(process).readline() == "started\n"
    assert watch.stdout.read() == b"held\n"
    process.terminate()
    assert _finish(process) == ("", "")
    assert process.returncode == -signal.SIGTERM
    assert watch.wait() == 0
