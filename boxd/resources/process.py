"""A running command, as its user holds it: three streams, an exit status, and an end."""

from __future__ import annotations

import os
from collections import deque
from functools import partial
from typing import IO, TYPE_CHECKING, Any, Literal

import anyio

from boxd.errors import TimeoutError, WrongLoopError
from boxd.resources.output import Explain, Output, Spool
from boxd.resources.stdin import PIECE, Source, beside, feed, open_input
from boxd.types.exec import ExecResult

if TYPE_CHECKING:
    from types import TracebackType

    from boxd.messages.exec import ExecChunk
    from boxd.resources._base import Stream


class StreamWriter:
    """The standard input of a running command."""

    def __init__(self, stream: Stream[ExecChunk, ExecChunk], *, ended: bool = False) -> None:
        self._stream = stream
        self._ended = ended

    @property
    def closed(self) -> bool:
        """True after `write_eof`, or where the command was started without an input."""
        return self._ended

    async def write(self, data: bytes | str) -> None:
        """Send `data` to the command; a `str` as UTF-8. Waits while the command does not read.

        What is written after the command has ended is dropped. Raises `TypeError` for what is neither bytes nor text,
        `RuntimeError` after the end of the input, and `BoxdError` where the command's stream failed.
        """
        from boxd.messages.exec import ExecChunk

        if self._ended:
            raise RuntimeError(
                "the standard input is closed: write before write_eof(), and do not use close_stdin=True"
            )
        if isinstance(data, str):
            payload = data.encode()
        else:
            # By way of a view: `bytes` alone would make so many zeros of a number.
            payload = data if isinstance(data, bytes) else bytes(memoryview(data))
        for start in range(0, len(payload), PIECE):
            await self._stream.send(ExecChunk(stdin=True, data=payload[start : start + PIECE]))

    async def write_eof(self) -> None:
        """Close the input: the command reads its end once it has read the rest. Idempotent."""
        if not self._ended:
            self._ended = True
            try:
                await self._stream.end()
            except WrongLoopError:
                self._ended = False
                raise

    def _hand_over(self) -> None:
        """Somebody else writes from here on, and closes."""
        self._ended = True

    async def drain(self) -> None:
        """Does nothing: `write` has waited already. For code that expects the two steps of `asyncio`."""

    def __repr__(self) -> str:
        return f"<StreamWriter {'closed' if self._ended else 'open'}>"


class StreamReader:
    """One of the two outputs of a running command: an async iterator of `bytes`, in pieces as they come: they may end
    inside a line, or a character.

    The two can be read by two tasks, one after the other, or one not at all. What arrives for an output that nobody
    reads, while the other is read, is kept, on disk where it is much. Raises `BoxdError` where the command's stream
    fails, after everything that came before.
    """

    def __init__(self, output: Output, spool: Spool) -> None:
        self._output = output
        self._spool = spool
        # Pieces on their way to the reader: one hop to the event loop brings a blocking reader all there are.
        self._ready: deque[bytes] = deque()

    async def read(self) -> bytes:
        """The next piece, as soon as there is one; `b""` at the end."""
        while (piece := self._take()) is None:
            if not await self._refill():
                return b""
        return piece

    def __aiter__(self) -> StreamReader:
        return self

    async def __anext__(self) -> bytes:
        data = await self.read()
        if not data:
            raise StopAsyncIteration
        return data

    def _take(self) -> bytes | None:
        """The next piece if it is at hand. From any thread: a deque allows that."""
        try:
            return self._ready.popleft()
        except IndexError:
            return None

    async def _refill(self) -> bool:
        """Wait for more pieces; False at the end."""
        self._output.check_apart()
        # Another task may take what this one waited for, so look again.
        while not self._spool:
            if not await self._output.wait_data(self._spool):
                return False
        self._ready.extend(self._spool.pop_all())
        return True

    def __repr__(self) -> str:
        name = "stdout" if self._spool is self._output.stdout else "stderr"
        return f"<StreamReader of {name}>"


class OutputReader:
    """Both outputs of a running command in the order in which they came: an async iterator of `(stream, data)`, where
    `stream` is `"stdout"` or `"stderr"` and `data` is `bytes`. Raises `BoxdError` where the command's stream fails,
    after everything that came before."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._order = output.merge()
        self._ready: deque[tuple[Literal["stdout", "stderr"], bytes]] = deque()

    def __aiter__(self) -> OutputReader:
        return self

    async def __anext__(self) -> tuple[Literal["stdout", "stderr"], bytes]:
        while (piece := self._take()) is None:
            # Another task may take what this one waited for, so look again.
            while not self._order:
                if not await self._output.wait_any(self._order):
                    raise StopAsyncIteration
            self._refill()
        return piece

    def _take(self) -> tuple[Literal["stdout", "stderr"], bytes] | None:
        """The next piece if it is at hand. From any thread: a deque allows that."""
        try:
            return self._ready.popleft()
        except IndexError:
            return None

    def _refill(self) -> None:
        """Make ready what is in memory, or else one piece from the disk."""
        output = self._output
        while self._order:
            spool, data = self._order.pop()
            self._ready.append(("stderr" if spool is output.stderr else "stdout", data))
            if output.stdout.spilled or output.stderr.spilled:
                return

    def __repr__(self) -> str:
        return "<OutputReader of stdout and stderr>"


class ExecProcess:
    """A running command, from `Box.exec(..., stream=True)`. Use it as an async context manager, or `close` it: a
    command that is left open runs on. Leaving the block ends the command if it still runs.

    ```python
    async with await box.exec("cargo", "build", stream=True) as process:
        async for piece in process.stdout:
            sys.stdout.buffer.write(piece)
        code = await process.wait()
    ```
    """

    def __init__(
        self,
        stream: Stream[ExecChunk, ExecChunk],
        *,
        pty: bool,
        stdin_closed: bool,
        text: bool = True,
        explain: Explain | None = None,
    ) -> None:
        self._stream = stream
        self._pty = pty
        self._text = text
        self._output = Output(stream, text=text, explain=explain)
        # The input of a `communicate` that ran out of time.
        self._source: Source | None = None
        self._stdin = StreamWriter(stream, ended=stdin_closed)
        self._stdout = StreamReader(self._output, self._output.stdout)
        self._stderr = StreamReader(self._output, self._output.stderr)

    @property
    def stdin(self) -> StreamWriter:
        """The command's standard input."""
        return self._stdin

    @property
    def stdout(self) -> StreamReader:
        """The command's standard output; under a PTY, all of its output."""
        return self._stdout

    @property
    def stderr(self) -> StreamReader:
        """The command's standard error output; empty under a PTY."""
        return self._stderr

    @property
    def exit_code(self) -> int | None:
        """The exit status; None until the command's end has been read or waited for."""
        return self._output.exit_code

    def iter_stdout(self) -> StreamReader:
        """Iterate over the pieces of standard output. The same as `stdout`."""
        return self._stdout

    def iter_stderr(self) -> StreamReader:
        """Iterate over the pieces of standard error. The same as `stderr`."""
        return self._stderr

    def output(self) -> OutputReader:
        """Iterate over both outputs in the order in which they come, as `(stream, data)` with `stream` `"stdout"` or
        `"stderr"`. Instead of the two readers: from here on each of them raises `RuntimeError`. What was kept of either
        before comes first."""
        return OutputReader(self._output)

    async def wait(self, timeout: float | None = None) -> int:
        """Wait for the command to end and return its exit status. Output that nobody reads meanwhile is kept and
        can be read afterwards.

        Raises `TimeoutError` when the command's deadline passed, and after `timeout` seconds, when the command goes on
        running (`grpc_code` is None then); `BoxStoppedError` when the machine was stopped, `ConnectionError` when the
        connection broke, and `ExitUnknownError` when the stream ended without a status. Each has the unread output in
        `stdout` and `stderr`.
        """
        if timeout is None:
            return await self._output.wait_exit()
        with anyio.move_on_after(timeout):
            return await self._output.wait_exit()
        raise self._still_running(timeout)

    async def communicate(
        self, input: bytes | str | os.PathLike[str] | IO[bytes] | None = None, timeout: float | None = None
    ) -> ExecResult[Any]:
        """Send `input`, close the command's input, wait for its end, and return what was not read before: text, or
        bytes where the command was started with `text=False`.

        `input` is as for `Box.exec`. Raises `ValueError` for an input under a PTY or after the input was closed, and
        what `wait` raises. After `timeout` seconds, with `TimeoutError`, the command goes on and nothing is lost: call
        it again, without `input`, to go on with the rest.
        """
        self._output.check_apart()
        if input is not None:
            if self._pty:
                raise ValueError("input under a PTY: a terminal edits what it gets; write to stdin")
            if self._stdin.closed:
                raise ValueError("input after the end of the command's standard input: leave it out")
            self._source = await open_input(input)
        with anyio.move_on_after(timeout) as scope:
            if self._source is None:
                await self._stdin.write_eof()
                code = await self._output.wait_exit()
            else:
                code = await self._fed(self._source)
        if scope.cancelled_caught:
            raise self._still_running(timeout)
        return await self._rest(code)

    async def _fed(self, source: Source) -> int:
        """Wait for the exit while the input is sent. When this is cancelled the source can be gone on with."""
        codes: list[int] = []

        async def wait() -> None:
            codes.append(await self._output.wait_exit())

        # The input belongs to the source from here on.
        self._stdin._hand_over()
        try:
            await beside(partial(feed, self._stream, source), wait)
        except Exception:
            source.close()
            raise
        source.close()
        self._source = None
        return codes[0]

    async def _rest(self, code: int) -> ExecResult[Any]:
        """Everything that was not read. The command has ended, so that all of it is here."""
        stdout = b"".join([piece async for piece in self._stdout])
        stderr = b"".join([piece async for piece in self._stderr])
        if self._text:
            return ExecResult(stdout.decode("utf-8", "replace"), stderr.decode("utf-8", "replace"), code)
        return ExecResult(stdout, stderr, code)

    def _still_running(self, timeout: float | None) -> BaseException:
        return self._output.with_output(
            TimeoutError(f"the command still runs after {timeout:g} s, and was left running")
        )

    async def resize(self, cols: int, rows: int) -> None:
        """Tell the command's terminal its new size, in characters. Does nothing without a PTY, and after the end of
        the command or of its input. Raises `ValueError` for negative numbers."""
        check_size(cols, rows)
        if not self._pty or self._stdin.closed or self._output.ended:
            return
        from boxd.messages.exec import ExecChunk

        await self._stream.send(ExecChunk(window_change=True, cols=cols, rows=rows))

    async def close(self) -> None:
        """End the command, with all its processes, if it still runs: its call is cancelled, and the service then sends
        SIGTERM and, where that does not help, SIGKILL. Output that has arrived can still be read; no exit status comes
        any more. Idempotent."""
        self._output.close()

    async def terminate(self) -> None:
        """The same as `close`, by the name that it has in `subprocess`."""
        self._output.close()

    async def __aenter__(self) -> ExecProcess:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._output.close()

    def __repr__(self) -> str:
        if not self._output.ended:
            state = "running"
        elif self.exit_code is None:
            state = "ended, status unknown"
        else:
            state = f"exit_code={self.exit_code}"
        return f"<ExecProcess {state}>"


def check_size(cols: int, rows: int) -> None:
    """Refuse sizes of a terminal that cannot be."""
    if not isinstance(cols, int) or not isinstance(rows, int):
        name, value = ("rows", rows) if isinstance(cols, int) else ("cols", cols)
        raise TypeError(f"{name} is of type {type(value).__name__}: use an int")
    if not 0 <= cols < 65536 or not 0 <= rows < 65536:
        raise ValueError(f"a terminal of {cols} columns and {rows} rows: use 1 to 65535, or 0 for the default")
