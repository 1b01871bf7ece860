"""Listening for TCP connections, each served by a task of its own that ends with the listener."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Listener:
    """Calls `serve` with the two ends of each connection, and closes the connection when it returns or raises.

    Errors of the connection (`ConnectionError`, `TimeoutError` and those in `ignored`) end it without a sound: the
    other side is gone, silent or speaks something else, so there is nobody to tell.
    """

    def __init__(self, serve: Serve, ignored: tuple[type[Exception], ...] = ()) -> None:
        self._serve = serve
        self._ignored: tuple[type[Exception], ...] = (ConnectionError, asyncio.TimeoutError, *ignored)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port."""
        self._server = await asyncio.start_server(self._accept, host, port)
        listening: int = self._server.sockets[0].getsockname()[1]
        return listening

    async def close(self) -> None:
        """Stop listening and drop the connections. Idempotent."""
        if self._server is None:
            return
        self._server.close()
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)
        self._server = None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._serve(reader, writer)
        except self._ignored:
            return
        except asyncio.CancelledError:
            # `close` ends the connections. Passing this on would make asyncio.streams log it as an error.
            return
        finally:
            self._connections.discard(task)
            writer.close()


def reset(writer: asyncio.WriteTransport | asyncio.StreamWriter) -> None:
    """Break a TCP connection off with an RST segment, which the other side cannot take for an orderly end."""
    transport = writer.transport if isinstance(writer, asyncio.StreamWriter) else writer
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6) and not transport.is_closing():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
