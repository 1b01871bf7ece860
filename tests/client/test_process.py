"""Streamed commands."""

from __future__ import annotations

import os
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from boxd.errors import BoxdError, ConnectionError, InternalError, TimeoutError
from boxd.messages.exec import ExecChunk
from boxd.messages.vm import CreateVmResponse
from boxd.resources.box import Box
from boxd.resources.process import ExecProcess
from boxd.transport import ConnectionLost, DeadlineExceeded, RpcError, StatusCode
from tests.client.fakes import FakeCall, FakeChannel, session_with

EXIT = ExecChunk()


def out(data: bytes) -> ExecChunk:
    return ExecChunk(data=data)


def err(data: bytes) -> ExecChunk:
    return ExecChunk(data=data, is_stderr=True)


def box_with(*calls: FakeCall) -> Box:
    return box_on(FakeChannel(calls=calls))


def box_on(channel: FakeChannel) -> Box:
    return Box(session_with(channel), CreateVmResponse(vm_id="vm-1", name="one"), full=False)


both = pytest.mark.anyio


async def started(call: FakeCall, **options: Any) -> ExecProcess:
    process = await box_with(call).exec("x", **{"stream": True, **options})
    assert isinstance(process, ExecProcess)
    return process


@both
async def test_a_streamed_command() -> None:
    call = FakeCall([[out(b"one"), err(b"oops")], out(b"two"), ExecChunk(exit_code=5)])
    process = await started(call)
    assert not call.half_closed
    assert process.exit_code is None
    assert "running" in repr(process)
    assert [piece async for piece in process.iter_stdout()] == [b"one", b"two"]
    assert [piece async for piece in process.stderr] == [b"oops"]
    assert await process.wait() == 5
    assert process.exit_code == 5
    assert "exit_code=5" in repr(process)
    assert await process.stdout.read() == b""


@both
async def test_close_stdin_half_closes_with_the_first_message() -> None:
    call = FakeCall([EXIT])
    process = await started(call, close_stdin=True)
    assert call.half_closed
    with pytest.raises(RuntimeError, match="closed"):
        await process.stdin.write(b"x")
    assert len(call.sent) == 1


@both
async def test_interactive_is_a_process_under_a_pty() -> None:
    call = FakeCall([EXIT])
    process = await started(call, stream=False, interactive=True)
    assert call.sent[0].tty
    await process.resize(120, 40)
    assert call.sent[1] == ExecChunk(window_change=True, cols=120, rows=40)
    await process.stdin.write_eof()
    await process.resize(1, 1)
    assert len(call.sent) == 2


@both
async def test_resize_without_a_pty_does_nothing() -> None:
    call = FakeCall([EXIT])
    process = await started(call)
    await process.resize(120, 40)
    assert len(call.sent) == 1
    with pytest.raises(ValueError, match="terminal"):
        await process.resize(-1, 1)


@both
async def test_resize_after_the_end_does_nothing() -> None:
    call = FakeCall([EXIT])
    process = await started(call, pty=True)
    await process.wait()
    await process.resize(120, 40)
    assert len(call.sent) == 1


@both
async def test_stdin() -> None:
    call = FakeCall([EXIT])
    process = await started(call)
    big = os.urandom(600_000)
    await process.stdin.write(big)
    await process.stdin.write("é")
    await process.stdin.write(b"")
    await process.stdin.write(bytearray(b"ab"))
    await process.stdin.write(memoryview(b"c"))
    for wrong in (5, None, [65]):
        with pytest.raises(TypeError, match="bytes-like"):
            await process.stdin.write(wrong)  # type: ignore[arg-type]
    await process.stdin.drain()
    await process.stdin.write_eof()
    await process.stdin.write_eof()
    chunks = call.sent[1:]
    assert all(chunk.stdin and len(chunk.data) <= 256 * 1024 for chunk in chunks)
    assert b"".join(chunk.data for chunk in chunks) == big + "éabc".encode()
    assert call.half_closed
    with pytest.raises(RuntimeError, match="write_eof"):
        await process.stdin.write(b"late")


@both
@pytest.mark.parametrize("order", ["out-err", "err-out", "wait-out-err", "both", "all"])
async def test_outputs_are_read_in_any_order(order: str) -> None:
    script = [[out(b"o%d" % i), err(b"e%d" % i)] for i in range(50)]
    process = await started(FakeCall([*script, ExecChunk(exit_code=9)]))
    got: dict[str, Any] = {}

    async def read(name: str) -> None:
        got[name] = b"".join([piece async for piece in getattr(process, name)])

    async def wait() -> None:
        got["code"] = await process.wait()

    with anyio.fail_after(5):
        if order == "out-err":
            await read("stdout")
            await read("stderr")
        elif order == "err-out":
            await read("stderr")
            await read("stdout")
        elif order == "wait-out-err":
            await wait()
            await read("stdout")
            await read("stderr")
        else:
            async with anyio.create_task_group() as group:
                group.start_soon(read, "stdout")
                group.start_soon(read, "stderr")
                if order == "all":
                    for _ in range(3):
                        group.start_soon(wait)
        await wait()
    assert got["stdout"] == b"".join(b"o%d" % i for i in range(50))
    assert got["stderr"] == b"".join(b"e%d" % i for i in range(50))
    assert got["code"] == 9


@both
async def test_one_output_not_read_at_all() -> None:
    script = [[err(b"x" * 1000), out(b"y")] for _ in range(20)]
    process = await started(FakeCall([*script, EXIT]))
    with anyio.fail_after(5):
        assert b"".join([piece async for piece in process.stdout]) == b"y" * 20
        assert await process.wait() == 0


@both
async def test_nothing_is_pulled_while_nobody_reads() -> None:
    call = FakeCall([out(b"1"), out(b"2"), out(b"3"), EXIT])
    process = await started(call)
    assert await process.stdout.read() == b"1"
    await anyio.wait_all_tasks_blocked()
    assert len(call.script) == 3


@both
async def test_a_cancelled_reader_loses_nothing() -> None:
    gate = anyio.Event()
    process = await started(FakeCall([out(b"1"), gate, [out(b"2"), err(b"3")], EXIT]))
    assert await process.stdout.read() == b"1"
    with anyio.move_on_after(0.01) as scope:
        await process.stdout.read()
    assert scope.cancelled_caught
    gate.set()
    assert await process.stdout.read() == b"2"
    assert await process.stderr.read() == b"3"


@both
async def test_when_the_pulling_reader_is_cancelled_another_takes_over() -> None:
    gate = anyio.Event()
    process = await started(FakeCall([gate, [out(b"o"), err(b"e")], EXIT]))
    first = anyio.CancelScope()
    got: list[bytes] = []

    async def puller() -> None:
        with first:
            await process.stdout.read()

    async def other() -> None:
        got.append(await process.stderr.read())

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(puller)
            await anyio.wait_all_tasks_blocked()
            group.start_soon(other)
            await anyio.wait_all_tasks_blocked()
            first.cancel()
            await anyio.wait_all_tasks_blocked()
            gate.set()
    assert got == [b"e"]
    assert await process.stdout.read() == b"o"


@both
async def test_a_lost_exit_of_a_streamed_command() -> None:
    process = await started(FakeCall([[out(b"half"), err(b"e")]]))
    with pytest.raises(InternalError, match="without an exit status") as caught:
        await process.wait()
    assert (caught.value.stdout, caught.value.stderr) == ("half", "e")
    assert process.exit_code is None
    assert "unknown" in repr(process)
    # The output itself is whole.
    assert [piece async for piece in process.stdout] == [b"half"]


@both
async def test_a_broken_stream_reaches_every_reader_after_the_data() -> None:
    process = await started(FakeCall([[out(b"1"), err(b"2")], ConnectionLost("gone")]))
    errors = []
    for read in (process.wait, process.wait):
        with pytest.raises(ConnectionError) as caught:
            await read()
        errors.append(caught.value)
        assert (caught.value.stdout, caught.value.stderr) == ("1", "2")
    assert errors[0] is not errors[1]
    for stream, data in ((process.stdout, b"1"), (process.stderr, b"2")):
        assert await stream.read() == data
        with pytest.raises(ConnectionError, match="gone"):
            await stream.read()


@both
async def test_the_deadline_of_a_streamed_command() -> None:
    channel = FakeChannel(calls=[FakeCall([out(b"1"), DeadlineExceeded("late")])])
    process = await box_on(channel).exec("x", stream=True, timeout=1.5)
    assert channel.timeouts == [1.5]
    with pytest.raises(TimeoutError) as caught:
        await process.wait()
    assert caught.value.stdout == "1"


@both
async def test_close_ends_the_command_and_its_readers() -> None:
    call = FakeCall([out(b"1"), anyio.Event(), out(b"never")])
    process = await started(call)
    assert await process.stdout.read() == b"1"
    rest: list[bytes] = []

    async def read() -> None:
        rest.append(await process.stdout.read())

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            await process.close()
            await process.close()
    assert call.cancelled
    assert rest == [b""]
    with pytest.raises(BoxdError, match="closed"):
        await process.wait()


@both
async def test_close_after_the_end_keeps_what_is_known() -> None:
    process = await started(FakeCall([out(b"1"), ExecChunk(exit_code=4)]))
    assert await process.wait() == 4
    await process.close()
    assert await process.wait() == 4
    assert await process.stdout.read() == b"1"


@both
async def test_leaving_the_block_ends_the_command() -> None:
    call = FakeCall([anyio.Event()])
    async with await started(call):
        pass
    assert call.cancelled


@both
async def test_a_start_that_is_cancelled_cancels_the_call() -> None:
    call = FakeCall()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await started(call)
    assert call.cancelled


@both
async def test_an_expired_token_on_a_stream_is_dropped() -> None:
    refused = RpcError("expired", StatusCode.UNAUTHENTICATED, origin="server")
    session = session_with(FakeChannel(calls=[FakeCall([refused])]))
    with pytest.raises(BoxdError):
        await Box(session, CreateVmResponse(vm_id="vm-1"), full=False).exec("x")
    assert session.credentials.rejected == ["Bearer test"]  # type: ignore[attr-defined]


@both
async def test_wait_with_a_timeout_leaves_the_command_alone() -> None:
    gate = anyio.Event()
    call = FakeCall([[out(b"1"), err(b"2")], gate, [out(b"3"), EXIT]])
    process = await started(call)
    for _ in range(2):
        with anyio.fail_after(5), pytest.raises(TimeoutError, match=r"still runs after 0\.02 s") as caught:
            await process.wait(0.02)
        assert (caught.value.stdout, caught.value.stderr, caught.value.grpc_code) == ("1", "2", None)
    assert not call.cancelled
    gate.set()
    assert await process.wait(5) == 0
    assert await process.wait(0) == 0
    assert [piece async for piece in process.stdout] == [b"1", b"3"]


@both
async def test_terminate_is_close() -> None:
    call = FakeCall([anyio.Event()])
    process = await started(call)
    await process.terminate()
    await process.terminate()
    assert call.cancelled
    with pytest.raises(BoxdError, match="closed"):
        await process.wait()
