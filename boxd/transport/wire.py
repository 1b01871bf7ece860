"""The byte stream under a connection."""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import anyio

if TYPE_CHECKING:
    from anyio.abc import ByteStream

#: Large reads: asyncio hands over up to 256 KiB at once, and each read has its price.
READ_SIZE = 1 << 18

# glibc gives large blocks back to the kernel as soon as they are free, and the next read pays for fresh pages: in a
# process whose heap ends unluckily, 30,000 page faults for 100 MB, and half the speed. Once it has seen a block of
# this size come and go, it keeps smaller ones, and up to twice as much of them (mallopt(3), M_MMAP_THRESHOLD).
_block = bytes(8 << 20)
del _block


class TlsBroken(OSError):
    """TLS ended with an alert, or with what is no TLS: a server that refuses a client's certificate says so only after
    the handshake in TLS 1.3. The message says why, as the end of a sentence about the server."""


class Wire(Protocol):
    """Bytes both ways. One task reads and one writes. Failures are `OSError`."""

    async def receive(self) -> bytes:
        """What came next; empty when the peer has closed its side."""

    async def pump(self, sink: Callable[[bytes], bool]) -> None:
        """Give `sink` what comes, until it returns False or the peer has closed its side. On asyncio the event loop
        calls `sink` itself: no task has to wake up for it."""

    async def send(self, data: bytes) -> None:
        """Write all of `data` (and whatever the wire itself has to say)."""

    @property
    def ready(self) -> bool:
        """True when `send_now` may be used: nothing is being written, and the kernel takes more."""

    def send_now(self, data: bytes) -> None:
        """Write all of `data` without waiting."""

    @property
    def wants_write(self) -> bool:
        """True when the wire itself has something to say, as TLS sometimes does while it reads."""

    @property
    def stirs(self) -> bool:
        """True when bytes, or the end, have come that nobody has received yet."""

    async def aclose(self) -> None:
        """Close at once. Never raises."""


class SocketWire:
    """A TCP or Unix socket."""

    wants_write = False

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream

    @property
    def socket(self) -> Any:
        """The operating system's, for its options."""
        from anyio.abc import SocketAttribute

        return self._stream.extra(SocketAttribute.raw_socket)

    async def receive(self) -> bytes:
        try:
            return await self._stream.receive(READ_SIZE)
        except anyio.EndOfStream:
            return b""
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as exc:
            raise _os_error(exc) from exc

    async def pump(self, sink: Callable[[bytes], bool]) -> None:
        while (data := await self.receive()) and sink(data):
            pass

    async def send(self, data: bytes) -> None:
        try:
            await self._stream.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as exc:
            raise _os_error(exc) from exc

    @property
    def ready(self) -> bool:
        return False

    def send_now(self, data: bytes) -> None:
        raise NotImplementedError("a socket of anyio's writes with send() only")

    @property
    def stirs(self) -> bool:
        try:
            return bool(select.select([self.socket], [], [], 0)[0])
        except (OSError, ValueError):  # Closed, or a descriptor too large for select.
            return bool(self.socket.fileno() < 0)

    async def aclose(self) -> None:
        await anyio.aclose_forcefully(self._stream)


class EarlyBytes:
    """A wire of which some bytes have been received already."""

    def __init__(self, raw: Wire, data: bytes) -> None:
        self._raw = raw
        self._data = data

    async def receive(self) -> bytes:
        if self._data:
            data, self._data = self._data, b""
            return data
        return await self._raw.receive()

    async def pump(self, sink: Callable[[bytes], bool]) -> None:
        data, self._data = self._data, b""
        if not data or sink(data):
            await self._raw.pump(sink)

    async def send(self, data: bytes) -> None:
        await self._raw.send(data)

    @property
    def ready(self) -> bool:
        return self._raw.ready

    def send_now(self, data: bytes) -> None:
        self._raw.send_now(data)

    @property
    def wants_write(self) -> bool:
        return self._raw.wants_write

    @property
    def stirs(self) -> bool:
        return bool(self._data) or self._raw.stirs

    async def aclose(self) -> None:
        await self._raw.aclose()


def _os_error(exc: Exception) -> OSError:
    """The operating system's own error behind anyio's."""
    cause = exc.__cause__
    return cause if isinstance(cause, OSError) else ConnectionResetError(str(exc) or "the connection was reset")
