"""The input of a command, and the functions that get its output as it comes."""

from __future__ import annotations

import io
import os
import threading
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from boxd.errors import ConnectionError
from boxd.messages.exec import ExecChunk
from boxd.resources.stdin import PIECE
from boxd.transport import ConnectionLost
from tests.client.fakes import FakeCall, FakeChannel
from tests.client.test_exec import EXIT, box_on, box_with, err, out

pytestmark = pytest.mark.anyio

BIG = os.urandom(PIECE * 2 + 5)


class EndsWithInput(FakeCall):
    """A command that ends when its input does."""

    async def end(self) -> None:
        await super().end()
        self.script[0].set()


def cat() -> EndsWithInput:
    return EndsWithInput([anyio.Event(), out(b"done"), EXIT])


@pytest.mark.parametrize("kind", ["bytes", "str", "bytearray", "path", "file", "buffer", "pipe"])
async def test_input(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(BIG)
    call = cat()
    data = BIG
    if kind == "file":
        with path.open("rb") as file:
            await box_with(call).exec("cat", input=file)
            assert not file.closed
    elif kind == "pipe":
        read, write = os.pipe()
        os.write(write, b"through a pipe")
        os.close(write)
        data = b"through a pipe"
        with open(read, "rb", buffering=0) as pipe:  # noqa: ASYNC230
            await box_with(call).exec("cat", input=pipe)
    else:
        data = "é".encode() if kind == "str" else BIG
        sources = {"bytes": BIG, "str": "é", "bytearray": bytearray(BIG), "path": path, "buffer": io.BytesIO(BIG)}
        await box_with(call).exec("cat", input=sources[kind])  # type: ignore[call-overload]
    first, *chunks = call.sent
    assert first.command == "cat"
    assert all(chunk.stdin and 0 < len(chunk.data) <= PIECE for chunk in chunks)
    assert b"".join(chunk.data for chunk in chunks) == data
    assert call.half_closed


async def test_a_command_that_does_not_want_its_input() -> None:
    """It ends while the rest waits to be sent, or to be read from a pipe that nobody writes to."""

    class Stuck(FakeCall):
        async def send(self, message: Any, *, end: bool = False) -> None:
            await super().send(message, end=end)
            if message.stdin:
                await anyio.sleep_forever()

    with anyio.fail_after(5):
        assert (await box_with(Stuck([out(b"x"), EXIT])).exec("true", input=BIG)).stdout == "x"
        read, write = os.pipe()
        with open(read, "rb", buffering=0) as pipe:  # noqa: ASYNC230
            assert (await box_with(FakeCall([out(b"x"), EXIT])).exec("true", input=pipe)).stdout == "x"
            os.close(write)


async def test_an_input_that_fails_ends_the_command() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError("the disk is gone")

    call = FakeCall([anyio.Event()])
    with anyio.fail_after(5), pytest.raises(OSError, match="the disk is gone"):
        await box_with(call).exec("cat", input=Broken())
    assert call.cancelled
    with pytest.raises(TypeError, match="binary mode"):
        await box_with(FakeCall([anyio.Event()])).exec("cat", input=io.StringIO("text"))  # type: ignore[call-overload]


async def test_a_command_that_fails_while_it_gets_input() -> None:
    class Failing(FakeCall):
        async def send(self, message: Any, *, end: bool = False) -> None:
            if message.stdin:
                raise ConnectionLost("gone")

    with pytest.raises(ConnectionError, match="gone") as caught:
        await box_with(Failing([[out(b"1")], ConnectionLost("gone")])).exec("cat", input=b"x")
    assert caught.value.stdout == "1"


SCRIPT = [[out(b"1"), out(b"2"), err(b"e"), out(b"3")], out("é".encode()[:1]), [out("é".encode()[1:]), EXIT]]


@pytest.mark.parametrize("kind", ["plain", "async", "partial", "object", "returns a coroutine"])
async def test_callbacks(kind: str) -> None:
    got: list[tuple[str, str]] = []
    threads: set[int] = set()

    def plain(name: str, piece: str) -> None:
        threads.add(threading.get_ident())
        got.append((name, piece))

    async def slow(name: str, piece: str) -> None:
        await anyio.lowlevel.checkpoint()
        plain(name, piece)

    class Taker:
        def __init__(self, name: str) -> None:
            self.name = name

        async def __call__(self, piece: str) -> None:
            await slow(self.name, piece)

    def callback(name: str) -> Any:
        if kind == "plain":
            return lambda piece: plain(name, piece)
        if kind == "object":
            return Taker(name)
        return partial(slow, name) if kind != "returns a coroutine" else lambda piece: slow(name, piece)

    result = await box_with(FakeCall(SCRIPT)).exec("x", on_stdout=callback("out"), on_stderr=callback("err"))
    assert got == [("out", "12"), ("err", "e"), ("out", "3"), ("out", "é")]
    assert (result.stdout, result.stderr) == ("123é", "e")
    assert (threading.get_ident() in threads) == (kind != "plain")


async def test_callbacks_get_bytes() -> None:
    got: list[bytes] = []
    result = await box_with(FakeCall(SCRIPT)).exec("x", on_stdout=got.append, text=False)
    assert got == [b"12", b"3", b"\xc3", b"\xa9"]
    assert result.stderr == b"e"


async def test_a_character_cut_off_by_the_end() -> None:
    got: list[str] = []
    await box_with(FakeCall([out(b"a\xc3"), EXIT])).exec("x", on_stdout=got.append)
    assert got == ["a", "\ufffd"]


async def test_an_error_of_a_callback_ends_the_command() -> None:
    def refuse(piece: str) -> None:
        raise LookupError(piece)

    for options in ({}, {"input": b"some"}):
        call = FakeCall([out(b"1"), anyio.Event()])
        with anyio.fail_after(5), pytest.raises(LookupError, match="1"):
            await box_with(call).exec("x", on_stdout=refuse, **options)  # type: ignore[call-overload]
        assert call.cancelled


async def test_nothing_is_pulled_while_a_callback_runs() -> None:
    call = FakeCall([out(b"1"), out(b"2"), out(b"3"), EXIT])
    left: list[int] = []

    async def look(piece: str) -> None:
        await anyio.wait_all_tasks_blocked()
        left.append(len(call.script))

    await box_with(call).exec("x", on_stdout=look)
    assert left == [3, 2, 1]


async def test_the_output_before_an_error_goes_to_the_callbacks_too() -> None:
    got: list[str] = []
    channel = FakeChannel(calls=[FakeCall([out(b"1"), ConnectionLost("gone")])])
    with pytest.raises(ConnectionError) as caught:
        await box_on(channel).exec("x", on_stdout=got.append)
    assert (got, caught.value.stdout) == (["1"], "1")


async def test_input_and_callbacks_together() -> None:
    got: list[str] = []
    call = cat()
    result = await box_with(call).exec("cat", input=BIG, on_stdout=got.append, check=True)
    assert (got, result.stdout) == (["done"], "done")
    assert b"".join(chunk.data for chunk in call.sent[1:]) == BIG
    assert ExecChunk(stdin=True) not in call.sent
