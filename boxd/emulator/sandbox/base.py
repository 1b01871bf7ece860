"""What a box's machine is: the interface that the two kinds of sandbox fulfil.

A `Sandbox` owns the disks and the running machines of all boxes of one emulator. A `Machine` is
one booted box: it starts processes and opens files. Both are used from one asyncio loop.
"""

from __future__ import annotations

import abc
import errno
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .process import Process

HOME = "/home/boxd"
"""The machine user's home; relative paths in file transfers start here."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The search path of a command in a box."""

SHARED_NETWORK = (
    "boxes share the host's network: two cannot listen on one port, and a box's page is whatever the host has there"
)
"""What boxes without a network of their own do not guarantee."""

ABSTRACT_SOCKETS = (
    "with the host's network, a box reaches the host's abstract Unix sockets, whose programs take it for their own user"
)
"""What comes with it where boxes are namespaces otherwise."""


class SandboxError(Exception):
    """The host refused what a box needs; the text says what, for the person who runs the emulator."""


class MachineOff(ConnectionError):
    """The machine ended before, or while, it did what was asked."""

    def __init__(self) -> None:
        super().__init__(errno.ESHUTDOWN, "the box is stopped: it was powered off meanwhile")


@dataclass(frozen=True)
class Spawn:
    """A program to start in a box.

    `argv` is the program and its arguments, `env` is added to the box's own environment, `cwd` is a
    directory of the box, and `tty` is the terminal's size (columns, rows) or None for three pipes.
    """

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = HOME
    tty: tuple[int, int] | None = None


@dataclass(frozen=True)
class Limits:
    """What a box may use: bytes of memory for all its programs, and how many processes they may be."""

    memory_bytes: int = 8 * 1024**3
    processes: int = 4096


@dataclass
class Download:
    """An open regular file of a box: `fd` is at its start and owned by the caller, `size` in bytes."""

    fd: int
    size: int


@dataclass
class Upload:
    """A file that is being written into a box under a temporary name.

    `fd` takes the bytes and belongs to the caller. `commit()` puts the file in place of its destination at
    once; `abort()` removes it. Exactly one of them is called.
    """

    fd: int
    commit: Callable[[], Awaitable[None]]
    abort: Callable[[], Awaitable[None]]


class Machine(abc.ABC):
    """One booted box."""

    @abc.abstractmethod
    async def spawn(self, spawn: Spawn) -> Process:
        """Start a program; raises `OSError` as execve(2) does."""

    @abc.abstractmethod
    async def open_read(self, path: str) -> Download:
        """Open a regular file of the box for reading, with the machine user's rights; raises `OSError`."""

    @abc.abstractmethod
    async def open_write(self, path: str) -> Upload:
        """Begin writing a file of the box, making missing parent directories; raises `OSError`."""

    @abc.abstractmethod
    async def connect(self, port: int, protocol: str = "tcp") -> socket.socket:
        """A non-blocking socket connected to a port of the box; raises `OSError`, as when nobody listens.

        `protocol` is "tcp" or "udp".
        """

    @abc.abstractmethod
    async def open_console(self) -> int | None:
        """Make the box's /dev/console; a descriptor from which what is written there can be read, which ends with
        the machine. None where a box has no /dev of its own. Called once."""

    @abc.abstractmethod
    async def paths(self, operation: str, *paths: str) -> dict[str, Any]:
        """Do an operation of `sandbox.paths` with the machine user's rights; raises `OSError`."""

    @abc.abstractmethod
    async def mount(self, volume: str, path: str, read_only: bool) -> None:
        """Mount a volume of the sandbox at a directory of the box, which is made if need be; raises `OSError`."""

    @abc.abstractmethod
    async def unmount(self, volume: str) -> None:
        """Undo `mount`; raises `OSError`, EBUSY while a program uses it."""

    @abc.abstractmethod
    async def freeze(self) -> None:
        """Stop every process of the box where it stands."""

    @abc.abstractmethod
    async def thaw(self) -> None:
        """Let the processes that `freeze` stopped go on."""

    @abc.abstractmethod
    async def kill(self) -> None:
        """Power off: end every process of the box. The disk stays. Idempotent."""

    @property
    @abc.abstractmethod
    def alive(self) -> bool:
        """False once the machine is off, also when it died by itself."""


DEFAULT_LIMITS = Limits()


class Sandbox(abc.ABC):
    """Where boxes live."""

    name: str
    """`namespaces` or `plain`."""

    limits: tuple[str, ...]
    """What this sandbox does not guarantee, one sentence each; shown when the emulator starts."""

    mounts: bool
    """Whether volumes can be mounted in a box."""

    own_network: bool
    """Whether each box has a network of its own, so that two can listen on one port."""

    @abc.abstractmethod
    async def prepare(self, box: str, hostname: str) -> None:
        """Make an empty disk for the box."""

    @abc.abstractmethod
    async def copy(self, source: str, target: str, hostname: str) -> None:
        """Make the disk of `target` a copy of the disk of `source`."""

    @abc.abstractmethod
    async def boot(self, box: str, hostname: str, env: Mapping[str, str], limits: Limits = DEFAULT_LIMITS) -> Machine:
        """Start a machine on the box's disk; `env` is the environment of everything that it runs."""

    @abc.abstractmethod
    async def delete(self, box: str) -> None:
        """Remove the box's disk. Its machine must be off."""

    @abc.abstractmethod
    async def make_volume(self, volume: str) -> None:
        """Make an empty volume, a directory that can be mounted in boxes."""

    @abc.abstractmethod
    async def delete_volume(self, volume: str) -> None:
        """Remove a volume with its files. It must not be mounted."""

    @abc.abstractmethod
    async def close(self) -> None:
        """End all machines and helpers; with a temporary state, remove the disks. Idempotent."""
