"""Boxes in Linux namespaces: each has its own files, processes and name.

The emulator talks to one supervisor process and, for each running box, to the box's first process.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from . import base, sockets, wire
from .channel import Channel
from .process import FdReader, FdWriter, Process, make_pipes

_START_SECONDS = 30.0

OWN_NETWORK = "a box's network has no way out: what it needs from the internet wants `--network host`"
"""What boxes with a network of their own do not have."""

# Starts the supervisor without running the packages' own __init__ modules, which belong to the emulator's
# process.
_BOOT = """
import sys, types
names = ("boxd", "boxd.emulator", "boxd.emulator.sandbox")
for name, path in zip(names, sys.argv[2:5]):
    package = types.ModuleType(name)
    package.__path__ = [path]
    sys.modules[name] = package
from boxd.emulator.sandbox.supervisor import main
sys.exit(main(int(sys.argv[1])))
"""


class NamespaceSandbox(base.Sandbox):
    """See the module. Made by `start`."""

    name = "namespaces"
    mounts = True

    def __init__(self, disks: str, privileged: bool, in_memory: bool, sudo: bool) -> None:
        self._disks = disks
        self.own_network = False
        self.groups = False
        self.limits: tuple[str, ...] = ()
        self._rights = (privileged, in_memory, sudo)
        self.user_name = "boxd" if privileged else "root"
        self._machines: dict[str, NamespaceMachine] = {}
        self._failure: str | None = None
        self._ready = asyncio.Event()
        self._channel: Channel
        self._process: asyncio.subprocess.Process

    @classmethod
    async def start(
        cls,
        state: str,
        *,
        privileged: bool,
        whole: bool,
        in_memory: bool,
        sudo: bool,
        remove_at_end: bool,
        network: str = "auto",
        lock: int | None = None,
    ) -> NamespaceSandbox:
        """Start the supervisor over the directory `state`.

        `privileged`: with the rights of root instead of a user namespace. `whole`: one overlay over `/`.
        `in_memory`: disks in a tmpfs. `network`, `lock`: as in `open_sandbox`. `remove_at_end`: the supervisor removes
        `state` when it ends. Raises `SandboxError` when the kernel refuses.
        """
        disks = os.path.join(state, "disks")
        os.makedirs(disks, mode=0o700, exist_ok=True)
        self = cls(disks, privileged, in_memory, sudo)
        ours, theirs = wire.pair()
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                *_command(theirs.fileno()),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),) if lock is None else (theirs.fileno(), lock),
                start_new_session=True,
                cwd="/",
                env={},
            )
        self._channel = Channel(ours, self._on_event, self._ready.set)
        config = {
            "privileged": privileged,
            "whole": whole,
            "in_memory": in_memory,
            "sudo": sudo,
            "network": network,
            "disks": disks,
            "state": state,
            "home": _home(),
            "remove_at_end": state if remove_at_end else "",
        }
        wire.send(ours, config)
        await _wait(self._ready)
        if self._failure is not None or not self._channel.open:
            await self.close()
            raise base.SandboxError(self._failure or "the box supervisor ended at once")
        return self

    def _on_event(self, message: wire.Message) -> None:
        if message["event"] == "gone":
            machine = self._machines.pop(message["box"], None)
            if machine is not None:
                machine.gone.set()
            return
        if message["event"] == "failed":
            self._failure = message["error"]
        else:
            self.own_network = message["own_network"]
            self.groups = message["groups"]
            self.limits = _limits(self.own_network, self.groups, *self._rights)
        self._ready.set()

    async def prepare(self, box: str, hostname: str) -> None:
        await self._channel.request({"op": "prepare", "box": box})

    async def copy(self, source: str, target: str, hostname: str) -> None:
        await self._channel.request({"op": "copy", "source": source, "box": target})

    async def boot(
        self, box: str, hostname: str, env: Mapping[str, str], limits: base.Limits = base.DEFAULT_LIMITS
    ) -> base.Machine:
        ours, theirs = wire.pair()
        machine = NamespaceMachine(self._channel, box, self.own_network)
        machine.attach(ours)
        self._machines[box] = machine
        everything = {"PATH": base.PATH, "HOME": base.HOME, "USER": self.user_name, "LOGNAME": self.user_name}
        everything.update({"SHELL": "/bin/sh", "LANG": "C.UTF-8"}, **env)
        request = {
            "op": "boot",
            "box": box,
            "hostname": hostname,
            "env": everything,
            "memory_bytes": limits.memory_bytes,
            "processes": limits.processes,
        }
        try:
            await self._channel.request(request, (theirs.detach(),))
            await _wait(machine.ready)
        except BaseException:
            machine.channel.close()
            raise
        if machine.failure is not None or not machine.alive:
            await machine.kill()
            raise base.SandboxError(machine.failure or f"the machine of box {hostname} ended while it started")
        return machine

    async def delete(self, box: str) -> None:
        await self._channel.request({"op": "delete", "box": box})

    async def make_volume(self, volume: str) -> None:
        await self._channel.request({"op": "make-volume", "box": volume})

    async def delete_volume(self, volume: str) -> None:
        await self._channel.request({"op": "delete-volume", "box": volume})

    def keep_state(self) -> None:
        """Do not remove the state directory at the end: another kind of sandbox goes on with it."""
        self._channel.tell({"op": "keep-state"})

    async def close(self) -> None:
        for machine in list(self._machines.values()):
            machine.channel.close()
        self._channel.close()
        await self._process.wait()


class NamespaceMachine(base.Machine):
    """One box's first process, at the other end of a socket."""

    channel: Channel

    def __init__(self, supervisor: Channel, box: str, own_network: bool) -> None:
        self._supervisor = supervisor
        self._own_network = own_network
        self._box = box
        self._exits: dict[int, asyncio.Future[int]] = {}
        self.ready = asyncio.Event()
        self.gone = asyncio.Event()
        self.failure: str | None = None

    def attach(self, sock: socket.socket) -> None:
        """Serve the box's socket from the running loop."""
        self.channel = Channel(sock, self._on_event, self._on_end)

    @property
    def alive(self) -> bool:
        return self.channel.open

    def _on_event(self, message: wire.Message) -> None:
        if message["event"] == "exit":
            exited = self._exits.pop(message["process"], None)
            if exited is not None and not exited.done():
                exited.set_result(message["code"])
            return
        if message["event"] == "failed":
            self.failure = message["error"]
        self.ready.set()

    def _on_end(self) -> None:
        self.ready.set()
        for exited in self._exits.values():
            # The power went off: SIGKILL to everything.
            if not exited.done():
                exited.set_result(137)
        self._exits.clear()

    async def spawn(self, spawn: base.Spawn) -> Process:
        request = {
            "op": "spawn",
            "argv": list(spawn.argv),
            "env": dict(spawn.env),
            "cwd": spawn.cwd,
            "tty": spawn.tty,
        }
        kept, given = ([], []) if spawn.tty is not None else make_pipes()
        number, reply = self.channel.post(request, tuple(given))
        exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._exits[number] = exited
        try:
            answer, received = await _shielded(reply)
            if "errno" in answer:
                raise OSError(answer["errno"], answer["error"])
        except BaseException as error:
            self._exits.pop(number, None)
            if isinstance(error, asyncio.CancelledError):
                self.channel.tell({"op": "signal", "process": number, "signal": signal.SIGKILL})
                self.channel.tell({"op": "release", "process": number})
            for fd in kept:
                os.close(fd)
            raise
        fds = kept or [os.dup(received[0]), os.dup(received[0]), received[0]]
        stdin, stdout = FdWriter(fds[0]), FdReader(fds[1])
        terminal = None if kept else fds[2]
        stderr = FdReader(fds[2]) if kept else None
        return Process(
            answer["pid"],
            stdin,
            stdout,
            stderr,
            exited,
            lambda signal_number: self.channel.tell({"op": "signal", "process": number, "signal": signal_number}),
            lambda: self.channel.tell({"op": "release", "process": number}),
            terminal,
        )

    async def open_read(self, path: str) -> base.Download:
        answer, fds = await self.channel.request({"op": "open-read", "path": path})
        return base.Download(fds[0], answer["size"])

    async def open_write(self, path: str) -> base.Upload:
        number, reply = self.channel.post({"op": "open-write", "path": path})
        try:
            answer, fds = await _shielded(reply)
        except asyncio.CancelledError:
            self.channel.tell({"op": "abort", "upload": number})
            raise
        if "errno" in answer:
            raise OSError(answer["errno"], answer["error"])

        async def commit() -> None:
            await self.channel.request({"op": "commit", "upload": number})

        async def abort() -> None:
            self.channel.tell({"op": "abort", "upload": number})

        return base.Upload(fds[0], commit, abort)

    async def open_console(self) -> int | None:
        _, fds = await self.channel.request({"op": "console"})
        return fds[0]

    async def paths(self, operation: str, *paths: str) -> dict[str, Any]:
        read, write = os.pipe()
        reader = FdReader(read)
        try:
            await self.channel.request({"op": "paths", "operation": operation, "paths": list(paths)}, (write,))
            pieces = []
            while data := await reader.read():
                pieces.append(data)
        finally:
            reader.close()
        if not pieces:
            raise base.MachineOff()
        answer: dict[str, Any] = json.loads(b"".join(pieces))
        if "errno" in answer:
            raise OSError(answer["errno"], answer["error"])
        return answer

    async def mount(self, volume: str, path: str, read_only: bool) -> None:
        _, fds = await self._supervisor.request({"op": "clone-volume", "volume": volume, "read_only": read_only})
        await self.channel.request({"op": "mount", "volume": volume, "path": path}, tuple(fds))

    async def unmount(self, volume: str) -> None:
        await self.channel.request({"op": "unmount", "volume": volume})

    async def connect(self, port: int, protocol: str = "tcp") -> socket.socket:
        if not self._own_network:
            return await sockets.finish(sockets.begin(sockets.HERE, port, protocol))
        _, fds = await self.channel.request({"op": "connect", "port": port, "protocol": protocol})
        return await sockets.finish(socket.socket(fileno=fds[0]))

    async def freeze(self) -> None:
        await self.channel.request({"op": "freeze"})

    async def thaw(self) -> None:
        await self.channel.request({"op": "thaw"})

    async def kill(self) -> None:
        self.channel.close()
        if self._supervisor.open and not self.gone.is_set():
            try:
                await self._supervisor.request({"op": "kill", "box": self._box})
            except base.MachineOff:
                return
            await _wait(self.gone)


async def _shielded(reply: asyncio.Future[tuple[wire.Message, list[int]]]) -> tuple[wire.Message, list[int]]:
    """A reply to a request that takes effect in the box.

    It does so even if the caller is cancelled while it waits. The caller then sends what undoes it: the box
    handles requests one after the other, so this comes after the effect.
    """
    try:
        return await asyncio.shield(reply)
    except asyncio.CancelledError:
        reply.add_done_callback(_discard)
        raise


def _discard(reply: asyncio.Future[tuple[wire.Message, list[int]]]) -> None:
    if not reply.cancelled() and reply.exception() is None:
        for fd in reply.result()[1]:
            os.close(fd)


async def _wait(event: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(event.wait(), _START_SECONDS)
    except asyncio.TimeoutError as error:
        raise base.SandboxError(f"a helper process did not answer in {_START_SECONDS:.0f} s") from error


def _home() -> str:
    """Where the user lives who runs the emulator."""
    return os.path.expanduser("~")


def _command(fd: int) -> list[str]:
    sandbox = os.path.dirname(os.path.abspath(__file__))
    emulator = os.path.dirname(sandbox)
    return [
        sys.executable,
        "-I",
        "-S",
        "-X",
        "utf8",
        "-c",
        _BOOT,
        str(fd),
        os.path.dirname(emulator),
        emulator,
        sandbox,
    ]


def _limits(own_network: bool, groups: bool, privileged: bool, in_memory: bool, sudo: bool) -> tuple[str, ...]:
    limits = [OWN_NETWORK] if own_network else [base.SHARED_NETWORK, base.ABSTRACT_SOCKETS]
    if not groups:
        limits.append(
            "memory is limited for each process, not for all of a box, and a box's root starts as many processes as "
            "it likes: this process may not make control groups"
        )
    limits.append("the size of a disk, a box's own or an attached one, is not enforced")
    limits.append("fork copies the files of a box, not its running processes")
    if not privileged:
        limits.append(
            "commands run as the box's root, the only user that a user namespace of an ordinary user has: "
            "files of the host's other users can be replaced but not changed in place"
        )
    if privileged and sudo:
        limits.append("with sudo, a box can read (but not change) files that only the host's root can read")
    if in_memory:
        limits.append("the boxes' disks are in memory, because the state directory's file system takes no overlay")
    return tuple(limits)
