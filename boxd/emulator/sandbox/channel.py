"""The emulator's end of a helper's socket: requests with replies, and events."""

from __future__ import annotations

import asyncio
import collections
import os
import socket
from collections.abc import Callable

from . import wire
from .base import MachineOff

Reply = tuple[wire.Message, list[int]]


class Channel:
    """One helper's socket on the running loop.

    `on_event` gets every message that answers no request; `on_end` is called once when the helper is gone.
    """

    def __init__(
        self, sock: socket.socket, on_event: Callable[[wire.Message], None], on_end: Callable[[], None]
    ) -> None:
        self._sock = sock
        self._on_event = on_event
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._next = 1
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._outgoing: collections.deque[tuple[wire.Message, tuple[int, ...]]] = collections.deque()
        self._open = True
        sock.setblocking(False)
        self._loop.add_reader(sock, self._receive)

    @property
    def open(self) -> bool:
        """False when the helper is gone or `close` was called."""
        return self._open

    async def request(self, message: wire.Message, fds: tuple[int, ...] = ()) -> Reply:
        """Send a request and wait for its reply; the descriptors in the reply belong to the caller.

        The descriptors `fds` are sent and closed, whatever happens. Raises `OSError` as the helper reported
        it and `MachineOff`.
        """
        number, reply = self.post(message, fds)
        try:
            answer, received = await reply
        except asyncio.CancelledError:
            self._waiting.pop(number, None)
            if reply.done() and not reply.cancelled() and reply.exception() is None:
                _close_all(reply.result()[1])
            raise
        if "errno" in answer:
            _close_all(received)
            raise OSError(answer["errno"], answer["error"])
        return answer, received

    def post(self, message: wire.Message, fds: tuple[int, ...] = ()) -> tuple[int, asyncio.Future[Reply]]:
        """Send a request without waiting; its number and the future of its reply."""
        number = self._next
        self._next += 1
        reply: asyncio.Future[Reply] = self._loop.create_future()
        if not self._open:
            _close_all(fds)
            reply.set_exception(MachineOff())
            return number, reply
        self._waiting[number] = reply
        self._outgoing.append(({"id": number, **message}, fds))
        if len(self._outgoing) == 1:
            self._flush()
        return number, reply

    def tell(self, message: wire.Message) -> None:
        """Send a request whose reply nobody needs; nothing happens when the helper is gone."""
        if self._open:
            _, reply = self.post(message)
            reply.add_done_callback(_forget)

    def _flush(self) -> None:
        while self._outgoing:
            message, fds = self._outgoing[0]
            try:
                wire.send(self._sock, message, fds)
            except BlockingIOError:
                self._loop.add_writer(self._sock, self._flush)
                return
            except OSError:
                self.close()
                return
            self._outgoing.popleft()
            _close_all(fds)
        self._loop.remove_writer(self._sock)

    def _receive(self) -> None:
        while self._open:
            try:
                received = wire.receive(self._sock)
            except BlockingIOError:
                return
            if received is None:
                self.close()
                return
            message, fds = received
            number = message.get("id")
            if number is None:
                self._on_event(message)
                continue
            reply = self._waiting.pop(number, None)
            if reply is None or reply.done():
                _close_all(fds)
            else:
                reply.set_result((message, fds))

    def close(self) -> None:
        """Close the socket, which ends the helper; waiting requests raise `MachineOff`. Idempotent."""
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._sock.close()
        for _, fds in self._outgoing:
            _close_all(fds)
        self._outgoing.clear()
        for reply in self._waiting.values():
            if not reply.done():
                reply.set_exception(MachineOff())
        self._waiting.clear()
        self._on_end()


def _forget(reply: asyncio.Future[Reply]) -> None:
    if not reply.cancelled() and reply.exception() is None:
        _close_all(reply.result()[1])


def _close_all(fds: tuple[int, ...] | list[int]) -> None:
    for fd in fds:
        os.close(fd)
