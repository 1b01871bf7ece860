"""Commands in a box: pipes, terminals, signals, ends."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import pytest

from boxd.emulator.sandbox import Spawn
from tests.emulator.support import asynchronous, finish, machine_of, processes, run, until


@asynchronous
async def test_outputs_are_separate_and_the_exit_code_passes(kind: str, state: Path) -> None:
    async with machine_of(kind, state) as machine:
        result = await run(machine, "echo out; echo err >&2; exit 42")
        assert (result.out, result.err, result.code) == ("out\n", "err\n", 42)


@asynchronous
async def test_input_reaches_the_command_and_ends(kind: str, state: Path) -> None:
    async with machine_of(kind, state) as machine:
        assert (await run(machine, "cat; echo end", b"a" * 300_000)).out == "a" * 300_000 + "end\n"


@pytest.mark.parametrize(("name", "code"), [("TERM", 143), ("KILL", 137), ("SEGV", 139)])
@asynchronous
async def test_a_signal_is_128_and_its_number(kind: str, state: Path, name: str, code: int) -> None:
    async with machine_of(kind, state) as machine:
        assert (await run(machine, f"kill -{name} $$")).code == code


@asynchronous
async def test_environment_and_working_directory(kind: str, state: Path) -> None:
    async with machine_of(kind, state) as machine:
        process = await machine.spawn(Spawn(("sh", "-c", "echo $FROM_BOX $MORE; pwd; echo $HOME"), {"MORE": "żółć"}))
        result = await finish(process)
        process.close()
        first, directory, home = result.out.splitlines()
        assert first == "yes żółć"
        assert directory == home
        assert directory.endswith("/home/boxd")


@asynchronous
async def test_a_program_that_is_not_there(isolated: str, state: Path) -> None:
    async with machine_of(isolated, state) as machine:
        with pytest.raises(FileNotFoundError):
            await machine.spawn(Spawn(("no-such-program",)))
        assert (await run(machine, "echo on")).out == "on\n"


@asynchronous
async def test_a_long_command_travels_whole(kind: str, state: Path) -> None:
    async with machine_of(kind, state) as machine:
        assert len((await run(machine, f"echo {'x' * 120_000}")).out) == 120_001


@asynchronous
async def test_a_terminal_is_controlling_has_a_size_and_can_be_resized(kind: str, state: Path) -> None:
    async with machine_of(kind, state) as machine:
        command = (
            "stty size; test -t 0 && test -t 1 && test -t 2 && echo tty > /dev/tty; "
            "trap 'stty size; exit 7' WINCH; echo ready; while :; do sleep 0.05; done"
        )
        process = await machine.spawn(Spawn(("sh", "-c", command), tty=(100, 40)))
        seen = b""
        while b"ready" not in seen:
            seen += await process.stdout.read()
        assert b"40 100" in seen
        assert b"tty\r\n" in seen
        process.resize(91, 33)
        while data := await process.stdout.read():
            seen += data
        assert b"33 91" in seen
        assert await process.wait() == 7
        process.close()


@asynchronous
async def test_end_of_input_on_a_terminal(kind: str, state: Path) -> None:
    async with machine_of(kind, state) as machine:
        result = await run(machine, "cat; echo end", b"typed\n", tty=(80, 24))
        assert result.code == 0
        assert "end" in result.out


@asynchronous
async def test_a_process_nobody_reads_waits(kind: str, state: Path) -> None:
    async with machine_of(kind, state) as machine:
        process = await machine.spawn(Spawn(("sh", "-c", "head -c 10000000 /dev/zero; echo done >&2")))
        assert process.stderr is not None
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(process.stderr.read(), 0.3)
        result = await finish(process)
        assert (len(result.out), result.err) == (10_000_000, "done\n")
        process.close()


@asynchronous
async def test_terminate_ends_the_whole_group(kind: str, state: Path) -> None:
    marker = f"98765.{int(time.time() * 1000) % 100000}"
    async with machine_of(kind, state) as machine:
        command = f"trap '' TERM; sleep {marker} & (sleep {marker}) & echo up; wait"
        process = await machine.spawn(Spawn(("sh", "-c", command)))
        await process.stdout.read()
        await until(lambda: len(processes(f"sleep\0{marker}")) == 2)
        await process.terminate(0.2)
        assert process.exit_code == 128 + signal.SIGKILL
        await until(lambda: not processes(marker))
        process.close()


@asynchronous
async def test_background_processes_outlive_their_command(kind: str, state: Path) -> None:
    async with machine_of(kind, state) as machine:
        assert (await run(machine, "(sleep 0.3; echo later > file) >/dev/null 2>&1 & echo now")).out == "now\n"
        await asyncio.sleep(0.6)
        assert (await run(machine, "cat file")).out == "later\n"


@asynchronous
async def test_power_off_ends_everything(kind: str, state: Path) -> None:
    marker = f"97654.{int(time.time() * 1000) % 100000}"
    async with machine_of(kind, state) as machine:
        process = await machine.spawn(Spawn(("sh", "-c", f"sleep {marker} & sleep {marker}")))
        await until(lambda: len(processes(f"sleep\0{marker}")) == 2)
        await machine.kill()
        assert await process.wait() == 137
        assert not machine.alive
        await until(lambda: not processes(marker))
        process.close()


@asynchronous
async def test_many_commands_at_once(kind: str, state: Path) -> None:
    async with machine_of(kind, state) as machine:
        results = await asyncio.gather(*(run(machine, f"cat; exit {n}", b"%d" % n) for n in range(100)))
        assert [(result.out, result.code) for result in results] == [(str(n), n) for n in range(100)]


@asynchronous
async def test_freeze_and_thaw(kind: str, state: Path) -> None:
    async with machine_of(kind, state) as machine:
        process = await machine.spawn(Spawn(("sh", "-c", "while :; do echo tick; sleep 0.02; done")))
        await process.stdout.read()
        await machine.freeze()
        while process.stdout.read_nowait():
            pass
        await asyncio.sleep(0.3)
        assert process.stdout.read_nowait() is None
        await machine.thaw()
        assert b"tick" in await asyncio.wait_for(process.stdout.read(), 5)
        await process.terminate(1)
        process.close()


@asynchronous
async def test_thaw_leaves_stopped_what_was_stopped_before(isolated: str, state: Path) -> None:
    async with machine_of(isolated, state) as machine:
        # The shell waits until its child is itself, so that the stop finds it with its own outputs.
        start = "sleep 1000 >/dev/null 2>&1 & until ps -o comm= -p $! | grep sleep; do :; done; kill -STOP $!"
        wait = "until [ $(ps -o state= -p $!) = T ]; do :; done; echo $! > pid"
        assert (await run(machine, f"{start}; {wait}")).code == 0
        await machine.freeze()
        await machine.thaw()
        assert (await run(machine, "ps -o state= -p $(cat pid)")).out.strip() == "T"


@asynchronous
async def test_a_command_takes_milliseconds(isolated: str, state: Path) -> None:
    async with machine_of(isolated, state) as machine:
        await run(machine, "true")
        times = []
        for _ in range(20):
            started = time.perf_counter()
            await run(machine, "true")
            times.append(time.perf_counter() - started)
        # A quiet machine needs 3 ms; the bound is for a busy one.
        assert sorted(times)[10] < 0.1
