"""The first process of a box: it starts commands, opens files and reaps what ends.

It is forked by the supervisor, builds the box's file system, moves itself into a user namespace of its own
(which locks those mounts) and then serves requests from one socket. When the socket ends, so does it, and the
kernel ends the rest of the box.
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import socket
import struct
import termios
import time
from collections.abc import Callable
from typing import Any

from . import inside, linux, network, rootfs, serve, sockets, walk, wire

_STOP_SECONDS = 1.0

Reply = tuple[wire.Message, tuple[int, ...]]


def run(plan: rootfs.Plan, disk: str, request: wire.Message, grouped: bool, sock: socket.socket) -> None:
    """Become the box's machine; returns when the emulator has closed its end of `sock`.

    `request` has the box's name, environment and limits; `grouped` says that a control group enforces the limits.
    """
    hostname = request["hostname"]
    linux.die_with_parent(signal.SIGKILL)
    os.umask(0o022)
    linux.unshare(linux.CLONE_NEWNS)
    namespace_limits = rootfs.enter(plan, disk)
    _enter_user_namespace(linux.CLONE_NEWNET if plan.own_network else 0)
    rootfs.forbid_cgroup_namespaces(namespace_limits)
    linux.leave_keyring()
    if plan.privileged:
        # File transfers have the rights of the machine user, who is in no other group.
        os.setgroups([])
    if plan.own_network:
        network.bring_up()
    linux.set_hostname(hostname)
    rootfs.name_box(hostname)
    linux.drop_bounding_capabilities()
    if not plan.sudo:
        linux.forbid_new_privileges()
    # Programs of the box with the same user number must not reach this process through /proc/1.
    linux.set_dumpable(False)
    linux.set_title(f"boxd-init {hostname}")
    try:
        limits = [(resource.RLIMIT_NPROC, request["processes"])]
        if not grouped:
            limits.append((resource.RLIMIT_DATA, request["memory_bytes"]))
        Machine(plan, request["env"], limits, sock).serve()
    except ConnectionError:
        # The emulator is gone, which ends the box as much as a closed socket does.
        return


def _enter_user_namespace(more: int) -> None:
    """Enter a new user namespace that knows the same users as the one outside, and the namespaces `more` with it.

    The maps are written by a child that stays outside, since only there is the right to map more than one
    user.
    """
    with open("/proc/self/uid_map", encoding="utf-8") as source:
        users = _identity(source.read())
    with open("/proc/self/gid_map", encoding="utf-8") as source:
        groups = _identity(source.read())
    go_read, go_write = os.pipe()
    linux.set_dumpable(True)
    child = os.fork()
    if child == 0:
        os.read(go_read, 1)
        failed = 0
        try:
            for name, content in (("uid_map", users), ("gid_map", groups)):
                with open(f"/proc/1/{name}", "w", encoding="utf-8") as target:
                    target.write(content)
        except OSError as error:
            failed = error.errno or 1
        os._exit(failed)
    kinds = linux.CLONE_NEWUSER | linux.CLONE_NEWNS | linux.CLONE_NEWUTS | linux.CLONE_NEWIPC | more
    linux.unshare(kinds)
    # unshare changed the credentials, which closes /proc/1 to the child.
    linux.set_dumpable(True)
    os.write(go_write, b".")
    os.close(go_read)
    os.close(go_write)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code != 0:
        raise OSError(code, f"user namespace map: {os.strerror(code)}")
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def _identity(current: str) -> str:
    rows = [line.split() for line in current.splitlines()]
    return "".join(f"{inner} {inner} {count}\n" for inner, _, count in rows)


class Machine:
    """Serves one box's socket, one request at a time."""

    def __init__(
        self, plan: rootfs.Plan, env: dict[str, str], limits: list[tuple[int, int]], sock: socket.socket
    ) -> None:
        self._limits = limits
        self._plan = plan
        self._env = env
        self._sock = sock
        self._numbers: dict[int, int] = {}
        self._pids: dict[int, int] = {}
        self._stopped_before: set[int] = set()
        self._mounts: dict[str, str] = {}
        self._uploads: dict[int, walk.PendingFile] = {}
        self._operations: dict[str, Callable[[wire.Message, list[int]], Reply]] = {
            "spawn": self._spawn,
            "signal": self._signal,
            "release": self._release,
            "freeze": self._freeze,
            "thaw": self._thaw,
            "paths": self._paths,
            "open-read": self._open_read,
            "open-write": self._open_write,
            "commit": self._commit,
            "abort": self._abort,
            "connect": self._connect,
            "console": self._console,
            "mount": self._mount,
            "unmount": self._unmount,
        }

    def serve(self) -> None:
        """Answer requests and report exits until the other end is gone."""
        serve.serve(self._sock, {"event": "ready"}, self._answer, self._ended)

    def _answer(self, request: wire.Message, fds: list[int]) -> None:
        reply: wire.Message
        out: tuple[int, ...] = ()
        try:
            reply, out = self._operations[request["op"]](request, fds)
        except OSError as error:
            reply = {"errno": error.errno or 5, "error": error.strerror or str(error)}
        wire.send(self._sock, {"id": request["id"], **reply}, out)
        for fd in out:
            os.close(fd)

    def _ended(self, pid: int, status: int) -> None:
        number = self._numbers.pop(pid, None)
        if number is not None:
            code = os.waitstatus_to_exitcode(status)
            wire.send(self._sock, {"event": "exit", "process": number, "code": code if code >= 0 else 128 - code})

    def _spawn(self, request: wire.Message, fds: list[int]) -> Reply:
        master, files = -1, fds
        if request["tty"] is not None:
            master, slave = os.openpty()
            columns, rows = request["tty"]
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.fchown(slave, self._plan.user, -1)
            fds.append(slave)
            files = [slave, slave, slave]
        elif self._plan.user != 0:
            # Else the program could use its pipes, but not open them by name: `/dev/stderr` is one.
            for fd in fds:
                os.fchown(fd, self._plan.user, self._plan.group)
        report_read, report_write = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._become(request, files, master >= 0, report_write)
        os.close(report_write)
        with open(report_read, "rb") as source:
            failure = source.read()
        if failure:
            os.waitpid(pid, 0)
            if master >= 0:
                os.close(master)
            code = int(failure)
            raise OSError(code, os.strerror(code))
        number = request["id"]
        self._numbers[pid], self._pids[number] = number, pid
        return {"pid": pid}, (master,) if master >= 0 else ()

    def _become(self, request: wire.Message, files: list[int], terminal: bool, report: int) -> None:
        """Turn this fresh child into the program; never returns."""
        try:
            os.setsid()
            for number, fd in enumerate(files[:3]):
                os.dup2(fd, number)
            if terminal:
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            signal.set_wakeup_fd(-1)
            for name in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
                signal.signal(name, signal.SIG_DFL)
            for kind, value in self._limits:
                most = resource.getrlimit(kind)[1]
                value = value if most == resource.RLIM_INFINITY else min(value, most)
                resource.setrlimit(kind, (value, value))
            self._be_user()
            env = {**self._env, **request["env"]}
            try:
                os.chdir(request["cwd"])
            except OSError:
                # A home that was removed must not make the box unusable.
                os.chdir("/")
            os.execvpe(request["argv"][0], request["argv"], env)
        except OSError as error:
            os.write(report, str(error.errno).encode())
        finally:
            os._exit(127)

    def _be_user(self) -> None:
        """Give up all rights but the machine user's."""
        if self._plan.user != 0:
            os.setgroups([])
            os.setresgid(self._plan.group, self._plan.group, self._plan.group)
            os.setresuid(self._plan.user, self._plan.user, self._plan.user)

    def _paths(self, request: wire.Message, fds: list[int]) -> Reply:
        """Do an operation on paths in a child, so that other requests do not wait for it. Its result goes to the
        descriptor that came with the request."""
        if os.fork() == 0:
            try:
                signal.set_wakeup_fd(-1)
                self._be_user()
                with open(fds[0], "w", encoding="utf-8", closefd=False) as report:
                    json.dump(inside.path_operation(request["operation"], request["paths"]), report)
            except OSError as error:
                os.write(fds[0], json.dumps({"errno": error.errno or 5, "error": error.strerror or ""}).encode())
            finally:
                os._exit(0)
        return {}, ()

    def _signal(self, request: wire.Message, fds: list[int]) -> Reply:
        pid = self._pids.get(request["process"])
        # After the leader's end its group may live on, unless the number belongs to a new command by now.
        if pid is not None and self._numbers.get(pid, request["process"]) == request["process"]:
            try:
                os.killpg(pid, request["signal"])
            except ProcessLookupError:
                del self._pids[request["process"]]
        return {}, ()

    def _release(self, request: wire.Message, fds: list[int]) -> Reply:
        self._pids.pop(request["process"], None)
        return {}, ()

    def _freeze(self, request: wire.Message, fds: list[int]) -> Reply:
        self._stopped_before = {pid for pid, (state, _) in _processes().items() if state in "Tt"}
        try:
            os.kill(-1, signal.SIGSTOP)
        except ProcessLookupError:
            # An idle box has nothing to stop.
            return {}, ()
        # The kernel tells nobody but a parent of a stop, so look until all stand still.
        until = time.monotonic() + _STOP_SECONDS
        while any(state in "RSD" for state, _ in _processes().values()) and time.monotonic() < until:
            time.sleep(0.001)
        return {}, ()

    def _thaw(self, request: wire.Message, fds: list[int]) -> Reply:
        table = _processes()
        # Children first: a shell that wakes must find its jobs running, or it would report them stopped.
        for pid in sorted(table, key=lambda pid: _depth(pid, table), reverse=True):
            if pid not in self._stopped_before:
                try:
                    os.kill(pid, signal.SIGCONT)
                except ProcessLookupError:
                    continue
        self._stopped_before = set()
        return {}, ()

    def _open_read(self, request: wire.Message, fds: list[int]) -> Reply:
        fd, size = inside.open_read(request["path"], self._plan.user, self._plan.group)
        return {"size": size}, (fd,)

    def _open_write(self, request: wire.Message, fds: list[int]) -> Reply:
        pending = inside.open_write(request["path"], self._plan.user, self._plan.group)
        self._uploads[request["id"]] = pending
        return {}, (pending.fd,)

    def _commit(self, request: wire.Message, fds: list[int]) -> Reply:
        self._uploads.pop(request["upload"]).commit()
        return {}, ()

    def _abort(self, request: wire.Message, fds: list[int]) -> Reply:
        # An unknown number is that of one that could not begin.
        pending = self._uploads.pop(request["upload"], None)
        if pending is not None:
            pending.abort()
        return {}, ()

    def _mount(self, request: wire.Message, fds: list[int]) -> Reply:
        place, target = inside.mount_point(request["path"], self._plan.user, self._plan.group)
        try:
            linux.move_mount(fds[0], place)
        finally:
            os.close(place)
        self._mounts[request["volume"]] = target
        return {}, ()

    def _unmount(self, request: wire.Message, fds: list[int]) -> Reply:
        volume = request["volume"]
        if volume in self._mounts:
            linux.unmount(self._mounts[volume], 0)
            del self._mounts[volume]
        return {}, ()

    def _console(self, request: wire.Message, fds: list[int]) -> Reply:
        return {}, (inside.open_console(),)

    def _connect(self, request: wire.Message, fds: list[int]) -> Reply:
        return {}, (sockets.begin(network.ADDRESS, request["port"], request["protocol"]).detach(),)


def _processes() -> dict[int, tuple[str, int]]:
    """State letter and parent of every process of the box but this one."""
    table: dict[int, tuple[str, int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and name != "1":
            try:
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as source:
                    fields: list[Any] = source.read().rpartition(")")[2].split()
            except OSError:
                continue
            table[int(name)] = (fields[0], int(fields[1]))
    return table


def _depth(pid: int, table: dict[int, tuple[str, int]]) -> int:
    depth = 0
    while pid in table and depth < 10000:
        pid = table[pid][1]
        depth += 1
    return depth
