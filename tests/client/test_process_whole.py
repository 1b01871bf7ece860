"""Streamed commands: both outputs together, and all of a command at once."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import anyio
import pytest

from boxd.errors import ConnectionError, TimeoutError
from boxd.messages.exec import ExecChunk
from boxd.transport import ConnectionLost
from boxd.types.exec import ExecResult
from tests.client.fakes import FakeCall
from tests.client.test_process import EXIT, both, err, out, started

# Both outputs together.


@both
async def test_both_outputs_in_order() -> None:
    script = [[out(b"a"), err(b"b"), out(b"c"), out(b"d")], err(b"e"), [err(b"f"), EXIT]]
    process = await started(FakeCall(script))
    assert [piece async for piece in process.output()] == [
        ("stdout", b"a"),
        ("stderr", b"b"),
        ("stdout", b"c"),
        ("stdout", b"d"),
        ("stderr", b"e"),
        ("stderr", b"f"),
    ]
    assert await process.wait() == 0


@both
async def test_the_order_is_kept_while_nobody_reads() -> None:
    process = await started(FakeCall([[out(b"a"), err(b"b")], out(b"c"), out(b"d"), EXIT]))
    pieces = process.output()
    assert await process.wait() == 0
    got = [piece async for piece in pieces]
    assert [name for name, _ in got] == ["stdout", "stderr", "stdout", "stdout"]
    assert b"".join(data for _, data in got) == b"abcd"


@both
async def test_what_was_kept_before_comes_first() -> None:
    process = await started(FakeCall([[out(b"1"), err(b"2"), out(b"3")], [err(b"4"), out(b"5")], EXIT]))
    assert await process.stderr.read() == b"2"
    got = [piece async for piece in process.output()]
    assert got == [("stdout", b"1"), ("stdout", b"3"), ("stderr", b"4"), ("stdout", b"5")]


@both
async def test_the_order_of_much_that_is_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boxd.resources.output.Spool.__init__.__defaults__", (10,))
    script = [[out(b"%02d" % i * 3), err(b"%02d" % i * 2)] for i in range(50)]
    process = await started(FakeCall([*script, EXIT]))
    pieces = process.output()
    await process.wait()
    expected = b"".join(b"%02d" % i * 5 for i in range(50))
    assert b"".join([data async for _, data in pieces]) == expected


@both
async def test_each_output_by_itself_no_longer() -> None:
    gate = anyio.Event()
    process = await started(FakeCall([gate, [out(b"1"), err(b"2")], EXIT]))
    waiting: list[str] = []

    async def read() -> None:
        with pytest.raises(RuntimeError, match=r"output\(\)"):
            await process.stdout.read()
        waiting.append("told")

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            pieces = process.output()
            gate.set()
            assert [piece async for piece in pieces] == [("stdout", b"1"), ("stderr", b"2")]
    assert waiting == ["told"]
    for call in (process.stdout.read, process.stderr.read, process.communicate):
        with pytest.raises(RuntimeError, match=r"output\(\)"):
            await call()


@both
async def test_both_outputs_of_a_stream_that_breaks() -> None:
    process = await started(FakeCall([[out(b"1"), err(b"2")], ConnectionLost("gone")]))
    pieces = process.output()
    assert [await pieces.__anext__(), await pieces.__anext__()] == [("stdout", b"1"), ("stderr", b"2")]
    with pytest.raises(ConnectionError, match="gone"):
        await pieces.__anext__()


# Communicate.


@both
async def test_communicate() -> None:
    call = FakeCall([[out(b"so"), err(b"oh")], out(b" far"), ExecChunk(exit_code=4)])
    process = await started(call)
    assert await process.communicate() == ExecResult("so far", "oh", 4)
    assert call.half_closed
    assert await process.communicate() == ExecResult("", "", 4)


@both
async def test_communicate_with_input_and_bytes() -> None:
    data = os.urandom(600_000)
    call = FakeCall([[out(b"\xff"), EXIT]])
    process = await started(call, text=False)
    await process.stdin.write(b"before ")
    assert await process.communicate(data) == ExecResult(b"\xff", b"", 0)
    with pytest.raises(ValueError, match="after the end"):
        await process.communicate(b"more")
    with pytest.raises(RuntimeError, match="closed"):
        await process.stdin.write(b"more")


@both
async def test_communicate_gets_what_was_not_read() -> None:
    process = await started(FakeCall([out(b"1"), [out(b"2"), err(b"3")], EXIT]))
    assert await process.stdout.read() == b"1"
    assert (await process.communicate()).check() == ExecResult("2", "3", 0)


@both
async def test_communicate_goes_on_after_its_timeout() -> None:
    """Neither input nor output is lost."""
    data = os.urandom(600_000)
    gate, room = anyio.Event(), anyio.Event()

    class Slow(FakeCall):
        async def send(self, message: Any, *, end: bool = False) -> None:
            await super().send(message, end=end)
            if message.stdin:
                await room.wait()

        async def end(self) -> None:
            await super().end()
            gate.set()

    call = Slow([out(b"1"), gate, [out(b"2"), EXIT]])
    process = await started(call)
    for source in (io.BytesIO(data), None):
        with anyio.fail_after(5), pytest.raises(TimeoutError, match="still runs") as caught:
            await process.communicate(source, timeout=0.02)
        assert caught.value.stdout == "1"
    assert not call.cancelled
    room.set()
    with anyio.fail_after(5):
        assert await process.communicate() == ExecResult("12", "", 0)
    assert b"".join(chunk.data for chunk in call.sent[1:]) == data


@both
async def test_communicate_under_a_pty() -> None:
    process = await started(FakeCall([[out(b"1"), EXIT]]), pty=True)
    with pytest.raises(ValueError, match="PTY"):
        await process.communicate(b"x")
    assert (await process.communicate()).stdout == "1"


@both
async def test_communicate_with_a_command_that_fails(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x")
    process = await started(FakeCall([[out(b"1"), err(b"2")], ConnectionLost("gone")]), text=False)
    with pytest.raises(ConnectionError) as caught:
        await process.communicate(path)
    assert (caught.value.stdout, caught.value.stderr) == (b"1", b"2")
