"""What the tests of commands share."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio


async def sh(box: Any, script: str, **options: Any) -> Any:
    """Run a script in the box's shell."""
    return await box.exec("sh", "-c", script, **options)


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    """Wait until `check` is true of what the server says, which has no event for it."""
    with anyio.fail_after(15):
        while not await check():  # noqa: ASYNC110
            await anyio.sleep(0.1)


class Released:
    """Tells when processes in a box have taken hold of a FIFO, and when the last of them has ended."""

    def __init__(self, watch: Any) -> None:
        self._watch = watch

    async def held(self) -> None:
        """Wait until a process holds it."""
        with anyio.fail_after(15):
            assert await self._watch.stdout.read() == b"held\n"

    async def __call__(self) -> None:
        """Wait until no process holds it any more."""
        with anyio.fail_after(15):
            assert await self._watch.wait() == 0


@asynccontextmanager
async def lasts_until(box: Any) -> AsyncIterator[tuple[str, Released]]:
    """A shell command that takes hold of a FIFO, for a process and all that it starts, and a `Released` for it.

    The kernel knows best whether a process, or a child of its, is left: the reader of a FIFO reads its end when the
    last writer is gone.
    """
    path = f"/tmp/fifo-{secrets.token_hex(8)}"
    script = f"mkfifo {path}; echo ready; exec 3<{path}; echo held; cat <&3; rm {path}"
    async with await box.exec("sh", "-c", script, stream=True) as watch:
        assert await watch.stdout.read() == b"ready\n"
        yield f"exec 9>{path}", Released(watch)
