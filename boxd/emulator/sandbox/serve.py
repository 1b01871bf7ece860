"""The loop of a helper process: requests from its socket, and the ends of its children."""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Callable

from . import wire


def serve(
    sock: socket.socket,
    ready: wire.Message,
    answer: Callable[[wire.Message, list[int]], None],
    ended: Callable[[int, int], None],
) -> None:
    """Say `ready`, then serve until the other end of `sock` is gone.

    `answer` gets each request with its descriptors, which are closed afterwards unless it took them from the
    list. `ended` gets the process id and the wait status of each child that has ended.
    """
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_read, False)
    os.set_blocking(wake_write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    poll.register(wake_read, select.POLLIN)
    wire.send(sock, ready)
    while True:
        events = {fd for fd, _ in poll.poll()}
        if wake_read in events:
            os.read(wake_read, 4096)
            _reap(ended)
        if sock.fileno() in events:
            request = wire.receive(sock)
            if request is None:
                return
            try:
                answer(*request)
            finally:
                for fd in request[1]:
                    os.close(fd)


def _reap(ended: Callable[[int, int], None]) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        ended(pid, status)
