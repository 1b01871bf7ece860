"""Many calls at once, and long ones: right results, and nothing left behind."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

import boxd
from boxd import ExecResult
from tests.acceptance.conftest import Connect
from tests.acceptance.shell import sh
from tests.fixtures import leaks
from tests.fixtures.servers import Server

pytestmark = pytest.mark.anyio

IDLE_SECONDS = float(os.environ.get("BOXD_TEST_IDLE_SECONDS", "5"))


def held() -> dict[str, object]:
    return {
        "sockets": leaks.sockets(),
        "threads": leaks.threads(),
        "tasks": leaks.tasks(),
        "background tasks": leaks.background_tasks(),
    }


@pytest.fixture
async def tight(compute: Connect, server: Server, surface: str) -> AsyncIterator[Any]:
    """A client; when it is closed the process holds what it held before."""
    if surface == "blocking":
        boxd.Compute(**server.settings).close()  # The background thread is there for good.
    gc.collect()
    before = held()
    made = compute(**server.settings)
    yield made
    inner = made._blocking._async if surface == "blocking" else made
    assert leaks.streams(inner) == 0
    await made.close()
    await anyio.wait_all_tasks_blocked()
    gc.collect()
    assert held() == before


async def test_200_execs_at_once(tight: Any, shared_box: str) -> None:
    box = await tight.box.get(shared_box)
    results: dict[int, Any] = {}

    async def run(number: int) -> None:
        results[number] = await sh(box, f"echo out {number}; echo err {number} >&2; exit {number % 7}")

    async with anyio.create_task_group() as tasks:
        for number in range(200):
            tasks.start_soon(run, number)
    assert results == {number: ExecResult(f"out {number}\n", f"err {number}\n", number % 7) for number in range(200)}


async def test_200_streams_open_at_once(tight: Any, shared_box: str) -> None:
    """All of them run at the same time: each waits for input that comes when the last one has started."""
    box = await tight.box.get(shared_box)
    processes: list[Any] = []
    answers: list[bytes] = []

    async def start() -> None:
        process = await box.exec("cat", stream=True)
        await process.stdin.write("up\n")
        assert await process.stdout.read() == b"up\n"
        processes.append(process)

    async def finish(process: Any, number: int) -> None:
        await process.stdin.write(f"{number}\n")
        await process.stdin.write_eof()
        answers.append(await process.stdout.read())
        assert await process.wait() == 0

    async with anyio.create_task_group() as tasks:
        for _ in range(200):
            tasks.start_soon(start)
    async with anyio.create_task_group() as tasks:
        for number, process in enumerate(processes):
            tasks.start_soon(finish, process, number)
    assert sorted(answers) == sorted(b"%d\n" % number for number in range(200))


async def test_streams_that_are_left_in_the_middle(tight: Any, shared_box: str) -> None:
    box = await tight.box.get(shared_box)

    async def leave() -> None:
        async with await box.exec("cat", "/dev/zero", stream=True) as process:
            for _ in range(3):
                assert await process.stdout.read()

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(leave)
    assert (await box.exec("echo", "fine")).stdout == "fine\n"


async def test_failures_leave_nothing(tight: Any, shared_box: str) -> None:
    box = await tight.box.get(shared_box)
    with pytest.raises(boxd.NotFoundError):
        await tight.box.get("nowhere")
    with pytest.raises(boxd.TimeoutError):
        await box.exec("sleep", "60", timeout=0.2)
    with pytest.raises(boxd.NotFoundError):
        await box.read_file("missing")


@pytest.mark.slow
async def test_an_idle_stream(tight: Any, shared_box: str) -> None:
    """`BOXD_TEST_IDLE_SECONDS=600` makes it the ten minutes that people leave a shell alone."""
    box = await tight.box.get(shared_box)
    async with await box.exec("cat", stream=True) as process:
        await process.stdin.write("before\n")
        assert await process.stdout.read() == b"before\n"
        await anyio.sleep(IDLE_SECONDS)  # Nothing must happen in this time, so there is nothing to wait for.
        await process.stdin.write("after\n")
        assert await process.stdout.read() == b"after\n"
        assert (await box.exec("echo", "beside")).stdout == "beside\n"
        await process.stdin.write_eof()
        assert await process.wait() == 0


def test_eight_threads_share_one_blocking_client(server: Server, shared_box: str) -> None:
    before = leaks.sockets(), leaks.background_tasks()
    failures: list[BaseException] = []
    together = threading.Barrier(8)

    def work(number: int) -> None:
        try:
            together.wait(10)
            box = client.box.get(shared_box)
            for turn in range(12):
                word = f"{number}-{turn}"
                assert box.exec("echo", word).stdout == f"{word}\n"
                data = word.encode() * 20_000
                box.write_file(data, f"thread-{number}")
                assert box.read_file(f"thread-{number}") == data
                with box.exec("cat", stream=True) as process:
                    process.stdin.write(word)
                    process.stdin.write_eof()
                    assert b"".join(process.stdout) == word.encode()
                    assert process.wait() == 0
        except BaseException as error:
            failures.append(error)

    with boxd.Compute(**server.settings) as client:
        workers = [threading.Thread(target=work, args=(number,), name=f"worker-{number}") for number in range(8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(50)
        assert failures == []
        assert leaks.streams(client._async) == 0
    assert (leaks.sockets(), leaks.background_tasks()) == before


def test_one_process_used_by_three_threads(server: Server, shared_box: str) -> None:
    """One writes its input, one reads its output, one its errors."""
    pieces = [bytes([number % 256]) * 50_000 for number in range(100)]
    outputs: dict[str, bytes] = {}
    with boxd.Compute(**server.settings) as client:
        box = client.box.get(shared_box)
        script = "mkfifo /tmp/both; cat /tmp/both >&2 & tee /tmp/both; wait; rm /tmp/both"
        with box.exec("sh", "-c", script, stream=True) as process:
            readers = [
                threading.Thread(target=lambda name=name: outputs.update({name: b"".join(getattr(process, name))}))
                for name in ("stdout", "stderr")
            ]
            for reader in readers:
                reader.start()
            for piece in pieces:
                process.stdin.write(piece)
            process.stdin.write_eof()
            for reader in readers:
                reader.join(30)
            assert process.wait() == 0
    whole = b"".join(pieces)
    assert outputs == {"stdout": whole, "stderr": whole}


def test_close_from_another_thread(server: Server, shared_box: str) -> None:
    with boxd.Compute(**server.settings) as client:
        box = client.box.get(shared_box)
        process = box.exec("sh", "-c", "echo up; sleep 600", stream=True)
        assert process.stdout.read() == b"up\n"
        closer = threading.Timer(0.1, process.close)
        started = time.monotonic()
        closer.start()
        with pytest.raises(boxd.BoxdError, match="closed before"):
            process.wait()
        closer.join()
        assert time.monotonic() - started < 10
