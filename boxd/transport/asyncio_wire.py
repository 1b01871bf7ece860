"""A socket on asyncio, without a layer between: the event loop hands bytes to a protocol, and the reader takes them.

anyio's socket stream does the same for any event loop, but turns reading on and off around every read. On the way of a
small call that is the largest single cost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from boxd.transport.wire import READ_SIZE

#: Bytes that may wait for the reader task before the socket is left alone, and the kernel slows the peer.
_HIGH_WATER = 4 * READ_SIZE


class AsyncioWire(asyncio.Protocol):
    """A wire over an asyncio transport; make it with `connect_tcp` or `connect_unix`."""

    wants_write = False

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self._paused = False
        self._ended = False
        self._error: Exception | None = None
        self._reader: asyncio.Future[None] | None = None
        # While `pump` runs: who gets the bytes, and the end of it.
        self._sink: Callable[[bytes], bool] | None = None
        self._pumped: asyncio.Future[None] | None = None
        # Not None while the kernel takes no more.
        self._blocked: asyncio.Future[None] | None = None
        self._gone = self._loop.create_future()

    @property
    def socket(self) -> Any:
        """The operating system's, for its options."""
        assert self._transport is not None
        return self._transport.get_extra_info("socket")

    # -- Wire

    async def receive(self) -> bytes:
        while not self._chunks:
            if self._error is not None:
                raise _os_error(self._error)
            if self._ended:
                return b""
            self._reader = self._loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        return self._take()

    def _take(self) -> bytes:
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._size = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return data

    async def pump(self, sink: Callable[[bytes], bool]) -> None:
        while self._chunks:
            if not sink(self._take()):
                return
        if self._error is not None:
            raise _os_error(self._error)
        if self._ended:
            return
        self._sink = sink
        self._pumped = self._loop.create_future()
        try:
            await self._pumped
        finally:
            self._sink = self._pumped = None

    @property
    def ready(self) -> bool:
        transport = self._transport
        return self._blocked is None and self._error is None and transport is not None and not transport.is_closing()

    @property
    def stirs(self) -> bool:
        return bool(self._chunks) or self._ended or self._error is not None

    def send_now(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    async def send(self, data: bytes) -> None:
        transport = self._transport
        if self._error is not None or transport is None or transport.is_closing():
            raise _os_error(self._error)
        transport.write(data)
        if self._blocked is not None:
            await asyncio.shield(self._blocked)
            if self._error is not None:
                raise _os_error(self._error)

    async def aclose(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            await asyncio.shield(self._gone)

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not all of them derive from it: uvloop's do not.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._sink is not None:
            self._pour(self._sink, data)
            return
        self._chunks.append(data)
        self._size += len(data)
        if self._size >= _HIGH_WATER and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self._ended = True
        self._wake()
        return True  # What the writer still has to say may go out.

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._error = exc
        self._wake()
        self.resume_writing()
        if not self._gone.done():
            self._gone.set_result(None)

    def pause_writing(self) -> None:
        self._blocked = self._loop.create_future()

    def resume_writing(self) -> None:
        blocked, self._blocked = self._blocked, None
        if blocked is not None and not blocked.done():
            blocked.set_result(None)

    def _pour(self, sink: Callable[[bytes], bool], data: bytes) -> None:
        error: Exception | None = None
        try:
            if sink(data):
                return
        except Exception as exc:  # `pump` raises it, where the event loop would only log it.
            error = exc
        self._sink = None
        if self._pumped is not None and not self._pumped.done():
            if error is None:
                self._pumped.set_result(None)
            else:
                self._pumped.set_exception(error)

    def _wake(self) -> None:
        if self._pumped is not None and not self._pumped.done():
            self._sink = None
            if self._error is None:
                self._pumped.set_result(None)
            else:
                self._pumped.set_exception(_os_error(self._error))
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


async def connect_tcp(host: str, port: int) -> AsyncioWire:
    """Connect to an IP address. Raises `OSError`."""
    _, wire = await asyncio.get_running_loop().create_connection(AsyncioWire, host, port)
    return wire


async def connect_unix(path: str) -> AsyncioWire:
    """Connect to a Unix socket. Raises `OSError`."""
    _, wire = await asyncio.get_running_loop().create_unix_connection(AsyncioWire, path)
    return wire


def _os_error(error: Exception | None) -> OSError:
    return error if isinstance(error, OSError) else ConnectionResetError("the connection was closed")
