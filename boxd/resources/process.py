"""A running command, as its user holds it: three streams, an exit status, and an end."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from boxd.resources.output import Output, Spool

if TYPE_CHECKING:
    from types import TracebackType

    from boxd.messages.exec import ExecChunk
    from boxd.resources._base import Stream

# Well under gRPC's usual limit for a message, and large enough that the cost per message does not matter.
_STDIN_PIECE = 256 * 1024


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

        What is written after the command has ended is dropped. Raises `RuntimeError` after the end of the input, and
        `BoxdError` where the command's stream failed.
        """
        from boxd.messages.exec import ExecChunk

        if self._ended:
            raise RuntimeError(
                "the standard input is closed: write before write_eof(), and do not use close_stdin=True"
            )
        payload = data.encode() if isinstance(data, str) else bytes(data)
        for start in range(0, len(payload), _STDIN_PIECE):
            await self._stream.send(ExecChunk(stdin=True, data=payload[start : start + _STDIN_PIECE]))

    async def write_eof(self) -> None:
        """Close the input: the command reads its end once it has read the rest. Idempotent."""
        if not self._ended:
            self._ended = True
            await self._stream.end()

    async def drain(self) -> None:
        """Does nothing: `write` has waited already. For code that expects the two steps of `asyncio`."""


class StreamReader:
    """One of the two outputs of a running command: an async iterator of `bytes`.

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
        # Another task may take what this one waited for, so look again.
        while not self._spool:
            if not await self._output.wait_data(self._spool):
                return False
        self._ready.extend(self._spool.pop_all())
        return True


class ExecProcess:
    """A running command, from `Box.exec(..., stream=True)`. Use it as an async context manager, or `close` it: a
    command that is left open runs on.

    ```python
    async with await box.exec("cargo", "build", stream=True) as process:
        async for piece in process.stdout:
            sys.stdout.buffer.write(piece)
        code = await process.wait()
    ```
    """

    def __init__(self, stream: Stream[ExecChunk, ExecChunk], *, pty: bool, stdin_closed: bool) -> None:
        self._stream = stream
        self._pty = pty
        self._output = Output(stream)
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

    async def wait(self) -> int:
        """Wait for the command to end and return its exit status. Output that nobody reads meanwhile is kept and
        can be read afterwards.

        Raises `TimeoutError` when the command's deadline passed, `ConnectionError` when the connection broke, and
        `InternalError` when the stream ended without a status; each has the unread output in `stdout` and `stderr`.
        """
        return await self._output.wait_exit()

    async def resize(self, cols: int, rows: int) -> None:
        """Tell the command's terminal its new size, in characters. Does nothing without a PTY, and after the end of
        the command or of its input. Raises `ValueError` for negative numbers."""
        check_size(cols, rows)
        if not self._pty or self._stdin.closed or self._output.ended:
            return
        from boxd.messages.exec import ExecChunk

        await self._stream.send(ExecChunk(window_change=True, cols=cols, rows=rows))

    async def close(self) -> None:
        """End the command, with all its processes, if it still runs. Output that has arrived can still be read.
        Idempotent."""
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
    if not 0 <= cols < 65536 or not 0 <= rows < 65536:
        raise ValueError(f"a terminal of {cols} columns and {rows} rows: use 1 to 65535, or 0 for the default")
