"""Messages between the emulator and its helpers: one JSON object and file descriptors per packet.

The sockets are Unix `SOCK_SEQPACKET` pairs, so that a message arrives whole and the descriptors
sent with it (SCM_RIGHTS) belong to it without doubt. A message too big for a packet travels in
a memory file, which is then the first descriptor.
"""

from __future__ import annotations

import array
import json
import os
import socket
from typing import Any

Message = dict[str, Any]

_LARGEST_INLINE = 32 * 1024
_RECEIVE_BYTES = 64 * 1024
_MOST_DESCRIPTORS = 8
_IN_MEMORY_FILE = b"@"


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected packet sockets, not inherited by other programs."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(sock: socket.socket, message: Message, fds: tuple[int, ...] = ()) -> None:
    """Send one message with its descriptors; the caller keeps (and closes) its own copies.

    Raises `BlockingIOError` on a full non-blocking socket and `OSError` when the other end is gone.
    """
    raw = json.dumps(message, separators=(",", ":")).encode()
    if len(raw) <= _LARGEST_INLINE:
        _send_packet(sock, raw, fds)
        return
    memory = os.memfd_create("boxd-message")
    try:
        with open(memory, "wb", closefd=False) as target:
            target.write(raw)
        _send_packet(sock, _IN_MEMORY_FILE, (memory, *fds))
    finally:
        os.close(memory)


def _send_packet(sock: socket.socket, raw: bytes, fds: tuple[int, ...]) -> None:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([raw], rights, socket.MSG_NOSIGNAL)


def receive(sock: socket.socket) -> tuple[Message, list[int]] | None:
    """The next message and its descriptors (owned by the caller); None when the other end is gone.

    Raises `BlockingIOError` on an empty non-blocking socket.
    """
    space = socket.CMSG_SPACE(_MOST_DESCRIPTORS * array.array("i").itemsize)
    try:
        raw, rights, _, _ = sock.recvmsg(_RECEIVE_BYTES, space, socket.MSG_CMSG_CLOEXEC)
    except ConnectionError:
        return None
    fds = array.array("i")
    for level, kind, data in rights:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    if not raw:
        for fd in fds:
            os.close(fd)
        return None
    if raw == _IN_MEMORY_FILE:
        with open(fds.pop(0), "rb") as source:
            source.seek(0)
            raw = source.read()
    message: Message = json.loads(raw)
    return message, list(fds)
