"""A command whose call is cancelled while it starts is ended, whatever the emulator is about at that moment."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

from boxd.emulator.execs import Chunk, ExecSession
from boxd.emulator.sandbox import Machine
from tests.emulator.support import asynchronous, machine_of, processes, run, until


class Requests(AsyncIterator[Chunk]):
    """The first message of a call, and then nothing: its client neither sends more nor half-closes."""

    def __init__(self, command: str) -> None:
        self._first: list[Chunk] = [Chunk(vm_id="one", command=command)]

    async def __anext__(self) -> Chunk:
        if self._first:
            return self._first.pop()
        return await asyncio.get_running_loop().create_future()


class Calls:
    """Makes Exec calls on a machine, without a server."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._clean_up: list[asyncio.Task[None]] = []

    async def _open(self, key: str) -> tuple[Machine, dict[str, str]]:
        return self._machine, {}

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        self._clean_up.append(asyncio.get_running_loop().create_task(work))

    async def cancelled_after(self, turns: int, command: str) -> bool:
        """Start a command, cancel its call after this many turns of the event loop, and do what the server then does.
        True if the call was still starting its command."""
        session = ExecSession(Requests(command), self._open, self._background, 0.2, lambda: None)
        call = asyncio.get_running_loop().create_task(session.__anext__())
        for _ in range(turns):
            await asyncio.sleep(0)
        starting = session._process is None
        call.cancel()
        await asyncio.wait([call])
        await session.aclose()
        if self._clean_up:
            await asyncio.wait(self._clean_up)
        return starting


@asynchronous
async def test_cancelled_between_the_request_and_its_answer(isolated: str, state: Path) -> None:
    """After one turn the box has been asked to start the command, and its answer cannot have been read."""
    marker = f"{secrets.randbelow(10**6) + 10**6}.5"
    async with machine_of(isolated, state) as machine:
        for _ in range(5):
            assert await Calls(machine).cancelled_after(1, f"trap '' TERM; while :; do sleep {marker}; done")
        # Answered after the requests before it.
        assert (await run(machine, "echo on")).out == "on\n"
        await until(lambda: not processes(marker))


@asynchronous
async def test_cancelled_at_any_other_moment(kind: str, state: Path) -> None:
    marker = f"{secrets.randbelow(10**6) + 10**6}.5"
    async with machine_of(kind, state) as machine:
        calls = Calls(machine)
        for turns in range(30):
            await calls.cancelled_after(turns, f"sleep {marker}")
        assert (await run(machine, "echo on")).out == "on\n"
        await until(lambda: not processes(marker))
