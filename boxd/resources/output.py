"""The output of a running command: one stream of chunks, shared out between the readers of its two outputs."""

from __future__ import annotations

import copy
import sys
import tempfile
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import IO, TYPE_CHECKING, Protocol

import anyio
import anyio.lowlevel

from boxd.errors import BoxdError, WrongLoopError
from boxd.resources.outcome import exit_unknown

if TYPE_CHECKING:
    from boxd.messages.exec import ExecChunk

SPILL_LIMIT = 8 << 20
"""Bytes of an output that nobody reads which are kept in memory while the other output is read."""
_SPILL_READ = 1 << 20


class ExitStatus:
    """Finds the exit status among the chunks that a command sends.

    The message has no presence for `exit_code`, so a chunk with output seems to say 0. What counts: a chunk without
    data that is not the echo of a resize, and a chunk with data whose code is not 0. The latest of them is right.
    """

    code: int | None = None

    def note(self, chunk: ExecChunk) -> None:
        """Look at the next chunk."""
        if chunk.exit_code if chunk.data else not chunk.window_change:
            self.code = chunk.exit_code


def closed_early() -> BoxdError:
    """The error for waiting for a command that was ended with `close`."""
    return BoxdError("the process was closed before its exit status came", 1)


class Spool:
    """A queue of bytes that moves to an unnamed temporary file where it grows beyond `limit`: bounded memory, and
    nothing lost. Where there is no place for temporary files, as in a container with a read-only file system, it stays
    in memory."""

    def __init__(self, limit: int = SPILL_LIMIT) -> None:
        self._limit = limit
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self._file: IO[bytes] | None = None
        self._read = self._written = 0

    def __bool__(self) -> bool:
        return bool(self._chunks) or self._read < self._written

    def put(self, data: bytes, *, wanted: bool) -> None:
        """Add `data`. With `wanted` a reader waits for it, and it stays in memory unless older data is in the
        file."""
        fits = wanted or self._held + len(data) <= self._limit
        file = None if fits and self._read == self._written else self._spill()
        if file is None:
            self._chunks.append(data)
            self._held += len(data)
            return
        # Written in the event loop: to the page cache it takes about as long as a copy, and a hop to a thread longer.
        file.seek(self._written)
        view = memoryview(data)
        while view:
            count = file.write(view)
            self._written += count
            view = view[count:]

    def _spill(self) -> IO[bytes] | None:
        """The file; None where there is no place for one."""
        if self._file is None:
            try:
                self._file = tempfile.TemporaryFile(prefix="boxd-", buffering=0)  # noqa: SIM115  Closed in `__del__`.
            except FileNotFoundError:
                self._limit = sys.maxsize
        return self._file

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self._held + self._written - self._read

    def pop(self, most: int = _SPILL_READ) -> bytes:
        """Take the next piece, or `b""` if there is none: a piece as it was put, or at most `most` bytes of the
        file."""
        if self._chunks:
            data = self._chunks.popleft()
            self._held -= len(data)
            return data
        if self._file is None or self._read == self._written:
            return b""
        self._file.seek(self._read)
        data = self._file.read(min(most, _SPILL_READ, self._written - self._read))
        self._read += len(data)
        if self._read == self._written:
            self._file.truncate(0)
            self._read = self._written = 0
        return data

    def pop_all(self) -> list[bytes]:
        """Take everything in memory, or else one piece of the file."""
        if not self._chunks:
            return [data] if (data := self.pop()) else []
        chunks = list(self._chunks)
        self._chunks.clear()
        self._held = 0
        return chunks

    @property
    def spilled(self) -> bool:
        """True if the next piece comes from the file."""
        return not self._chunks and self._read < self._written

    def peek(self) -> bytes:
        """What is in memory, without taking it."""
        return b"".join(self._chunks)

    def __del__(self) -> None:
        if self._file is not None:
            self._file.close()


class ChunkSource(Protocol):
    """Where the chunks come from: a `Stream`."""

    async def receive_batch(self) -> list[ExecChunk]:
        """The chunks at hand, at least one; none at the end."""

    def cancel(self) -> None:
        """End the command's stream. Idempotent."""


# In place of a spool: the reader of both.
_BOTH = Spool()
Explain = Callable[[BoxdError], Awaitable[BoxdError]]


class Order:
    """In which order the bytes of two spools came: runs of bytes of the one and of the other."""

    def __init__(self, *spools: Spool) -> None:
        """What is in the spools already counts as it stands: all of the first, then all of the second."""
        self._runs: deque[tuple[Spool, int]] = deque((spool, spool.size) for spool in spools if spool)

    def __bool__(self) -> bool:
        return bool(self._runs)

    def note(self, spool: Spool, count: int) -> None:
        """`count` bytes were added to `spool`."""
        if self._runs and self._runs[-1][0] is spool:
            count += self._runs.pop()[1]
        self._runs.append((spool, count))

    def pop(self) -> tuple[Spool, bytes]:
        """Take the next piece. There must be one."""
        spool, count = self._runs.popleft()
        data = spool.pop(count)
        if len(data) < count:
            self._runs.appendleft((spool, count - len(data)))
        return spool, data


class Output:
    """Reads a command's chunks on behalf of whoever waits: the reader of standard output, that of standard error, and
    those who wait for the exit, in any order and from any task.

    One of the waiting tasks pulls a batch and files every chunk where it belongs; the others look again after each
    batch. When nobody waits nothing is pulled, and HTTP/2 flow control stops the sender.
    """

    def __init__(self, source: ChunkSource, *, text: bool = True, explain: Explain | None = None) -> None:
        """`text`: errors have their outputs as text, not as bytes. `explain` gives the public error for the one that
        the stream ended with."""
        self.stdout: Spool = Spool()
        self.stderr: Spool = Spool()
        self.ended: bool = False
        self.order: Order | None = None
        self._source = source
        self._text = text
        self._explain = explain
        self._unknown: BoxdError | None = None
        self._exit = ExitStatus()
        self._error: BoxdError | OSError | None = None
        self._pulling = False
        self._filed: anyio.Event | None = None

    @property
    def exit_code(self) -> int | None:
        """The exit status; None before the end, and where none came."""
        return self._exit.code if self.ended else None

    async def wait_data(self, spool: Spool) -> bool:
        """Wait until there is something in `spool`, which is one of the two. Returns False at the end of the output
        and raises the error that the command's stream ended with; `RuntimeError` after `merge`."""
        if spool.spilled:
            # Reading what is at hand must not keep the other tasks from running.
            await anyio.lowlevel.checkpoint()
        while not spool:
            if self.ended:
                self._raise()
                return False
            await self._advance(spool)
            self.check_apart()
        return True

    def check_apart(self) -> None:
        """Raises `RuntimeError` after `merge`."""
        if self.order is not None:
            raise RuntimeError("output() reads both outputs of this process: neither can be read by itself any more")

    def merge(self) -> Order:
        """From now on the order in which the two outputs come is kept, and they are read together."""
        if self.order is None:
            self.order = Order(self.stdout, self.stderr)
            # Who waits for one of them looks again, and finds that it cannot be read by itself.
            self._wake()
        return self.order

    async def wait_any(self, order: Order) -> bool:
        """Like `wait_data`, for both outputs after `merge`."""
        if self.stdout.spilled or self.stderr.spilled:
            await anyio.lowlevel.checkpoint()
        while not order:
            if self.ended:
                self._raise()
                return False
            await self._advance(_BOTH)
        return True

    async def wait_exit(self) -> int:
        """Wait for the end of the command and return its exit status; what it writes meanwhile is kept for the
        readers. Raises the error that its stream ended with, `ExitUnknownError` where no status came."""
        while not self.ended:
            await self._advance(None)
        self._raise()
        if self._exit.code is None:
            if self._unknown is None:
                raise self.with_output(closed_early())
            raise self.with_output(copy.copy(self._unknown)) from self._unknown.__cause__
        return self._exit.code

    def close(self) -> None:
        """End the command. What has arrived can still be read; then the outputs are at their end."""
        if not self.ended:
            self._end(None)
        self._source.cancel()

    async def _advance(self, reader: Spool | None) -> None:
        """Wait until another batch is filed, by this task or by the one that is at it."""
        if self._pulling:
            if self._filed is None:
                self._filed = anyio.Event()
            await self._filed.wait()
            return
        self._pulling = True
        try:
            batch = await self._source.receive_batch()
            if batch and not self.ended:
                self._file(batch, reader)
            elif not self.ended:
                self._unknown = None if self._exit.code is not None else await self._told(exit_unknown())
                self._end(None)
        except WrongLoopError:
            raise  # The stream goes on where it belongs.
        except (BoxdError, OSError) as error:
            told = await self._told(error) if isinstance(error, BoxdError) else error
            if not self.ended:
                self._end(told)
            # The disk may be what failed, with the stream still open.
            self._source.cancel()
        finally:
            self._pulling = False
            self._wake()

    def _file(self, batch: Iterable[ExecChunk], reader: Spool | None) -> None:
        for chunk in batch:
            self._exit.note(chunk)
            if chunk.data:
                spool = self.stderr if chunk.is_stderr else self.stdout
                spool.put(chunk.data, wanted=spool is reader or reader is _BOTH)
                if self.order is not None:
                    self.order.note(spool, len(chunk.data))

    async def _told(self, error: BoxdError) -> BoxdError:
        return error if self._explain is None else await self._explain(error)

    def _end(self, error: BoxdError | OSError | None) -> None:
        self.ended = True
        self._error = error
        self._wake()

    def _wake(self) -> None:
        filed, self._filed = self._filed, None
        if filed is not None:
            filed.set()

    def _raise(self) -> None:
        if self._error is not None:
            # A copy for each: one object raised in several tasks would gather all their tracebacks.
            raise self.with_output(copy.copy(self._error)) from self._error.__cause__

    def with_output(self, error: BoxdError | OSError) -> BoxdError | OSError:
        """`error` with what was not read yet, up to `SPILL_LIMIT` of each output."""
        if isinstance(error, BoxdError):
            pair = self.stdout.peek(), self.stderr.peek()
            error.stdout, error.stderr = [data.decode("utf-8", "replace") for data in pair] if self._text else pair
        return error
