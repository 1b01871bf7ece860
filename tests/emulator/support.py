"""What the tests of the emulator share: sandboxes of each kind, commands in them, and a look at the host."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from boxd.emulator.sandbox import Machine, Process, Sandbox, SandboxError, Spawn
from boxd.emulator.sandbox.choose import _probe
from boxd.emulator.sandbox.namespaces import NamespaceSandbox
from boxd.emulator.sandbox.plain import PlainSandbox

ISOLATED = ("root", "user-namespace")
KINDS = (*ISOLATED, "plain")


@dataclass
class Result:
    out: str
    err: str
    code: int


async def open_sandbox(kind: str, state: Path, *, sudo: bool = True) -> Sandbox:
    """A sandbox of one kind over `state`."""
    if kind == "plain":
        return PlainSandbox(str(state), True)
    privileged = kind == "root"
    return await NamespaceSandbox.start(
        str(state), privileged=privileged, whole=privileged, in_memory=False, sudo=sudo, remove_at_end=True
    )


@contextlib.asynccontextmanager
async def sandbox_of(kind: str, state: Path, *, sudo: bool = True) -> AsyncIterator[Sandbox]:
    """The same, closed at the end."""
    sandbox = await open_sandbox(kind, state, sudo=sudo)
    try:
        yield sandbox
    finally:
        await sandbox.close()


@contextlib.asynccontextmanager
async def machine_of(kind: str, state: Path, name: str = "one") -> AsyncIterator[Machine]:
    """A booted box of a fresh sandbox."""
    async with sandbox_of(kind, state) as sandbox:
        yield await new_machine(sandbox, name)


async def new_machine(sandbox: Sandbox, name: str) -> Machine:
    """A new booted box."""
    await sandbox.prepare(name, name)
    return await sandbox.boot(name, name, {"FROM_BOX": "yes"})


async def run(machine: Machine, command: str, stdin: bytes = b"", tty: tuple[int, int] | None = None) -> Result:
    """Run a shell command to its end."""
    process = await machine.spawn(Spawn(("sh", "-c", command), tty=tty))
    try:
        return await finish(process, stdin)
    finally:
        process.close()


async def finish(process: Process, stdin: bytes = b"") -> Result:
    """Feed a process and take everything that it says."""

    async def feed() -> None:
        await process.stdin.write(stdin)
        await process.end_input()

    async def collect(reader: Any) -> str:
        parts = []
        while reader is not None and (data := await reader.read()):
            parts.append(data)
        return b"".join(parts).decode()

    _, out, err = await asyncio.gather(feed(), collect(process.stdout), collect(process.stderr))
    return Result(out, err, await process.wait())


async def write(machine: Machine, path: str, data: bytes) -> None:
    """Put a file into a box."""
    upload = await machine.open_write(path)
    os.write(upload.fd, data)
    os.close(upload.fd)
    await upload.commit()


async def read(machine: Machine, path: str) -> bytes:
    """Take a file out of a box."""
    download = await machine.open_read(path)
    return read_all(download.fd)


def read_all(fd: int) -> bytes:
    """Everything from a descriptor, which is closed."""
    with open(fd, "rb") as source:
        return source.read()


def mounts() -> str:
    """The mounts that this process sees."""
    return Path("/proc/self/mountinfo").read_text()


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for something on the host that nothing announces."""
    end = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < end, "it did not happen"
        await asyncio.sleep(0.02)


@lru_cache
def works(kind: str) -> str:
    """ "" when this kind of sandbox works here, else the reason."""
    if kind == "plain":
        return ""
    if not sys.platform.startswith("linux"):
        return "not Linux"
    if kind == "root" and os.geteuid() != 0:
        return "not root"

    async def probe() -> None:
        import tempfile

        async with sandbox_of(kind, Path(tempfile.mkdtemp(prefix="boxd-test-"))) as sandbox:
            await _probe(sandbox)

    try:
        asyncio.run(probe())
    except (SandboxError, OSError) as error:
        return str(error)
    return ""


def processes(marker: str) -> list[int]:
    """The host's processes with `marker` in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if marker.encode() in line and entry.name != str(os.getpid()):
                found.append(int(entry.name))
    return found


def asynchronous(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test to its end on a fresh loop, within a minute."""
    import functools

    @functools.wraps(test)
    def run_it(*args: Any, **kwargs: Any) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 60))

    return run_it
