"""Running a command in a machine: the request that starts it, and both ways to take its output."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, overload

from boxd import methods
from boxd.errors import BoxdError
from boxd.messages.exec import ExecChunk
from boxd.resources.output import ExitStatus, lost_exit
from boxd.resources.process import ExecProcess, check_size
from boxd.types import ExecResult

if TYPE_CHECKING:
    from boxd.resources._base import Session

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


@dataclass(frozen=True)
class ExecOptions:
    """The options of `Box.exec`, checked: what excludes each other is refused before any call."""

    stream: bool
    interactive: bool
    pty: bool
    timeout: float | None
    close_stdin: bool
    cols: int
    rows: int

    def __post_init__(self) -> None:
        check_size(self.cols, self.rows)
        if self.close_stdin and self.tty:
            raise ValueError("close_stdin=True with a PTY: a terminal needs its input open; leave out one of the two")
        if self.close_stdin and not self.stream:
            raise ValueError(
                "close_stdin=True without stream=True: a command that is not streamed gets no input anyway"
            )

    @property
    def tty(self) -> bool:
        """Whether the command gets a PTY."""
        return self.pty or self.interactive

    @property
    def streamed(self) -> bool:
        """Whether the caller gets the running process instead of the result."""
        return self.stream or self.interactive

    def first_chunk(self, vm_id: str, command: str) -> ExecChunk:
        """The message that starts the command."""
        return ExecChunk(vm_id=vm_id, command=command, tty=self.tty, cols=self.cols, rows=self.rows)


def command_line(args: Sequence[str], env: Mapping[str, str] | None) -> str:
    """The command as the one string that the service gives to a shell.

    Every argument is quoted, so that the program gets exactly `args`, whatever is in them. `env` becomes `NAME=value`
    words in front of the command (POSIX Shell Command Language, section 2.9.1). Raises `ValueError` for no arguments,
    for names that are no variable's, and for NUL characters, which no command can carry; `TypeError` for what is not
    a string.
    """
    if not args:
        raise ValueError('exec without a command: give the program and its arguments, as in exec("ls", "-l")')
    for word in args:
        _check_word(word, "argument")
    words = []
    for name, value in ({} if env is None else env).items():
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            raise ValueError(f"{name!r} is not a name of an environment variable: use letters, digits and underscores")
        _check_word(value, f"value of the environment variable {name}", show=False)
        words.append(f"{name}={shlex.quote(value)}")
    quoted = [shlex.quote(word) for word in args]
    if "=" in args[0] and quoted[0] == args[0]:
        # A program with a "=" in its name would be taken for one more variable.
        quoted[0] = f"'{args[0]}'"
    return " ".join([*words, *quoted])


def _check_word(word: object, what: str, *, show: bool = True) -> None:
    shown = f"{word!r} " if show else ""
    if not isinstance(word, str):
        raise TypeError(f"the {what} {shown}is of type {type(word).__name__}: use a str")
    if "\0" in word:
        raise ValueError(f"the {what} {shown}has a NUL character")


async def start(session: Session, first: ExecChunk, options: ExecOptions) -> ExecProcess:
    """Start a command and return it running."""
    stream = session.stream(methods.Exec, timeout=options.timeout)
    try:
        await stream.send(first, end=options.close_stdin)
    except BaseException:
        stream.cancel()
        raise
    return ExecProcess(stream, pty=options.tty, stdin_closed=options.close_stdin)


@overload
async def run(session: Session, first: ExecChunk, timeout: float | None, text: Literal[True]) -> ExecResult: ...
@overload
async def run(session: Session, first: ExecChunk, timeout: float | None, text: Literal[False]) -> ExecResult[bytes]: ...
async def run(session: Session, first: ExecChunk, timeout: float | None, text: bool) -> ExecResult | ExecResult[bytes]:
    """Run a command to its end. Every error has the output so far in its `stdout` and `stderr`."""
    stdout: list[bytes] = []
    stderr: list[bytes] = []
    status = ExitStatus()
    try:
        async with session.stream(methods.Exec, timeout=timeout) as stream:
            # No input will come: without the half-close, a command that reads its input would wait for ever.
            await stream.send(first, end=True)
            while batch := await stream.receive_batch():
                for chunk in batch:
                    status.note(chunk)
                    if chunk.data:
                        (stderr if chunk.is_stderr else stdout).append(chunk.data)
        if status.code is None:
            raise lost_exit()
    except BoxdError as error:
        error.stdout, error.stderr = _join(stdout, text), _join(stderr, text)
        raise
    if text:
        return ExecResult(
            b"".join(stdout).decode("utf-8", "replace"), b"".join(stderr).decode("utf-8", "replace"), status.code
        )
    return ExecResult(b"".join(stdout), b"".join(stderr), status.code)


def _join(pieces: list[bytes], text: bool) -> str | bytes:
    data = b"".join(pieces)
    return data.decode("utf-8", "replace") if text else data
