"""What the kernel does for a connection (`tcp(7)`)."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

#: Seconds of silence after which the kernel probes: less than the 60 after which routers and load balancers commonly
#: forget a connection. Servers do not see these probes, unlike PINGs.
PROBE_AFTER = 45
#: Seconds between further probes.
PROBE_INTERVAL = 15


def keep_alive(sock: Any, timeout: float) -> None:
    """Have the kernel probe a silent TCP connection, and, on Linux, end one whose peer has not acknowledged what was
    sent for `timeout` seconds. Other sockets are left as they are, and so is what a kernel does not know. Never
    raises."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    # Not every kernel has every option (WSL 1 and gVisor lack some), and macOS refuses all where the peer has left
    # already, which the first read tells better.
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", PROBE_AFTER),
        ("TCP_KEEPALIVE", PROBE_AFTER),  # What macOS calls the same.
        ("TCP_KEEPINTVL", PROBE_INTERVAL),
        ("TCP_USER_TIMEOUT", max(round(timeout * 1_000), 1)),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
