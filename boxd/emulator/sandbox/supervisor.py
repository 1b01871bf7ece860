"""The process above all boxes of an emulator: it boots them, copies and removes their disks.

It is the first process of a pid namespace of its own and lives in a mount namespace of its own, so that when
it ends, for whatever reason, the kernel ends every process and drops every mount of every box. It ends when
the emulator's end of its socket closes.

Started as `python -I -S -c BOOT FD` (see `namespaces`), with nothing but the standard library.
"""

from __future__ import annotations

import errno
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable

from . import boxinit, cgroups, linux, network, rootfs, serve, trees, wire


def main(fd: int) -> int:
    """Enter the namespaces, run the supervisor in them and wait for its end."""
    sock = socket.socket(fileno=fd)
    received = wire.receive(sock)
    if received is None:
        return 0
    config = {**received[0], "name": f"{cgroups.PREFIX}{os.getpid()}-{os.urandom(4).hex()}"}
    try:
        _leave_host(config["privileged"])
    except OSError as error:
        wire.send(sock, {"event": "failed", "error": str(error)})
        return 1
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    groups = cgroups.Groups(cgroups.trees(), config["name"])
    child = os.fork()
    if child == 0:
        _supervise(sock, config)
    sock.close()
    code = os.waitpid(child, 0)[1]
    # Here, because it must happen even when the child was killed.
    groups.remove()
    return os.waitstatus_to_exitcode(code)


def _leave_host(privileged: bool) -> None:
    flags = linux.CLONE_NEWNS | linux.CLONE_NEWPID
    if privileged:
        linux.unshare(flags)
        return
    user, group = os.geteuid(), os.getegid()
    linux.unshare(flags | linux.CLONE_NEWUSER)
    for name, content in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        with open(f"/proc/self/{name}", "w", encoding="utf-8") as target:
            target.write(content)


def _supervise(sock: socket.socket, config: wire.Message) -> None:
    """The child's whole life; never returns."""
    code = 1
    try:
        linux.die_with_parent(signal.SIGKILL)
        supervisor = Supervisor(sock, config)
        supervisor.serve()
        code = 0
    except Exception as error:
        # Whatever it is, the emulator must hear why there are no boxes.
        _report(sock, f"{type(error).__name__}: {error}")
    finally:
        sys.stderr.flush()
        os._exit(code)


def _report(sock: socket.socket, text: str) -> None:
    try:
        wire.send(sock, {"event": "failed", "error": text})
    except OSError:
        print(f"boxd emulator, box supervisor: {text}", file=sys.stderr)


def _own_network(wanted: str) -> bool:
    """Whether each box gets a network namespace; `OSError` when that is wanted and the kernel refuses."""
    if wanted == "host":
        return False
    possible = network.is_possible()
    if wanted == "isolated" and not possible:
        raise OSError(errno.EPERM, "the kernel gives boxes no network namespace")
    return possible


class Supervisor:
    """Serves the emulator's socket."""

    def __init__(self, sock: socket.socket, config: wire.Message) -> None:
        self._sock = sock
        self._disks: str = config["disks"]
        self._volumes = os.path.join(os.path.dirname(self._disks), "volumes")
        self._remove_at_end: str = config["remove_at_end"]
        self._boxes: dict[int, str] = {}
        self._workers: dict[int, tuple[int, int]] = {}
        layers = [rootfs.Layer("/", "")] if config["whole"] else rootfs.split_layers(rootfs.mount_points())
        linux.mount("none", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
        linux.mount("proc", "/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
        if config["in_memory"]:
            linux.mount("tmpfs", self._disks, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=700")
        user = rootfs.free_user_id() if config["privileged"] else 0
        self._plan = rootfs.Plan(
            tuple(layers),
            config["privileged"],
            user,
            user,
            rootfs.to_hide(config["state"], config["home"]),
            config["sudo"],
            _own_network(config["network"]),
        )
        self._groups = cgroups.find(config["name"])
        self._own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY)
        self._operations: dict[str, Callable[[wire.Message, list[int]], None]] = {
            "boot": self._boot,
            "kill": self._kill,
            "keep-state": self._keep_state,
            "prepare": self._work,
            "copy": self._work,
            "delete": self._work,
            "make-volume": self._work,
            "delete-volume": self._work,
            "clone-volume": self._clone_volume,
        }

    def serve(self) -> None:
        """Answer requests and report ends until the emulator is gone, then end and remove what is left."""
        # Boxes are forked from here: what exists now is shared with them instead of copied by the collector.
        gc.freeze()
        ready = {"event": "ready", "own_network": self._plan.own_network, "groups": self._groups is not None}
        serve.serve(self._sock, ready, lambda request, fds: self._operations[request["op"]](request, fds), self._ended)
        self._end()

    def _tell(self, message: wire.Message, fds: tuple[int, ...] = ()) -> None:
        try:
            wire.send(self._sock, message, fds)
        except ConnectionError:
            # The emulator is gone: the next look at the socket finds its end.
            return

    def _end(self) -> None:
        signal.set_wakeup_fd(-1)
        for pid in (*self._boxes, *self._workers):
            os.kill(pid, signal.SIGKILL)
        for pid in (*self._boxes, *self._workers):
            os.waitpid(pid, 0)
        if self._remove_at_end:
            trees.remove(self._remove_at_end)

    def _fork(self) -> int:
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        return pid

    def _boot(self, request: wire.Message, fds: list[int]) -> None:
        if self._groups is not None:
            self._groups.make(request["box"], request["memory_bytes"], request["processes"])
        # The next child is the first process of a new pid namespace; the ones after it are not.
        linux.unshare(linux.CLONE_NEWPID)
        pid = self._fork()
        if pid == 0:
            self._be_box(request, fds[0])
        linux.setns(self._own_pids, linux.CLONE_NEWPID)
        self._boxes[pid] = request["box"]
        self._tell({"id": request["id"]})

    def _be_box(self, request: wire.Message, fd: int) -> None:
        """Be the box's first process; never returns."""
        sock = socket.socket(fileno=os.dup(fd))
        code = 1
        try:
            if self._groups is not None:
                self._groups.join(request["box"])
            low = sock.fileno()
            os.closerange(3, low)
            os.closerange(low + 1, 65536)
            disk = os.path.join(self._disks, request["box"])
            boxinit.run(self._plan, disk, request, self._groups is not None, sock)
            code = 0
        except Exception as error:
            # Whatever it is, the emulator must hear why the box did not start.
            _report(sock, f"{type(error).__name__}: {error}")
        finally:
            os._exit(code)

    def _kill(self, request: wire.Message, fds: list[int]) -> None:
        for pid, box in self._boxes.items():
            if box == request["box"]:
                os.kill(pid, signal.SIGKILL)
        self._tell({"id": request["id"]})

    def _keep_state(self, request: wire.Message, fds: list[int]) -> None:
        self._remove_at_end = ""
        self._tell({"id": request["id"]})

    def _work(self, request: wire.Message, fds: list[int]) -> None:
        """Do a file job in a child, so that other requests do not wait for it."""
        report_read, report_write = os.pipe()
        pid = self._fork()
        if pid == 0:
            code = 1
            try:
                self._do(request)
                code = 0
            except OSError as error:
                os.write(report_write, f"{error.errno or 5} {error}".encode()[:4000])
            finally:
                os._exit(code)
        os.close(report_write)
        self._workers[pid] = (request["id"], report_read)

    def _clone_volume(self, request: wire.Message, fds: list[int]) -> None:
        """Answer with a detached mount of a volume, which a box's first process puts in place."""
        attributes = linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NODEV
        if request["read_only"]:
            attributes |= linux.MOUNT_ATTR_RDONLY
        try:
            fd = linux.clone_mount(os.path.join(self._volumes, request["volume"]), attributes)
        except OSError as error:
            self._tell({"id": request["id"], "errno": error.errno or 5, "error": error.strerror or str(error)})
            return
        try:
            self._tell({"id": request["id"]}, (fd,))
        finally:
            os.close(fd)

    def _do(self, request: wire.Message) -> None:
        if request["op"].endswith("-volume"):
            self._change_volume(request["op"], os.path.join(self._volumes, request["box"]))
            return
        disk = os.path.join(self._disks, request["box"])
        if request["op"] == "delete":
            trees.remove(disk)
        elif request["op"] == "prepare":
            rootfs.make_disk(self._plan, disk)
        else:
            self._copy(os.path.join(self._disks, request["source"]), disk)

    def _change_volume(self, operation: str, path: str) -> None:
        if operation == "delete-volume":
            trees.remove(path)
            return
        os.makedirs(self._volumes, mode=0o700, exist_ok=True)
        os.mkdir(path, 0o755)
        os.chown(path, self._plan.user, self._plan.group)

    def _copy(self, source: str, target: str) -> None:
        os.mkdir(target, 0o755)
        for name in ("root", "upper"):
            trees.copy(os.path.join(source, name), os.path.join(target, name))
        for layer in self._plan.layers:
            os.makedirs(os.path.join(target, "work", layer.key))

    def _ended(self, pid: int, status: int) -> None:
        box = self._boxes.pop(pid, None)
        if box is not None:
            if self._groups is not None:
                self._groups.remove(box)
            self._tell({"event": "gone", "box": box})
        elif pid in self._workers:
            number, report = self._workers.pop(pid)
            with open(report, encoding="utf-8", errors="replace") as source:
                failure = source.read()
            self._finish(number, status, failure)

    def _finish(self, number: int, status: int, failure: str) -> None:
        if status == 0:
            self._tell({"id": number})
            return
        code, _, text = (failure or "5 the helper process died").partition(" ")
        self._tell({"id": number, "errno": int(code), "error": text})
