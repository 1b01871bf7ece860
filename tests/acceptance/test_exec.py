"""Commands that run to their end."""

from __future__ import annotations

import builtins
from typing import Any

import anyio
import pytest

import boxd
from boxd import ExecResult
from tests.acceptance.shell import lasts_until, sh

pytestmark = pytest.mark.anyio

MEGABYTES = 6_000_000
ODD_ARGUMENTS = [
    "",
    "two words",
    "'single' \"double\" `back`",
    "$HOME $(id) ${x} *?[a-z]",
    "line\nbreak\ttab",
    "a\\b\\",
    "-n",
    "--",
    "ünï🐍 ",
    "!history #comment ; & | < > ~",
    "x=y",
]


async def test_stdout_and_stderr_come_apart(box: Any) -> None:
    result = await sh(box, "echo out; echo err >&2")
    assert result == ExecResult("out\n", "err\n", 0)
    assert result.success


@pytest.mark.parametrize("code", [1, 42, 255])
async def test_the_exit_code_is_the_commands(box: Any, code: int) -> None:
    result = await sh(box, f"exit {code}")
    assert (result.exit_code, result.success) == (code, False)


@pytest.mark.parametrize(("signal", "code"), [("KILL", 137), ("TERM", 143)])
async def test_a_signal_is_an_exit_code_of_128_and_its_number(box: Any, signal: str, code: int) -> None:
    assert (await sh(box, f"kill -{signal} $$")).exit_code == code


async def test_a_program_that_is_not_there_is_127(box: Any) -> None:
    result = await box.exec("no-such-program")
    assert result.exit_code == 127
    assert "no-such-program" in result.stderr


async def test_arguments_arrive_exactly(box: Any) -> None:
    result = await box.exec("printf", "%s\\0", *ODD_ARGUMENTS)
    assert result.stdout.split("\0")[:-1] == ODD_ARGUMENTS


async def test_bytes_with_text_false(box: Any) -> None:
    script = r"printf 'a\377\200b'; printf '\376' >&2"
    assert await sh(box, script, text=False) == ExecResult(b"a\xff\x80b", b"\xfe", 0)
    assert await sh(box, script) == ExecResult("a\ufffd\ufffdb", "\ufffd", 0)


async def test_a_character_cut_between_two_chunks_is_whole(box: Any) -> None:
    result = await sh(box, r"printf '\303'; sleep 0.2; printf '\274'")
    assert result.stdout == "ü"


async def test_the_environment(box: Any) -> None:
    values = {"PLAIN": "1", "ODD": 'it\'s $HOME\nand "more"', "EMPTY": "", "_x9": "ü"}
    result = await box.exec("env", "-0", env=values)
    seen = dict(line.split("=", 1) for line in result.stdout.split("\0") if line)
    assert {name: seen.get(name) for name in values} == values


async def test_a_command_without_input_reads_its_end(box: Any) -> None:
    with anyio.fail_after(10):
        assert (await box.exec("cat")).stdout == ""


async def test_megabytes_on_both_outputs(box: Any) -> None:
    result = await sh(box, f"yes out | head -c {MEGABYTES}; yes err | head -c {MEGABYTES} >&2", text=False)
    assert result.stdout == (b"out\n" * MEGABYTES)[:MEGABYTES]
    assert result.stderr == (b"err\n" * MEGABYTES)[:MEGABYTES]


async def test_outputs_by_name(box: Any) -> None:
    assert await sh(box, "echo x | tee /dev/stderr; echo y > /dev/stdout") == ExecResult("x\ny\n", "x\n", 0)


async def test_a_pty_without_streaming(box: Any) -> None:
    assert await sh(box, "test -t 0 && echo yes; echo err >&2", pty=True) == ExecResult("yes\r\nerr\r\n", "", 0)


async def test_a_timeout_ends_the_command_and_keeps_its_output(box: Any) -> None:
    async with lasts_until(box) as (hold, released):
        with pytest.raises(boxd.TimeoutError) as caught:
            await sh(box, f"{hold}; echo before; echo error >&2; sleep 600 & wait", timeout=0.8)
        await released()
    error = caught.value
    assert isinstance(error, builtins.TimeoutError)
    assert (error.stdout, error.stderr, error.grpc_code) == ("before\n", "error\n", 4)
    assert "0.8 s" in str(error)


async def test_a_timeout_keeps_bytes_where_bytes_are_asked_for(box: Any) -> None:
    with pytest.raises(boxd.TimeoutError) as caught:
        await sh(box, r"printf '\377'; sleep 600", timeout=0.6, text=False)
    assert (caught.value.stdout, caught.value.stderr) == (b"\xff", b"")


async def test_a_timeout_that_is_not_reached(box: Any) -> None:
    assert (await box.exec("echo", "quick", timeout=30)).stdout == "quick\n"


async def test_a_timeout_of_nothing(box: Any) -> None:
    with pytest.raises(boxd.TimeoutError):
        await box.exec("true", timeout=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"close_stdin": True, "stream": True, "pty": True}, "close_stdin=True with a PTY"),
        ({"close_stdin": True, "interactive": True}, "close_stdin=True with a PTY"),
        ({"close_stdin": True}, "close_stdin=True without stream=True"),
        ({"pty": True, "cols": -1}, "-1 columns"),
        ({"pty": True, "rows": 65536}, "65536 rows"),
        ({"env": {"not a name": "x"}}, "'not a name'"),
        ({"env": {"A=B": "x"}}, "'A=B'"),
        ({"env": {"A": "x\0"}}, "NUL"),
    ],
)
async def test_options_that_cannot_be(box: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        await box.exec("true", **options)


async def test_no_command(box: Any) -> None:
    with pytest.raises(ValueError, match="exec without a command"):
        await box.exec()


async def test_commands_at_once_do_not_mix(box: Any) -> None:
    results: dict[int, Any] = {}

    async def run(number: int) -> None:
        results[number] = await sh(box, f"echo {number}; echo e{number} >&2; exit {number}")

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(run, number)
    assert results == {number: ExecResult(f"{number}\n", f"e{number}\n", number) for number in range(20)}


@pytest.mark.parametrize("surface", ["asyncio", "trio"])  # Blocking: see tests/processes/test_interrupt.py.
async def test_a_cancelled_call_ends_the_command(box: Any, surface: str) -> None:
    async with lasts_until(box) as (hold, released):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sh, box, f"{hold}; sleep 600 & wait")
            await released.held()
            tasks.cancel_scope.cancel()
        await released()
    assert (await box.exec("echo", "still here")).stdout == "still here\n"
