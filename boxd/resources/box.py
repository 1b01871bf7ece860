"""A machine, and what can be done with it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, overload

import anyio

from boxd import methods
from boxd.errors import AuthenticationError, BoxdError, InvalidArgumentError, QuotaExceededError, TimeoutError
from boxd.messages import vm as pb
from boxd.messages import vm_lifecycle, vm_sharing
from boxd.messages.vm_fork import ForkVmResponse
from boxd.resources import exec as execution
from boxd.resources import files, proxies
from boxd.resources.logs import LogStream
from boxd.types import ExecResult, Proxy, ResumeResult, SuspendResult

if TYPE_CHECKING:
    from boxd.resources._base import Session
    from boxd.resources.process import ExecProcess

_TERMINAL = ("destroyed", "failed", "stopped")


class Box:
    """A machine. Comes from `c.box.create`, `get`, `list` and `fork`; which fields are known depends on that.

    The fields are what the service said when the object was made; the calls of this class that change the machine's
    status keep `status` up to date. `c.box.get(box.id)` asks again.
    """

    def __init__(
        self, session: Session, record: pb.CreateVmResponse | ForkVmResponse | pb.GetVmResponse, *, full: bool
    ) -> None:
        """`full` tells an answer to GetVm from an entry of ListVms, which has the same type and fewer fields."""
        self._session = session
        self._id = record.vm_id
        self._name = record.name
        self._public_ip = record.public_ip
        self._status = record.status
        self._url: str | None = None
        self._boot_time_ms: int | None = None
        self._forked_from: str | None = None
        self._restart_policy: str | None = None
        self._disk_bytes: int | None = None
        self._auto_suspend_timeout_secs: int | None = None
        self._ssh_port: int | None = None
        if isinstance(record, pb.GetVmResponse):
            self._image = record.image_ref
            if full:
                self._restart_policy = record.restart_policy
                self._disk_bytes = record.disk_bytes
                self._auto_suspend_timeout_secs = record.auto_suspend_timeout_secs
                self._ssh_port = record.ssh_port if record.ssh_port else None
        else:
            self._image = record.image
            self._url = record.url
            self._boot_time_ms = record.boot_time_ms
            if isinstance(record, ForkVmResponse):
                self._forked_from = record.forked_from

    @property
    def id(self) -> str:
        """The machine's id. Never changes."""
        return self._id

    @property
    def name(self) -> str:
        """The machine's name, unique among its owner's."""
        return self._name

    @property
    def image(self) -> str:
        """The image it was made from."""
        return self._image

    @property
    def public_ip(self) -> str:
        """Its public IP address."""
        return self._public_ip

    @property
    def status(self) -> str:
        """Its status as last known: `pending`, `starting`, `running`, `suspended`, `stopped`, `failed`,
        `destroyed`, or another word that the service uses."""
        return self._status

    @property
    def url(self) -> str | None:
        """Where it answers on the web, as the service gives it; known after `create` and `fork`. The form
        `https://NAME.boxd.sh` is stable."""
        return self._url

    @property
    def boot_time_ms(self) -> int | None:
        """How long it took to start, in milliseconds; known after `create` and `fork`."""
        return self._boot_time_ms

    @property
    def forked_from(self) -> str | None:
        """The machine it was copied from; known after `fork`."""
        return self._forked_from

    @property
    def restart_policy(self) -> str | None:
        """`always` or `never`; known after `get`."""
        return self._restart_policy

    @property
    def disk_bytes(self) -> int | None:
        """The size of its disk in bytes; known after `get`."""
        return self._disk_bytes

    @property
    def auto_suspend_timeout_secs(self) -> int | None:
        """Seconds without traffic after which it is suspended, 0 for never; known after `get`."""
        return self._auto_suspend_timeout_secs

    @property
    def ssh_port(self) -> int | None:
        """Its public SSH port; known after `get`, once it is allocated."""
        return self._ssh_port

    async def start(self) -> None:
        """Start the machine from its disk. RPC: StartVm."""
        await self._session.unary(methods.StartVm, vm_lifecycle.StartVmRequest(vm_id=self._id))
        self._status = "running"

    async def stop(self) -> None:
        """Power the machine off: what is only in its memory is lost. RPC: StopVm."""
        await self._session.unary(methods.StopVm, vm_lifecycle.StopVmRequest(vm_id=self._id))
        self._status = "stopped"

    async def reboot(self) -> None:
        """Stop the machine and start it again. RPC: RebootVm."""
        await self._session.unary(methods.RebootVm, vm_lifecycle.RebootVmRequest(vm_id=self._id))
        self._status = "running"

    async def destroy(self) -> None:
        """Destroy the machine and its disk. RPC: DestroyVm."""
        await self._session.unary(methods.DestroyVm, vm_lifecycle.DestroyVmRequest(vm_id=self._id))
        self._status = "destroyed"

    async def suspend(self) -> SuspendResult:
        """Suspend the machine with its memory and its processes. RPC: SuspendVm."""
        response = await self._session.unary(methods.SuspendVm, vm_lifecycle.SuspendVmRequest(vm_id=self._id))
        self._status = "suspended"
        return SuspendResult(response.suspend_us)

    async def resume(self) -> ResumeResult:
        """Let a suspended machine go on. A command does so too. RPC: ResumeVm."""
        response = await self._session.unary(methods.ResumeVm, vm_lifecycle.ResumeVmRequest(vm_id=self._id))
        self._status = "running"
        return ResumeResult(response.resume_us)

    async def share(self) -> None:
        """Let everybody in the machine's organization see it. RPC: ShareVm."""
        await self._session.unary(methods.ShareVm, vm_sharing.ShareVmRequest(vm_id=self._id))

    async def unshare(self) -> None:
        """Make a shared machine private again. RPC: UnshareVm."""
        await self._session.unary(methods.UnshareVm, vm_sharing.UnshareVmRequest(vm_id=self._id))

    async def wait_until_ready(self, timeout: float = 90.0, poll_interval: float = 0.5) -> None:
        """Wait until the machine is fully there: its status is `running` and a command runs in it.

        `create` and `fork` return when the machine is scheduled; a fork of a machine that is not ready yet is a
        cold copy of its disk. Asks every `poll_interval` seconds. Raises `TimeoutError` after `timeout` seconds,
        and `BoxdError` as soon as the machine is destroyed, failed or stopped. RPCs: GetVm, Exec.
        """
        last: BoxdError | None = None
        with anyio.move_on_after(timeout):
            while True:
                record = await self._session.unary(methods.GetVm, pb.GetVmRequest(vm_id=self._id))
                self._status = record.status
                self._public_ip = record.public_ip
                if record.status in _TERMINAL:
                    raise BoxdError(f"the machine {self._name!r} will not become ready: it is {record.status}")
                if record.status == "running":
                    try:
                        if (await self.exec("true")).success:
                            return
                    except (AuthenticationError, InvalidArgumentError, QuotaExceededError):
                        raise
                    except BoxdError as error:
                        last = error
                await anyio.sleep(poll_interval)
        state = f"its status is {self._status!r}" if self._status != "running" else "it runs, but no command does in it"
        raise TimeoutError(f"the machine {self._name!r} was not ready after {timeout:g} s: {state}", 4) from last

    @overload
    async def exec(
        self,
        *args: str,
        stream: Literal[False] = False,
        interactive: Literal[False] = False,
        pty: bool = False,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        close_stdin: bool = False,
        cols: int = 0,
        rows: int = 0,
        text: Literal[True] = True,
    ) -> ExecResult: ...
    @overload
    async def exec(
        self,
        *args: str,
        stream: Literal[False] = False,
        interactive: Literal[False] = False,
        pty: bool = False,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        close_stdin: bool = False,
        cols: int = 0,
        rows: int = 0,
        text: Literal[False],
    ) -> ExecResult[bytes]: ...
    @overload
    async def exec(
        self,
        *args: str,
        stream: Literal[True],
        interactive: bool = False,
        pty: bool = False,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        close_stdin: bool = False,
        cols: int = 0,
        rows: int = 0,
        text: bool = True,
    ) -> ExecProcess: ...
    @overload
    async def exec(
        self,
        *args: str,
        stream: bool = False,
        interactive: Literal[True],
        pty: bool = False,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        close_stdin: bool = False,
        cols: int = 0,
        rows: int = 0,
        text: bool = True,
    ) -> ExecProcess: ...
    @overload
    async def exec(
        self,
        *args: str,
        stream: bool = False,
        interactive: bool = False,
        pty: bool = False,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        close_stdin: bool = False,
        cols: int = 0,
        rows: int = 0,
        text: bool = True,
    ) -> ExecResult | ExecResult[bytes] | ExecProcess: ...
    async def exec(
        self,
        *args: str,
        stream: bool = False,
        interactive: bool = False,
        pty: bool = False,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        close_stdin: bool = False,
        cols: int = 0,
        rows: int = 0,
        text: bool = True,
    ) -> ExecResult | ExecResult[bytes] | ExecProcess:
        """Run a command in the machine. RPC: Exec.

        `args` are the program and its arguments, passed on exactly: no shell looks into them. For pipes and
        variables ask for a shell: `box.exec("sh", "-c", "ls | wc -l")`. `env` adds environment variables.

        Waits for the end and returns an `ExecResult`, its output as text (UTF-8, what is not is replaced) or, with
        `text=False`, as bytes. The command gets no input. With `stream=True` returns an `ExecProcess` at once; with
        `interactive=True` too, under a PTY. `pty=True` runs the command under a PTY of `cols` by `rows` characters
        (0: 80 by 24), where all output comes on stdout. `close_stdin=True`, for streamed commands without a PTY,
        ends the command's input at once. `timeout` is the command's deadline in seconds: it is ended then.

        Raises `TimeoutError` after `timeout`, `ConnectionError` where the connection breaks, `InternalError` where
        no exit status comes, all with the output so far in `stdout` and `stderr`; `ValueError` for options that
        exclude each other. A status other than 0 is no error: see `ExecResult.exit_code`.
        """
        options = execution.ExecOptions(
            stream=stream,
            interactive=interactive,
            pty=pty,
            timeout=timeout,
            close_stdin=close_stdin,
            cols=cols,
            rows=rows,
        )
        first = options.first_chunk(self._id, execution.command_line(args, env))
        if options.streamed:
            return await execution.start(self._session, first, options)
        if text:
            return await execution.run(self._session, first, timeout, True)
        return await execution.run(self._session, first, timeout, False)

    async def write_file(self, source: bytes | str | os.PathLike[str], dest: str) -> None:
        """Write a file in the machine, at most 100 MiB. RPCs: UploadFile, above 1 MiB UploadFileStream.

        `source` is the content: `bytes`, or a `str` that is written as UTF-8. A `pathlib.Path` is a local file,
        read as it is sent. `dest` is the path in the machine, absolute or relative to `/home/boxd`.

        Raises `FileTooLargeError`, and `OSError` for a local file that cannot be read, before anything is sent.
        """
        await files.write_file(self._session, self._id, source, dest)

    async def read_file(self, path: str) -> bytes:
        """The content of a file in the machine, at most 100 MiB. RPCs: DownloadFileStream, or DownloadFile where the
        server does not know that.

        `path` is absolute or relative to `/home/boxd`. Raises `NotFoundError` where there is no such file.
        """
        return await files.read_file(self._session, self._id, path)

    async def proxies(self) -> list[Proxy]:
        """The names on the web that lead to the machine. RPC: ListProxies."""
        return await proxies.list_proxies(self._session, self._name)

    async def create_proxy(self, name: str, port: int = 0) -> Proxy:
        """Add a name: `https://NAME.BOX.boxd.sh` leads to `port` (0: the service's default). RPC: CreateProxy."""
        return await proxies.create_proxy(self._session, self._name, name, port)

    async def delete_proxy(self, name: str) -> None:
        """Remove a name. RPC: DeleteProxy."""
        await proxies.delete_proxy(self._session, self._name, name)

    async def set_proxy_port(self, port: int, name: str = "") -> None:
        """Let a name lead to another port; without `name` the machine's own. RPC: SetProxyPort."""
        await proxies.set_proxy_port(self._session, self._name, name, port)

    def stream_logs(self, follow: bool = False) -> LogStream:
        """The machine's console output as an iterator of `bytes`; with `follow` it goes on with what is to come.
        The call begins with the first piece and ends with the iterator's `close`. RPC: StreamLogs."""
        return LogStream(self._session, self._id, follow)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Box) and other._id == self._id

    def __hash__(self) -> int:
        return hash(self._id)

    def __repr__(self) -> str:
        return f"<Box {self._name!r} id={self._id!r} status={self._status!r}>"
