"""Connections to the programs of a box."""

from __future__ import annotations

import asyncio
import errno
import os
import socket

KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
"""The protocols of a connection into a box, with their socket types."""

HERE = "127.0.0.1"
"""Where the programs of a box listen that shares the host's network."""


def begin(address: str, port: int, protocol: str) -> socket.socket:
    """A non-blocking socket that is connected, or about to be, to a port. Raises `OSError`."""
    sock = socket.socket(socket.AF_INET, KINDS[protocol])
    try:
        sock.setblocking(False)
        code = sock.connect_ex((address, port))
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise
    return sock


async def finish(sock: socket.socket) -> socket.socket:
    """Wait until the socket is connected. Raises `OSError`, and has closed the socket then."""
    loop = asyncio.get_running_loop()
    writable: asyncio.Future[None] = loop.create_future()
    loop.add_writer(sock, _resolve, writable)
    try:
        await writable
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
    except BaseException:
        loop.remove_writer(sock)
        sock.close()
        raise
    loop.remove_writer(sock)
    return sock


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
