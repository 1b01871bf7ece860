"""One Exec call: a process, its input and its output.

Output passes through a queue of two chunks: when the client takes nothing, the process's pipes fill
and the process waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from boxd import messages

from .errors import Code, EmulatorError, from_os_error
from .sandbox import Machine, Process, Spawn
from .sandbox.process import FdReader

_LONGEST_COMMAND = 128 * 1024 - 1
_DEFAULT_SIZE = (80, 24)
_QUIET_SECONDS = 0.1
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 1024 * 1024
_STOPPED = Code.FAILED_PRECONDITION

Chunk = messages.ExecChunk


class ExecSession:
    """The server's side of an Exec stream: an async iterator of chunks.

    `open_machine` gives the machine for a box's id, and the variables of its account; `background` keeps the
    clean-up of a cancelled call running; `on_end` is called when the call is over. `aclose` ends the command.
    """

    def __init__(
        self,
        requests: AsyncIterator[Chunk],
        open_machine: Callable[[str], Coroutine[Any, Any, tuple[Machine, dict[str, str]]]],
        background: Callable[[Coroutine[Any, Any, None]], object],
        grace: float,
        on_end: Callable[[], object],
    ) -> None:
        self._requests = requests
        self._open_machine = open_machine
        self._background = background
        self._grace = grace
        self._on_end = on_end
        self._machine: Machine | None = None
        self._process: Process | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._chunks: asyncio.Queue[Chunk | BaseException] = asyncio.Queue(2)
        self._moved = 0
        self._blocked = 0
        self._printed = asyncio.Event()
        self._over = False

    def __aiter__(self) -> ExecSession:
        return self

    async def __anext__(self) -> Chunk:
        if self._over:
            raise StopAsyncIteration
        if self._process is None:
            await self._start()
        chunk = await self._chunks.get()
        if isinstance(chunk, BaseException):
            self._over = True
            raise chunk
        if not chunk.data:
            self._over = True
        return chunk

    async def _start(self) -> None:
        try:
            first = await self._requests.__anext__()
        except StopAsyncIteration:
            raise EmulatorError(
                Code.INVALID_ARGUMENT, "an Exec stream begins with a chunk that names the box"
            ) from None
        if not first.command:
            raise EmulatorError(Code.INVALID_ARGUMENT, "the first chunk of an Exec stream has no command")
        if "\0" in first.command:
            raise EmulatorError(Code.INVALID_ARGUMENT, "the command has a NUL byte in it")
        if len(first.command.encode()) > _LONGEST_COMMAND:
            raise EmulatorError(Code.INVALID_ARGUMENT, f"the command is longer than {_LONGEST_COMMAND} bytes")
        machine, env = await self._open_machine(first.vm_id)
        self._machine = machine
        size = (first.cols or _DEFAULT_SIZE[0], first.rows or _DEFAULT_SIZE[1])
        if first.tty:
            env = {**env, "TERM": "xterm-256color"}
        spawn = Spawn(("sh", "-c", first.command), env, tty=_bounded(size) if first.tty else None)
        try:
            self._process = process = await machine.spawn(spawn)
        except OSError as error:
            if not machine.alive:
                raise EmulatorError(_STOPPED, "the box is stopped: it was powered off as the command began") from error
            raise from_os_error(error, "the command could not be started") from error
        if first.data and first.stdin:
            await process.stdin.write(first.data)
        pumps = [self._begin(self._pump(process.stdout, False))]
        if process.stderr is not None:
            pumps.append(self._begin(self._pump(process.stderr, True)))
        self._begin(self._feed(process))
        self._begin(self._finish(process, pumps))

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.append(task)
        return task

    async def _pump(self, reader: FdReader, is_stderr: bool) -> None:
        while data := await reader.read():
            self._printed.set()
            await self._emit(Chunk(data=data, is_stderr=is_stderr))

    async def _emit(self, chunk: Chunk) -> None:
        self._blocked += 1
        try:
            await self._chunks.put(chunk)
        finally:
            self._blocked -= 1
        self._moved += len(chunk.data)

    async def _feed(self, process: Process) -> None:
        """Pass the client's chunks on until it half-closes."""
        try:
            async for chunk in self._requests:
                if chunk.window_change:
                    process.resize(chunk.cols or _DEFAULT_SIZE[0], chunk.rows or _DEFAULT_SIZE[1])
                elif chunk.data:
                    await process.stdin.write(chunk.data)
            await process.end_input()
            while process.stderr is None:
                # What a terminal shows tells that its program did something, such as change the terminal's mode.
                self._printed.clear()
                await self._printed.wait()
                await process.renew_end_of_input()
        except Exception as error:
            # A chunk that is no message, or a stream that broke: it ends the call, not just the input.
            await self._chunks.put(error)

    async def _finish(self, process: Process, pumps: list[asyncio.Task[None]]) -> None:
        """Send the exit after everything that the command wrote."""
        code = await process.wait()
        await self._drain(pumps)
        for pump in pumps:
            pump.cancel()
        await asyncio.wait(pumps)
        for reader, is_stderr in ((process.stdout, False), (process.stderr, True)):
            rest = None if reader is None else reader.read_nowait()
            if rest:
                await self._emit(Chunk(data=rest, is_stderr=is_stderr))
        if self._machine is not None and not self._machine.alive:
            text = "the box is stopped: it was powered off while the command ran"
            await self._chunks.put(EmulatorError(_STOPPED, text))
        else:
            await self._chunks.put(Chunk(exit_code=code))

    async def _drain(self, pumps: list[asyncio.Task[None]]) -> None:
        """Wait for the end of the outputs, but not for a background child that keeps them open.

        What the command itself wrote is in the pipes when it has ended. So that was all when nothing comes
        for a short time, and when more has come than pipes hold.
        """
        most = self._moved + _LINGER_BYTES
        waited = 0.0
        while waited < _LINGER_SECONDS and self._moved < most:
            moved = self._moved
            _, open_pumps = await asyncio.wait(pumps, timeout=_QUIET_SECONDS)
            if not open_pumps or (self._moved == moved and not self._blocked):
                return
            # A client that takes its time is no reason to cut its output short.
            waited += 0.0 if self._blocked else _QUIET_SECONDS

    async def aclose(self) -> None:
        """End the call: a command that still runs gets SIGTERM and later SIGKILL. Idempotent."""
        self._over = True
        self._on_end()
        process, self._process = self._process, None
        for task in self._tasks:
            task.cancel()
        tasks, self._tasks = self._tasks, []
        if process is not None:
            self._background(_end(process, tasks, self._grace))


async def _end(process: Process, tasks: list[asyncio.Task[None]], grace: float) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)
    try:
        if process.exit_code is None:
            await process.terminate(grace)
    finally:
        process.close()


def _bounded(size: tuple[int, int]) -> tuple[int, int]:
    columns, rows = (min(max(value, 1), 65535) for value in size)
    return columns, rows
