"""Boxes without the kernel's help: a directory each, and processes of the host.

Commands are real, with pipes, terminals and process groups, but nothing keeps them inside their
directory. File transfer is confined to it (see `walk`).
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import signal
import socket
import stat
import sys
from collections.abc import Callable, Mapping
from typing import Any

from . import base, sockets, trees, walk
from . import paths as path_operations
from .base import SHARED_NETWORK
from .process import FdReader, FdWriter, Process, make_pipes, set_window_size

# Runs in a session of its own: makes the terminal on descriptor 0 the controlling one, then becomes the
# command.
_TAKE_TERMINAL = "import fcntl,os,sys,termios;fcntl.ioctl(0,termios.TIOCSCTTY,0);os.execvp(sys.argv[1],sys.argv[1:])"


class PlainSandbox(base.Sandbox):
    """See the module. `refusals` are the reasons why nothing better works here."""

    name = "plain"
    own_network = False
    mounts = False

    def __init__(self, state: str, remove_at_end: bool, refusals: tuple[str, ...] = ()) -> None:
        self._state = state
        self._remove_at_end = remove_at_end
        self._machines: set[PlainMachine] = set()
        self._disks = os.path.join(state, "disks")
        os.makedirs(self._disks, mode=0o700, exist_ok=True)
        reason = f" ({'; '.join(refusals)})" if refusals else ""
        self.limits = (
            f"there is no isolation{reason}: commands are processes of this machine, with your rights",
            "a box is a directory, where commands start and which is their HOME; "
            "absolute paths in commands are the host's",
            "absolute paths in file transfers are below the box's directory, which commands do not know",
            "processes that leave their session outlive their box, and all do when the emulator is killed by SIGKILL",
            "memory and processes of a box are not limited",
            "disks can be made, but not attached",
            SHARED_NETWORK,
            "fork copies the files of a box, not its running processes",
        )

    def _disk(self, box: str) -> str:
        return os.path.join(self._disks, box)

    async def prepare(self, box: str, hostname: str) -> None:
        os.makedirs(self._disk(box) + base.HOME)

    async def copy(self, source: str, target: str, hostname: str) -> None:
        await asyncio.to_thread(_copy_tree, self._disk(source), self._disk(target))

    async def boot(
        self, box: str, hostname: str, env: Mapping[str, str], limits: base.Limits = base.DEFAULT_LIMITS
    ) -> base.Machine:
        machine = PlainMachine(self._disk(box), hostname, env, self._machines.discard)
        self._machines.add(machine)
        return machine

    async def delete(self, box: str) -> None:
        await asyncio.to_thread(shutil.rmtree, self._disk(box), True)

    async def make_volume(self, volume: str) -> None:
        os.makedirs(os.path.join(self._state, "volumes", volume), mode=0o700)

    async def delete_volume(self, volume: str) -> None:
        await asyncio.to_thread(shutil.rmtree, os.path.join(self._state, "volumes", volume), True)

    async def close(self) -> None:
        for machine in list(self._machines):
            await machine.kill()
        if self._remove_at_end:
            await asyncio.to_thread(shutil.rmtree, self._state, True)


class PlainMachine(base.Machine):
    """The processes that were started for one box."""

    def __init__(
        self, root: str, hostname: str, env: Mapping[str, str], on_off: Callable[[PlainMachine], None]
    ) -> None:
        self._root = root
        self._home = root + base.HOME
        self._env = {
            "PATH": os.environ.get("PATH", base.PATH),
            "HOME": self._home,
            "USER": os.environ.get("USER", "boxd"),
            "LANG": "C.UTF-8",
            "SHELL": "/bin/sh",
            "HOSTNAME": hostname,
            **env,
        }
        self._on_off = on_off
        self._alive = True
        # Session leaders by process id, with the task that waits for them.
        self._groups: dict[int, asyncio.Task[int]] = {}

    @property
    def alive(self) -> bool:
        return self._alive

    async def spawn(self, spawn: base.Spawn) -> Process:
        self._check_alive()
        # Started to the end, whatever becomes of the caller: asyncio would end the program alone, not its group.
        starting = asyncio.get_running_loop().create_task(self._start(spawn))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(_end_unwanted)
            raise

    async def _start(self, spawn: base.Spawn) -> Process:
        directory = self._home if spawn.cwd == base.HOME else spawn.cwd
        if not await asyncio.to_thread(os.path.isdir, directory):
            # A home that was removed must not make the box unusable.
            directory = self._root
        terminal: int | None = None
        if spawn.tty is None:
            kept, given = make_pipes()
            argv = list(spawn.argv)
        else:
            terminal, slave = os.openpty()
            set_window_size(slave, *spawn.tty)
            kept, given = [os.dup(terminal), os.dup(terminal)], [slave]
            argv = [sys.executable, "-I", "-S", "-c", _TAKE_TERMINAL, *spawn.argv]
        try:
            child = await asyncio.create_subprocess_exec(
                *argv,
                stdin=given[0],
                stdout=given[1 % len(given)],
                stderr=given[2 % len(given)],
                env={**self._env, **spawn.env},
                cwd=directory,
                start_new_session=True,
            )
        except BaseException:
            for fd in (*kept, *([] if terminal is None else [terminal])):
                os.close(fd)
            raise
        finally:
            for fd in given:
                os.close(fd)
        return self._process(child, kept, terminal)

    def _process(self, child: asyncio.subprocess.Process, kept: list[int], terminal: int | None) -> Process:
        pid = child.pid
        exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def watch() -> int:
            code = await child.wait()
            exited.set_result(code if code >= 0 else 128 - code)
            return code

        task = asyncio.get_running_loop().create_task(watch())
        self._groups[pid] = task

        def forget() -> None:
            if not _group_exists(pid):
                self._groups.pop(pid, None)

        stderr = FdReader(kept[2]) if terminal is None else None
        return Process(
            pid,
            FdWriter(kept[0]),
            FdReader(kept[1]),
            stderr,
            exited,
            lambda n: _signal_group(pid, n),
            forget,
            terminal,
        )

    def _check_alive(self) -> None:
        if not self._alive:
            raise base.MachineOff

    async def open_read(self, path: str) -> base.Download:
        self._check_alive()
        return base.Download(*walk.open_read(self._root, path and os.path.join(base.HOME, path)))

    async def open_write(self, path: str) -> base.Upload:
        self._check_alive()
        pending = walk.PendingFile(self._root, path and os.path.join(base.HOME, path))

        async def commit() -> None:
            if not self._alive:
                pending.abort()
            self._check_alive()
            pending.commit()

        async def abort() -> None:
            pending.abort()

        return base.Upload(pending.fd, commit, abort)

    async def open_console(self) -> int | None:
        return None

    async def mount(self, volume: str, path: str, read_only: bool) -> None:
        raise OSError(errno.EOPNOTSUPP, "nothing can be mounted without namespaces")

    async def unmount(self, volume: str) -> None:
        raise OSError(errno.EOPNOTSUPP, "nothing can be mounted without namespaces")

    async def connect(self, port: int, protocol: str = "tcp") -> socket.socket:
        return await sockets.finish(sockets.begin(sockets.HERE, port, protocol))

    async def paths(self, operation: str, *paths: str) -> dict[str, Any]:
        self._check_alive()
        return await asyncio.to_thread(_path_operation, self._root, operation, paths)

    async def freeze(self) -> None:
        for pid in list(self._groups):
            _signal_group(pid, signal.SIGSTOP)

    async def thaw(self) -> None:
        for pid in list(self._groups):
            _signal_group(pid, signal.SIGCONT)

    async def kill(self) -> None:
        self._alive = False
        self._on_off(self)
        for pid in self._groups:
            _signal_group(pid, signal.SIGKILL)
        if self._groups:
            await asyncio.wait(self._groups.values())
        self._groups.clear()


def _end_unwanted(starting: asyncio.Task[Process]) -> None:
    if not starting.cancelled() and starting.exception() is None:
        process = starting.result()
        process.signal(signal.SIGKILL)
        process.close()


def _path_operation(root: str, operation: str, paths: tuple[str, ...]) -> path_operations.Result:
    targets = []
    for path in paths:
        listed = operation == "list"
        target = walk.resolve(root, path and os.path.join(base.HOME, path), follow=listed)
        if target == root and not listed:
            raise path_operations.refuse_root()
        targets.append(target)
    return path_operations.perform(operation, targets, shutil.rmtree)


def _copy_tree(source: str, target: str) -> None:
    if sys.platform.startswith("linux"):
        trees.copy(source, target)
    else:
        shutil.copytree(source, target, symlinks=True, ignore=_special_files)


def _special_files(directory: str, names: list[str]) -> list[str]:
    """The names that are pipes, sockets or devices, which shutil does not copy."""
    modes = ((name, os.lstat(os.path.join(directory, name)).st_mode) for name in names)
    return [name for name, mode in modes if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode))]


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        # The whole group has ended (macOS answers EPERM for one that is all zombies).
        return


def _group_exists(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True
