"""Commands under a PTY."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.shell import sh

pytestmark = pytest.mark.anyio


async def until(process: Any, end: bytes) -> bytes:
    """Read until the output ends with `end`."""
    output = b""
    while not output.endswith(end):
        piece = await process.stdout.read()
        assert piece, output
        output += piece
    return output


async def test_everything_comes_on_stdout(box: Any) -> None:
    async with await sh(
        box, "tty >&2; test -t 0 && test -t 1 && test -t 2 && echo all", stream=True, pty=True
    ) as process:
        output = b"".join([piece async for piece in process.stdout])
        assert output.startswith(b"/dev/pts/")
        assert output.endswith(b"all\r\n")
        assert await process.stderr.read() == b""
        assert await process.wait() == 0


@pytest.mark.parametrize(
    ("options", "size"), [({}, b"24 80"), ({"cols": 132}, b"24 132"), ({"cols": 97, "rows": 41}, b"41 97")]
)
async def test_the_size(box: Any, options: dict[str, int], size: bytes) -> None:
    async with await box.exec("stty", "size", stream=True, pty=True, **options) as process:
        assert b"".join([piece async for piece in process.stdout]) == size + b"\r\n"


async def test_resize(box: Any) -> None:
    script = "stty -echo; trap 'echo changed' WINCH; stty size; read line; stty size"
    async with await sh(box, script, stream=True, pty=True, cols=90, rows=30) as process:
        assert await until(process, b"30 90\r\n") == b"30 90\r\n"
        await process.resize(100, 50)
        await process.stdin.write("\n")
        rest = b"".join([piece async for piece in process.stdout])
        assert rest in (b"changed\r\n50 100\r\n", b"50 100\r\nchanged\r\n", b"50 100\r\n")
        assert await process.wait() == 0
        await process.resize(80, 24)


async def test_resize_without_a_pty_does_nothing(box: Any) -> None:
    async with await sh(box, "read line; echo $line", stream=True) as process:
        await process.resize(100, 50)
        await process.stdin.write("fine\n")
        assert await process.stdout.read() == b"fine\n"
        with pytest.raises(ValueError, match="-1 columns"):
            await process.resize(-1, 50)


async def test_interactive_is_a_pty_and_a_stream(box: Any) -> None:
    async with await box.exec("sh", interactive=True) as process:
        await process.stdin.write("stty -echo; PS1=; echo $((6*7))\n")
        await until(process, b"42\r\n")
        await process.stdin.write("exit 5\n")
        assert await process.wait() == 5


async def test_control_c_reaches_the_command(box: Any) -> None:
    async with await sh(box, "stty -echo; echo ready; exec sleep 600", interactive=True) as process:
        await until(process, b"ready\r\n")
        await process.stdin.write(b"\x03")
        assert await process.wait() == 130


async def test_control_d_ends_the_input(box: Any) -> None:
    async with await box.exec("sh", "-c", "stty -echo; echo ready; wc -c", pty=True, stream=True) as process:
        await until(process, b"ready\r\n")
        await process.stdin.write(b"four\n\x04")
        assert (await until(process, b"\r\n")).strip() == b"5"
        assert await process.wait() == 0


async def test_a_terminal_program_sees_where_it_runs(box: Any) -> None:
    result = await sh(box, "echo $TERM", pty=True, env={"TERM": "vt100"})
    assert result.stdout == "vt100\r\n"


async def test_the_input_ends_whatever_the_mode_of_the_terminal(box: Any) -> None:
    # As a shell with line editing: it takes single characters, and what was typed before as lines is no end to it.
    script = "read line; stty -icanon -echo; echo $line; until [ $(head -c 1 | od -An -tx1) = 04 ]; do :; done; exit 3"
    async with await sh(box, script, stream=True, pty=True) as process:
        await process.stdin.write("typed\n")
        await process.stdin.write_eof()
        assert b"typed\r\n" in b"".join([piece async for piece in process.stdout])
        assert await process.wait() == 3
