"""The network of a box, as its first process sets it up and uses it.

A box has a network namespace of its own with a loopback interface, which carries a second address. Connections
from outside come to that one, so that a program bound to 127.0.0.1 is not reached, as behind a real interface.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct

from . import linux

ADDRESS = "10.0.0.2"
"""The box's own address, at which connections from outside arrive."""

_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914
_SIOCSIFADDR, _SIOCSIFNETMASK = 0x8916, 0x891C
_IFF_UP = 0x1


def is_possible() -> bool:
    """Whether the kernel gives this process a network namespace, tried in a child."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            linux.unshare(linux.CLONE_NEWUSER | linux.CLONE_NEWNET)
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1] == 0


def bring_up() -> None:
    """Start the loopback interface of a fresh network namespace and give it the box's address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        flags = struct.unpack("16sH", fcntl.ioctl(control, _SIOCGIFFLAGS, struct.pack("16sH14x", b"lo", 0))[:18])[1]
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))
        for request, address in ((_SIOCSIFADDR, ADDRESS), (_SIOCSIFNETMASK, "255.255.255.255")):
            value = struct.pack("16sHH4s8x", b"lo:1", socket.AF_INET, 0, socket.inet_aton(address))
            fcntl.ioctl(control, request, value)
