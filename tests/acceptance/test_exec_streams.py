"""Commands that are read from and written to while they run."""

from __future__ import annotations

import hashlib
from typing import Any

import anyio
import pytest

import boxd
from tests.acceptance.shell import lasts_until, sh

pytestmark = pytest.mark.anyio

MUCH = 12 << 20
BOTH = f"head -c {MUCH} /dev/zero & head -c {MUCH} /dev/zero >&2; wait"


async def read_all(reader: Any) -> bytes:
    return b"".join([piece async for piece in reader])


async def test_output_comes_as_it_is_written(box: Any) -> None:
    async with await sh(box, "echo one; read line; echo two; exit 4", stream=True) as process:
        assert await process.stdout.read() == b"one\n"
        assert process.exit_code is None
        await process.stdin.write("go on\n")
        assert await read_all(process.stdout) == b"two\n"
        assert await process.stdout.read() == b""
        assert await process.wait() == 4
        assert process.exit_code == 4


async def test_both_outputs_by_their_iterators(box: Any) -> None:
    async with await sh(box, "echo out; echo err >&2", stream=True) as process:
        assert await read_all(process.iter_stderr()) == b"err\n"
        assert await read_all(process.iter_stdout()) == b"out\n"


@pytest.mark.parametrize("order", ["stdout first", "stderr first", "together"])
async def test_megabytes_on_both_outputs_read_in_any_order(box: Any, order: str) -> None:
    sizes: dict[str, int] = {}
    async with await sh(box, BOTH, stream=True) as process:

        async def read(name: str) -> None:
            sizes[name] = sum([len(piece) async for piece in getattr(process, name)])

        if order == "together":
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read, "stdout")
                tasks.start_soon(read, "stderr")
        else:
            await read("stdout" if order == "stdout first" else "stderr")
            await read("stderr" if order == "stdout first" else "stdout")
        assert sizes == {"stdout": MUCH, "stderr": MUCH}
        assert await process.wait() == 0


async def test_an_output_that_nobody_reads_holds_nothing_up(box: Any) -> None:
    async with await sh(box, BOTH, stream=True) as process:
        assert len(await read_all(process.stdout)) == MUCH
        assert await process.wait() == 0


async def test_waiting_keeps_the_output(box: Any) -> None:
    async with await sh(box, BOTH + "; exit 7", stream=True) as process:
        assert await process.wait() == 7
        assert len(await read_all(process.stderr)) == MUCH
        assert len(await read_all(process.stdout)) == MUCH
        assert await process.wait() == 7


async def test_one_output_shared_by_two_readers(box: Any) -> None:
    """Each piece goes to one of them, and both come to the end."""
    sizes = []
    async with await sh(box, f"head -c {MUCH} /dev/zero", stream=True) as process:

        async def read() -> None:
            sizes.append(sum([len(piece) async for piece in process.stdout]))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            tasks.start_soon(read)
    assert sum(sizes) == MUCH


async def test_input(box: Any) -> None:
    async with await box.exec("cat", stream=True) as process:
        await process.stdin.write(b"bytes\xff ")
        await process.stdin.write("text ü")
        await process.stdin.drain()
        assert not process.stdin.closed
        await process.stdin.write_eof()
        await process.stdin.write_eof()
        assert process.stdin.closed
        assert await read_all(process.stdout) == b"bytes\xff text \xc3\xbc"
        assert await process.wait() == 0
        with pytest.raises(RuntimeError, match="write before write_eof"):
            await process.stdin.write(b"more")


async def test_much_input_arrives_whole(box: Any) -> None:
    data = bytes(range(256)) * 32768
    async with await box.exec("sha256sum", stream=True) as process:
        await process.stdin.write(data)
        await process.stdin.write_eof()
        assert (await read_all(process.stdout)).split()[0].decode() == hashlib.sha256(data).hexdigest()


async def test_input_and_output_at_the_same_time(box: Any) -> None:
    """More than all the buffers on the way hold: writing and reading must go on side by side."""
    piece = bytes(range(256)) * 4096
    received = hashlib.sha256()
    async with await box.exec("cat", stream=True) as process:

        async def write() -> None:
            for _ in range(24):
                await process.stdin.write(piece)
            await process.stdin.write_eof()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            async for part in process.stdout:
                received.update(part)
        assert await process.wait() == 0
    assert received.hexdigest() == hashlib.sha256(piece * 24).hexdigest()


async def test_a_conversation(box: Any) -> None:
    async with await sh(box, 'while read line; do echo "<$line>"; done', stream=True) as process:
        for number in range(30):
            await process.stdin.write(f"{number}\n")
            assert await process.stdout.read() == f"<{number}>\n".encode()
        await process.stdin.write_eof()
        assert await process.wait() == 0


async def test_close_stdin_ends_the_input_at_once(box: Any) -> None:
    async with await box.exec("cat", stream=True, close_stdin=True) as process:
        assert process.stdin.closed
        assert await read_all(process.stdout) == b""
        assert await process.wait() == 0
        with pytest.raises(RuntimeError, match="close_stdin"):
            await process.stdin.write(b"x")


async def test_input_after_the_end_of_the_command_is_dropped(box: Any) -> None:
    async with await box.exec("true", stream=True) as process:
        assert await process.wait() == 0
        await process.stdin.write(b"too late")
        await process.stdin.write_eof()


async def test_close_ends_the_command_and_its_children(box: Any) -> None:
    async with lasts_until(box) as (hold, released):
        process = await sh(box, f"{hold}; sleep 600 & (sleep 600 & wait) & wait", stream=True)
        await released.held()
        await process.close()
        await process.close()
        await released()
    with pytest.raises(boxd.BoxdError, match="closed before its exit status"):
        await process.wait()
    assert await process.stdout.read() == b""


async def test_commands_that_are_closed_as_they_start(box: Any) -> None:
    """Whatever the server is about at that moment, nothing of them stays."""

    async def close_early() -> None:
        async with lasts_until(box) as (hold, released):
            async with await sh(box, f"{hold}; sleep 600", stream=True):
                await released.held()
            await released()

    for _ in range(4):
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(close_early)


async def test_leaving_the_block_ends_the_command(box: Any) -> None:
    async with lasts_until(box) as (hold, released):

        async def leave() -> None:
            async with await sh(box, f"{hold}; sleep 600", stream=True):
                await released.held()
                raise LookupError

        with pytest.raises(LookupError):
            await leave()
        await released()


async def test_close_wakes_those_who_wait(box: Any) -> None:
    process = await box.exec("sleep", "600", stream=True)
    outcomes: list[object] = []

    async def wait() -> None:
        try:
            await process.wait()
        except boxd.BoxdError as error:
            outcomes.append(str(error))

    async def read() -> None:
        outcomes.append(await process.stdout.read())

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            tasks.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            await process.close()
    assert sorted(map(str, outcomes)) == ["b''", "the process was closed before its exit status came"]


async def test_a_timeout_of_a_streamed_command(box: Any) -> None:
    async with lasts_until(box) as (hold, released):
        async with await sh(
            box, f"{hold}; echo out; echo err >&2; sleep 600 & wait", stream=True, timeout=0.8
        ) as process:
            assert await process.stdout.read() == b"out\n"
            with pytest.raises(boxd.TimeoutError) as caught:
                await process.wait()
            assert (caught.value.stdout, caught.value.stderr) == ("", "err\n")
            assert await process.stderr.read() == b"err\n"
            with pytest.raises(boxd.TimeoutError):
                await process.stdout.read()
        await released()


async def test_who_reads_nothing_stops_the_command(box: Any) -> None:
    """What a command has written is in its pipe, in the server's window and in ours, all bounded; the rest waits in
    the command. Other commands of the client are not held up."""
    async with await sh(box, "echo $$; exec cat /dev/zero", stream=True) as process:
        pid = (await process.stdout.read()).split(b"\n")[0].decode()
        written = -1
        with anyio.fail_after(15):
            while (now := await _written(box, pid)) != written:
                written = now
                await anyio.sleep(0.2)  # There is no event for "nothing happens": two equal looks tell.
        assert 0 < written < 16 << 20
        received = 0
        while received < written + (4 << 20):
            received += len(await process.stdout.read())


async def _written(box: Any, pid: str) -> int:
    counters = (await box.exec("cat", f"/proc/{pid}/io")).stdout.splitlines()
    return int(next(line for line in counters if line.startswith("wchar:")).split()[1])
