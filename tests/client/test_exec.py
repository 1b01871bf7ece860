from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxd.errors import BoxdError, BoxStoppedError, ConnectionError, InternalError, NotFoundError, TimeoutError
from boxd.messages.exec import ExecChunk
from boxd.messages.vm import CreateVmResponse
from boxd.resources.box import Box
from boxd.resources.command_line import command_line
from boxd.resources.output import ExitStatus
from boxd.transport import ConnectionLost, DeadlineExceeded, RpcError, StatusCode
from boxd.types.exec import ExecResult
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


# The command line.


def words(line: str, cwd: Path | None = None) -> list[str]:
    """What a shell makes of a line whose program prints its arguments."""
    printed = subprocess.run(["sh", "-c", line], stdout=subprocess.PIPE, check=True, cwd=cwd).stdout
    return printed.decode("utf-8", "surrogateescape").split("\0")[:-1]


@pytest.mark.parametrize(
    ("args", "env", "line"),
    [
        (["echo", "hi"], None, "echo hi"),
        (["echo", "two words"], None, "echo 'two words'"),
        (["echo", "$HOME;ls|cat"], {}, "echo '$HOME;ls|cat'"),
        (["ls -la | wc -l"], None, "'ls -la | wc -l'"),
        (["echo", ""], None, "echo ''"),
        (["sh", "-c", "echo $A"], {"A": "x y", "B_2": ""}, "A='x y' B_2='' sh -c 'echo $A'"),
        (["A=1", "B=2"], None, "'A=1' B=2"),
        (["if", "true"], None, "'if' true"),
        (["eval", "a && b"], {"A": "1", "B": ""}, "export A=1 B=''; eval 'a && b'"),
        (["eval", "a"], {}, "eval a"),
    ],
)
def test_command_line(args: list[str], env: dict[str, str] | None, line: str) -> None:
    assert command_line(args, env) == line


@pytest.mark.parametrize(
    ("cwd", "line"),
    [
        ("/a b", "cd '/a b' || exit 126; A=1 ls"),
        ("sub", "cd ./sub || exit 126; A=1 ls"),
        ("-", "cd ./- || exit 126; A=1 ls"),
        ("~", "cd './~' || exit 126; A=1 ls"),
    ],
)
def test_a_directory(cwd: str, line: str) -> None:
    assert command_line(["ls"], {"A": "1"}, cwd) == line


def test_a_directory_by_a_shell(tmp_path: Path) -> None:
    odd = tmp_path / "-x $y"
    odd.mkdir()
    for cwd in (str(odd), odd.name):
        assert words(command_line(["printf", r"%s\0", "ok"], None, cwd), tmp_path) == ["ok"]
    where = subprocess.run(["sh", "-c", command_line(["pwd"], None, odd.name)], cwd=tmp_path, stdout=subprocess.PIPE)
    assert where.stdout.decode() == f"{odd}\n"
    missing = subprocess.run(["sh", "-c", command_line(["echo", "ran"], None, "none")], capture_output=True)
    assert (missing.returncode, missing.stdout) == (126, b"")
    assert b"none" in missing.stderr


@pytest.mark.parametrize(
    "args",
    [["sh", "-c", 'printf "%s\\0" "$K" && sh -c \'printf "%s\\0" "$K"\''], ["eval", 'sh -c \'printf "%s\\0" "$K"\'']],
)
def test_the_environment_reaches_every_command(args: list[str]) -> None:
    assert set(words(command_line(args, {"K": "a b"}))) == {"a b"}


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8), max_size=4))
def test_a_shell_passes_arguments_on_exactly(args: list[str]) -> None:
    line = command_line(["printf", r"%s\0", "first", *args], {"LC_ALL": "C"})
    assert words(line) == ["first", *args]


def test_a_shell_passes_the_environment_on() -> None:
    line = command_line(["sh", "-c", r'printf "%s\0" "$ONE" "$TWO"'], {"ONE": "a 'b' $c\n", "TWO": "\\"})
    assert words(line) == ["a 'b' $c\n", "\\"]


def test_a_program_with_an_equals_sign_is_a_program(tmp_path: Path) -> None:
    program = tmp_path / "a=b"
    program.write_text("#!/bin/sh\nprintf 'ran\\0'\n")
    program.chmod(0o755)
    assert words("PATH=.:$PATH " + command_line(["a=b"], None), tmp_path) == ["ran"]


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "A=B", "Ä", "A\n", "$(id)", 3])
def test_bad_names_of_variables(name: Any) -> None:
    with pytest.raises(ValueError, match="environment variable"):
        command_line(["true"], {name: "x"})


def test_bad_words() -> None:
    with pytest.raises(ValueError, match="without a command"):
        command_line([], None)
    with pytest.raises(ValueError, match="NUL"):
        command_line(["a\0b"], None)
    with pytest.raises(ValueError, match="NUL"):
        command_line(["a"], None, "/\0")
    with pytest.raises(ValueError, match="cwd is empty"):
        command_line(["a"], None, "")
    with pytest.raises(TypeError, match="directory"):
        command_line(["a"], None, Path("/"))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="5"):
        command_line(["sleep", 5], None)  # type: ignore[list-item]
    with pytest.raises(TypeError, match="unpack it"):
        command_line([["ls", "-l"]], None)  # type: ignore[list-item]
    with pytest.raises(ValueError, match="lone surrogate"):
        command_line(["cat", "a\udcff"], None)
    with pytest.raises(TypeError) as caught:
        command_line(["true"], {"SECRET": 12345})  # type: ignore[dict-item]
    assert "12345" not in str(caught.value)


# The exit status.


@pytest.mark.parametrize(
    ("chunks", "code"),
    [
        ([EXIT], 0),
        ([ExecChunk(exit_code=7)], 7),
        ([out(b"x"), ExecChunk(exit_code=7)], 7),
        ([out(b"x")], None),
        ([], None),
        ([ExecChunk(exit_code=7), out(b"late")], 7),
        ([ExecChunk(data=b"x", exit_code=7)], 7),
        ([ExecChunk(data=b"x", exit_code=7), out(b"late")], 7),
        ([ExecChunk(exit_code=1), ExecChunk(exit_code=2)], 2),
        ([ExecChunk(exit_code=1), EXIT], 0),
        ([ExecChunk(window_change=True, cols=1, rows=1)], None),
        ([ExecChunk(exit_code=3), ExecChunk(window_change=True)], 3),
    ],
)
def test_exit_status(chunks: list[ExecChunk], code: int | None) -> None:
    status = ExitStatus()
    for chunk in chunks:
        status.note(chunk)
    assert status.code == code


pytestmark = pytest.mark.filterwarnings("error")
both = pytest.mark.anyio


# Plain.


@both
async def test_a_plain_command() -> None:
    call = FakeCall([[out(b"a"), err(b"e")], out(b"b\xff"), ExecChunk(exit_code=3)])
    channel = FakeChannel(calls=[call])
    result = await box_on(channel).exec("echo", "a b", env={"K": "v"}, timeout=5)
    assert result == ExecResult(stdout="ab\ufffd", stderr="e", exit_code=3)
    assert not result.success
    assert call.sent == [ExecChunk(vm_id="vm-1", command="K=v echo 'a b'")]
    assert call.half_closed
    assert channel.timeouts == [5]


@both
async def test_bytes() -> None:
    call = FakeCall([[out(b"\xff"), err(b"\xfe"), EXIT]])
    result = await box_with(call).exec("x", text=False)
    assert result == ExecResult(stdout=b"\xff", stderr=b"\xfe", exit_code=0)
    assert result.success


@both
async def test_a_character_split_over_chunks() -> None:
    letters = "é€𝄞".encode()
    call = FakeCall([*(out(letters[i : i + 1]) for i in range(len(letters))), EXIT])
    assert (await box_with(call).exec("x")).stdout == "é€𝄞"


@both
async def test_a_plain_command_under_a_pty() -> None:
    call = FakeCall([EXIT])
    await box_with(call).exec("top", pty=True, cols=100, rows=30)
    assert call.sent == [ExecChunk(vm_id="vm-1", command="top", tty=True, cols=100, rows=30)]


@both
@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (DeadlineExceeded("too slow"), TimeoutError),
        (ConnectionLost("gone"), ConnectionError),
        (RpcError("no such machine", StatusCode.NOT_FOUND), NotFoundError),
        (RpcError("it is stopped", StatusCode.FAILED_PRECONDITION), BoxStoppedError),
    ],
)
@pytest.mark.parametrize("text", [True, False])
async def test_errors_have_the_output_so_far(failure: RpcError, kind: type[BoxdError], text: bool) -> None:
    with pytest.raises(kind) as caught:
        await box_with(FakeCall([[out(b"so "), err(b"oh")], out(b"far"), failure])).exec("x", text=text)
    error = caught.value
    assert type(error) is kind
    assert (error.stdout, error.stderr) == (("so far", "oh") if text else (b"so far", b"oh"))
    assert error.grpc_code == int(failure.code)


@both
@pytest.mark.parametrize("chunks", [[], [out(b"half")]])
async def test_a_lost_exit_is_an_error(chunks: list[ExecChunk]) -> None:
    with pytest.raises(InternalError, match="without an exit status") as caught:
        await box_with(FakeCall(chunks)).exec("x")
    assert caught.value.stdout == "half" * len(chunks)


@both
async def test_cancelling_a_plain_command_cancels_the_call() -> None:
    call = FakeCall([anyio.Event()])
    with anyio.move_on_after(0.01):
        await box_with(call).exec("sleep", "1000")
    assert call.cancelled


@both
@pytest.mark.parametrize(
    "options",
    [
        {"close_stdin": True},
        {"close_stdin": True, "stream": True, "pty": True},
        {"close_stdin": True, "stream": True, "interactive": True},
        {"close_stdin": True, "interactive": True},
        {"cols": -1},
        {"rows": 65536},
        {"env": {"a b": "c"}},
        {"timeout": float("nan")},
        {"cwd": ""},
        {"cwd": "a\0"},
        {"stream": True, "input": b""},
        {"interactive": True, "input": b""},
        {"pty": True, "input": b""},
        {"stream": True, "check": True},
        {"stream": True, "on_stdout": print},
        {"interactive": True, "on_stderr": print},
        {"pty": True, "on_stderr": print},
    ],
)
async def test_bad_options_are_refused_before_any_call(options: dict[str, Any]) -> None:
    channel = FakeChannel()
    with pytest.raises(ValueError):  # noqa: PT011  The messages are many.
        await box_on(channel).exec("x", **options)
    with pytest.raises(ValueError, match="without a command"):
        await box_on(channel).exec()
    for wrong in ({"input": 5}, {"on_stdout": 5}, {"cwd": 5}):
        with pytest.raises(TypeError, match="int"):
            await box_on(channel).exec("x", **wrong)  # type: ignore[call-overload]
    for name in ("timeout", "cols", "rows"):
        with pytest.raises(TypeError, match=f"{name} is of type str"):
            await box_on(channel).exec("x", **{name: "5"})  # type: ignore[call-overload]
    with pytest.raises(FileNotFoundError):
        await box_on(channel).exec("x", input=Path("/no such file"))
    assert channel.requests == []
