"""Running a command in a machine: its options, the request that starts it, and both ways to take its output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from boxd import methods
from boxd.errors import BoxdError
from boxd.messages.exec import ExecChunk
from boxd.resources import outcome
from boxd.resources.output import ExitStatus
from boxd.resources.process import ExecProcess, check_size
from boxd.resources.stdin import beside, check_input, feed, open_input
from boxd.types.exec import ExecResult

if TYPE_CHECKING:
    import os

    from boxd.resources._base import Session


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
    text: bool = True
    input: bytes | str | os.PathLike[str] | IO[bytes] | None = None
    check: bool = False
    on_stdout: Callable[[Any], object] | None = None
    on_stderr: Callable[[Any], object] | None = None

    def __post_init__(self) -> None:
        check_size(self.cols, self.rows)
        if self.timeout is not None:
            if not hasattr(self.timeout, "__float__"):
                raise TypeError(f"timeout is of type {type(self.timeout).__name__}: use seconds, or None")
            if self.timeout != self.timeout:
                raise ValueError("timeout is not a number: use seconds")
        if self.close_stdin and self.tty:
            raise ValueError("close_stdin=True with a PTY: a terminal needs its input open; leave out one of the two")
        if self.close_stdin and not self.stream:
            raise ValueError(
                "close_stdin=True without stream=True: a command that is not streamed gets no input but `input`"
            )
        if self.input is not None:
            self._check_input()
        for name in ("on_stdout", "on_stderr"):
            callback = getattr(self, name)
            if callback is not None and not callable(callback):
                raise TypeError(f"{name} is of type {type(callback).__name__}: use a function that takes the output")
            if callback is not None and self.streamed:
                raise ValueError(f"{name} with a streamed command: read the process's stdout, stderr or output()")
        if self.check and self.streamed:
            raise ValueError("check=True with a streamed command: use communicate().check(), or look at wait()")
        if self.on_stderr is not None and self.tty:
            raise ValueError("on_stderr with a PTY: a terminal has one output; use on_stdout")

    def _check_input(self) -> None:
        if self.streamed:
            raise ValueError("input with a streamed command: write to the process's stdin, or use communicate(input)")
        if self.tty:
            raise ValueError("input with a PTY: a terminal edits what it gets; use stream=True and write to stdin")
        check_input(self.input)

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


async def start(session: Session, first: ExecChunk, options: ExecOptions) -> ExecProcess:
    """Start a command and return it running."""
    stream = session.stream(methods.Exec, timeout=options.timeout)
    try:
        await stream.send(first, end=options.close_stdin)
    except BaseException:
        stream.cancel()
        raise
    return ExecProcess(
        stream,
        pty=options.tty,
        stdin_closed=options.close_stdin,
        text=options.text,
        explain=partial(outcome.explained, session, first.vm_id),
    )


async def run(session: Session, first: ExecChunk, options: ExecOptions) -> ExecResult[Any]:
    """Run a command to its end. Every error has the output so far in its `stdout` and `stderr`."""
    got = _Collected()
    try:
        if options.input is None and options.on_stdout is None and options.on_stderr is None:
            async with session.stream(methods.Exec, timeout=options.timeout) as stream:
                # No input will come: without the half-close, a command that reads its input would wait for ever.
                await stream.send(first, end=True)
                while batch := await stream.receive_batch():
                    got.add(batch)
        else:
            await _attend(session, first, options, got)
        if got.status.code is None:
            raise outcome.exit_unknown()
    except BoxdError as error:
        told = await outcome.explained(session, first.vm_id, error)
        told.stdout, told.stderr = got.outputs(options.text)
        if told is error:
            raise
        raise told from error
    result: ExecResult[Any] = ExecResult(*got.outputs(options.text), got.status.code)
    return result.check() if options.check else result


class _Collected:
    """What came of a command."""

    __slots__ = ("status", "stderr", "stdout")

    def __init__(self) -> None:
        self.stdout: list[bytes] = []
        self.stderr: list[bytes] = []
        self.status = ExitStatus()

    def add(self, batch: list[ExecChunk]) -> None:
        """File the next chunks."""
        for chunk in batch:
            self.status.note(chunk)
            if chunk.data:
                (self.stderr if chunk.is_stderr else self.stdout).append(chunk.data)

    def outputs(self, text: bool) -> tuple[Any, Any]:
        """Both outputs, as text or as bytes."""
        stdout, stderr = b"".join(self.stdout), b"".join(self.stderr)
        return (stdout.decode("utf-8", "replace"), stderr.decode("utf-8", "replace")) if text else (stdout, stderr)


async def _attend(session: Session, first: ExecChunk, options: ExecOptions, got: _Collected) -> None:
    """Run a command that gets input, or whose output is given to callbacks as it comes.

    While a callback runs nothing is received: the connection files what comes in the stream's window, and where that is
    full flow control stops the command, and nothing else.
    """
    from boxd.resources.callbacks import Callbacks

    callbacks = Callbacks(options.on_stdout, options.on_stderr, options.text)
    # Before the call: a local file that cannot be read starts no command.
    source = None if options.input is None else await open_input(options.input)
    try:
        async with session.stream(methods.Exec, timeout=options.timeout) as stream:

            async def collect() -> None:
                while batch := await stream.receive_batch():
                    got.add(batch)
                    await callbacks.give(batch)
                await callbacks.end()

            await stream.send(first, end=source is None)
            if source is None:
                await collect()
            else:
                await beside(partial(feed, stream, source), collect)
    finally:
        if source is not None:
            source.close()
