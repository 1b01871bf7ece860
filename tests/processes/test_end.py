"""The end of the interpreter."""

from __future__ import annotations

import signal

import pytest

from tests.processes.conftest import Programs, finish, readline


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


@pytest.mark.row(54)
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
    printed, errors = finish(process)
    assert (process.returncode, printed, errors) == (4, "", "")
    assert watch.wait() == 0


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


def test_killed_by_sigterm(programs: Programs) -> None:
    """A program that is ended from outside takes its commands with it: the connection is gone."""
    watch = programs.held("/tmp/killed")
    process = programs.start(
        """
        print("started", flush=True)
        box.exec("sh", "-c", "exec 9>/tmp/killed; sleep 600 & wait")
        """
    )
    assert readline(process) == "started\n"
    assert watch.stdout.read() == b"held\n"
    process.terminate()
    assert finish(process) == ("", "")
    assert process.returncode == -signal.SIGTERM
    assert watch.wait() == 0
