"""What a command gets, who sees its output as it comes, and how it may end."""

from __future__ import annotations

import hashlib
import threading
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

import boxd
from boxd import ExecResult
from tests.acceptance.shell import lasts_until, sh

pytestmark = pytest.mark.anyio

DATA = bytes(range(256)) * 16384


async def happened(event: threading.Event) -> None:
    """Wait for what a callback does, in whichever thread."""
    assert await anyio.to_thread.run_sync(event.wait, 15)


# Input.


@pytest.mark.parametrize("kind", ["bytes", "str", "path", "file", "empty"])
async def test_input(box: Any, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "input"
    path.write_bytes(DATA)
    with path.open("rb") as file:
        source = {"bytes": DATA, "str": "zwölf\n" * 100, "path": path, "file": file, "empty": b""}[kind]
        expected = {"str": ("zwölf\n" * 100).encode(), "empty": b""}.get(kind, DATA)
        with anyio.fail_after(20):
            result = await box.exec("sha256sum", input=source)
    assert result.stdout.split()[0] == hashlib.sha256(expected).hexdigest()


async def test_input_and_output_at_the_same_time(box: Any) -> None:
    """More than all the buffers on the way hold."""
    with anyio.fail_after(30):
        assert (await box.exec("cat", input=DATA * 3, text=False)).stdout == DATA * 3


async def test_input_that_nobody_wants(box: Any) -> None:
    with anyio.fail_after(20):
        assert await sh(box, "exec <&-; echo ok; exit 3", input=DATA * 3) == ExecResult("ok\n", "", 3)


async def test_a_local_file_that_is_not_there(box: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await box.exec("cat", input=tmp_path / "none")


# Where it runs, and with what.


async def test_a_directory(box: Any) -> None:
    home = (await box.exec("pwd")).stdout
    await box.exec("mkdir", "-p", "some dir/-x")
    assert (await box.exec("pwd", cwd="some dir/-x")).stdout == f"{home.strip()}/some dir/-x\n"
    assert (await box.exec("pwd", cwd="/usr")).stdout == "/usr\n"
    async with await box.exec("pwd", cwd="/usr", stream=True) as process:
        assert await process.stdout.read() == b"/usr\n"
    result = await box.exec("echo", "ran", cwd="/no/such")
    assert (result.exit_code, result.stdout) == (126, "")
    assert "/no/such" in result.stderr


async def test_the_environment_reaches_every_command_of_a_line(box: Any) -> None:
    script = 'echo "$K" && sh -c \'echo "$K"\' | cat; echo "$K"'
    assert (await sh(box, script, env={"K": "a b"})).stdout == "a b\n" * 3
    assert (await sh(box, script, env={"K": "a b"}, cwd="/")).stdout == "a b\n" * 3
    assert (await box.exec("eval", "sh -c 'echo $K' && sh -c 'echo $K'", env={"K": "1"})).stdout == "1\n1\n"


# Callbacks.


async def test_callbacks_see_the_output_as_it_comes(box: Any) -> None:
    got: list[tuple[str, str]] = []
    both = threading.Event()
    fifo = (await box.exec("mktemp", "-u")).stdout.strip()

    def on_output(name: str, piece: str) -> None:
        got.append((name, piece))
        if len(got) == 2:
            both.set()

    async with anyio.create_task_group() as tasks:
        result: list[Any] = []

        async def run() -> None:
            script = f"mkfifo {fifo}; echo one; echo two >&2; cat {fifo}; exit 3"
            callbacks = {f"on_{name}": partial(on_output, name) for name in ("stdout", "stderr")}
            result.append(await sh(box, script, **callbacks))

        tasks.start_soon(run)
        await happened(both)
        await sh(box, f"echo three > {fifo}; rm {fifo}")
    assert sorted(got[:2]) == [("stderr", "two\n"), ("stdout", "one\n")]
    assert got[2:] == [("stdout", "three\n")]
    assert result == [ExecResult("one\nthree\n", "two\n", 3)]


async def test_the_thread_of_a_callback(box: Any, surface: str) -> None:
    """The caller's, with the blocking client; one that may block, with the async one."""
    if surface == "blocking":
        threads: list[int] = []
        await anyio.to_thread.run_sync(_in_this_thread, box._blocking, threads)
        assert len(set(threads)) == 1
    else:
        seen: list[int] = []
        await sh(box, "echo x", on_stdout=lambda piece: seen.append(threading.get_ident()))
        assert threading.get_ident() not in seen

        async def on_stdout(piece: bytes) -> None:
            await anyio.lowlevel.checkpoint()
            seen.append(threading.get_ident())

        await sh(box, "echo x", on_stdout=on_stdout, text=False)
        assert seen[-1] == threading.get_ident()


def _in_this_thread(box: boxd.Box, threads: list[int]) -> None:
    def on_stdout(piece: str) -> None:
        threads.append(threading.get_ident())
        # The client can be used in a callback.
        assert box.exec("echo", piece.strip()).stdout == "x\n"

    box.exec("echo", "x", on_stdout=on_stdout)
    threads.append(threading.get_ident())

    async def waits(piece: str) -> None:
        raise AssertionError("there is no loop in this thread to run it")

    for callback in (waits, lambda piece: waits(piece)):
        with pytest.raises(TypeError, match=r"use a plain one, or boxd\.aio"):
            box.exec("echo", "x", on_stdout=callback)


async def test_an_error_of_a_callback_ends_the_command(box: Any) -> None:
    def refuse(piece: str) -> None:
        raise LookupError(piece)

    async with lasts_until(box) as (hold, released):
        with pytest.raises(LookupError, match="x"):
            await sh(box, f"{hold}; echo x; sleep 600 & wait", on_stdout=refuse)
        await released()


async def test_a_slow_callback_slows_its_command_and_nothing_else(box: Any) -> None:
    """The pieces wait in windows and pipes, all bounded, and other calls go on."""
    go_on = threading.Event()
    called = threading.Event()
    sizes: list[int] = []

    def slow(piece: bytes) -> None:
        sizes.append(len(piece))
        called.set()
        assert go_on.wait(20)

    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            result = await sh(box, "head -c 20000000 /dev/zero", on_stdout=slow, text=False)
            assert len(result.stdout) == 20_000_000

        tasks.start_soon(run)
        await happened(called)
        with anyio.fail_after(20):
            for _ in range(3):
                assert (await box.exec("echo", "other")).stdout == "other\n"
        assert len(sizes) == 1
        go_on.set()
    assert sum(sizes) == 20_000_000
    assert max(sizes) <= 16 << 20


# Outcomes.


async def test_check(box: Any) -> None:
    assert (await box.exec("echo", "x", check=True)).stdout == "x\n"
    with pytest.raises(boxd.ExecError, match="exit status 3: no such thing") as caught:
        await sh(box, "echo out; echo no such thing >&2; exit 3", check=True)
    assert caught.value.result == ExecResult("out\n", "no such thing\n", 3)


async def test_a_signal(box: Any) -> None:
    assert (await sh(box, "kill -KILL $$")).signal == 9
    assert (await sh(box, "exit 3")).signal is None


@pytest.mark.parametrize(("stream", "early"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize(("how", "status"), [("stop", "stopped"), ("destroy", "destroyed")])
async def test_a_machine_that_is_stopped_under_a_command(
    new_box: Any, stream: bool, early: bool, how: str, status: str
) -> None:
    async def run() -> None:
        if stream:
            async with await sh(new_box, "echo out; echo err >&2; sleep 600", stream=True) as process:
                if early or await process.stdout.read():
                    started.set()
                await process.wait()
        else:
            await sh(new_box, "echo out; echo err >&2; sleep 600", on_stderr=lambda piece: started.set())

    started = threading.Event()
    errors: list[Any] = []

    async def expect() -> None:
        with pytest.raises(boxd.BoxStoppedError, match=r"stopped|destroyed") as caught:
            await run()
        errors.append(caught.value)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(expect)
            await happened(started)
            await getattr(new_box, how)()
    (error,) = errors
    # Asked for in the middle of it, a service may not tell yet.
    assert error.status in ("", status)
    if not stream:
        assert (error.stdout, error.stderr) == ("out\n", "err\n")


async def test_a_command_in_a_stopped_machine(new_box: Any) -> None:
    await new_box.stop()
    with pytest.raises(boxd.BoxStoppedError) as caught:
        await new_box.exec("true")
    assert (caught.value.status, caught.value.stdout, caught.value.grpc_code) == ("stopped", "", 9)


# All of a process.


async def test_communicate(box: Any) -> None:
    async with await sh(box, "cat; echo err >&2; exit 4", stream=True) as process:
        assert await process.communicate("zwölf") == ExecResult("zwölf", "err\n", 4)
    async with await box.exec("cat", stream=True, text=False) as process:
        assert await process.communicate(DATA * 3) == ExecResult(DATA * 3, b"", 0)


async def test_communicate_and_wait_with_a_timeout(box: Any) -> None:
    async with await sh(box, "echo one; read line; sleep 0.6; echo two", stream=True) as process:
        for wait in (process.wait, lambda seconds: process.communicate(b"", timeout=seconds)):
            with pytest.raises(boxd.TimeoutError, match="still runs"):
                await wait(0.2)
        assert await process.communicate(timeout=20) == ExecResult("one\ntwo\n", "", 0)
        assert await process.wait(0) == 0


async def test_both_outputs_in_the_order_in_which_they_come(box: Any) -> None:
    script = 'for i in 1 2 3; do read x; echo "o$i"; read x; echo "e$i" >&2; done'
    got = []
    async with await sh(box, script, stream=True) as process:
        await process.stdin.write("\n")
        async for piece in process.output():
            got.append(piece)
            if len(got) < 6:
                await process.stdin.write("\n")
        assert await process.wait() == 0
    assert got == [piece for i in b"123" for piece in (("stdout", b"o%c\n" % i), ("stderr", b"e%c\n" % i))]


async def test_terminate(box: Any) -> None:
    async with lasts_until(box) as (hold, released):
        process = await sh(box, f"{hold}; trap '' TERM; echo ready; sleep 600 & wait; sleep 600", stream=True)
        await released.held()
        assert await process.stdout.read() == b"ready\n"
        await process.terminate()
        await released()
    with pytest.raises(boxd.BoxdError, match="closed"):
        await process.wait()
