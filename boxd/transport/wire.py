"""The byte stream under a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import anyio

if TYPE_CHECKING:
    from anyio.abc import ByteStream

#: Large reads: asyncio hands over up to 256 KiB at once, and each read has its price.
READ_SIZE = 1 << 18


class Wire(Protocol):
    """Bytes both ways. One task reads and one writes. Failures are `OSError`."""

    async def receive(self) -> bytes:
        """What came next; empty when the peer has closed its side."""

    async def send(self, data: bytes) -> None:
        """Write all of `data` (and whatever the wire itself has to say)."""

    @property
    def wants_write(self) -> bool:
        """True when the wire itself has something to say, as TLS sometimes does while it reads."""

    async def aclose(self) -> None:
        """Close at once. Never raises."""


class SocketWire:
    """A TCP or Unix socket."""

    wants_write = False

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream

    async def receive(self) -> bytes:
        try:
            return await self._stream.receive(READ_SIZE)
        except anyio.EndOfStream:
            return b""
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as exc:
            raise _os_error(exc) from exc

    async def send(self, data: bytes) -> None:
        try:
            await self._stream.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as exc:
            raise _os_error(exc) from exc

    async def aclose(self) -> None:
        await anyio.aclose_forcefully(self._stream)


def _os_error(exc: Exception) -> OSError:
    """The operating system's own error behind anyio's."""
    cause = exc.__cause__
    return cause if isinstance(cause, OSError) else ConnectionResetError(str(exc) or "the connection was reset")
