"""A machine, and what can be done with it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, overload

import anyio

from boxd import methods
from boxd.errors import AuthenticationError, BoxdError, InvalidArgumentError, QuotaExceededError, TimeoutError
from boxd.messages import vm as pb
from boxd.resources import exec as execution
from boxd.resources import files, proxies
from boxd.resources.lifecycle import Lifecycle
from boxd.resources.logs import LogStream
from boxd.types import ExecResult, Proxy

if TYPE_CHECKING:
    from boxd.resources.backups import BackupService
    from boxd.resources.checkpoints import CheckpointService
    from boxd.resources.ports import PortService
    from boxd.resources.process import ExecProcess
    from boxd.types.billing import UsageReport

_TERMINAL = ("destroyed", "failed", "stopped")


class Box(Lifecycle):
    """A machine. Comes from `c.box.create`, `get`, `list` and `fork`; which fields are known depends on that.

    The fields are what the service said when the object was made; the calls of this class that change the machine's
    status keep `status` up to date. `c.box.get(box.id)` asks again.
    """

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
        return await proxies.list_proxies(self._session, self)

    async def create_proxy(self, name: str, port: int = 0) -> Proxy:
        """Add a name: `https://NAME.BOX.boxd.sh` leads to `port` (0: the service's default). RPC: CreateProxy."""
        return await proxies.create_proxy(self._session, self, name, port)

    async def delete_proxy(self, name: str) -> None:
        """Remove a name. RPC: DeleteProxy."""
        await proxies.delete_proxy(self._session, self, name)

    async def set_proxy_port(self, port: int, name: str = "") -> None:
        """Let a name lead to another port; without `name` the machine's own. RPC: SetProxyPort."""
        await proxies.set_proxy_port(self._session, self, name, port)

    def stream_logs(self, follow: bool = False) -> LogStream:
        """The machine's console output as an iterator of `bytes`; with `follow` it goes on with what is to come.
        The call begins with the first piece and ends with the iterator's `close`. RPC: StreamLogs."""
        return LogStream(self._session, self._id, follow)

    @property
    def ports(self) -> PortService:
        """The machine's ports that can be reached from everywhere."""
        from boxd.resources.ports import PortService

        return PortService(self._session, self)

    @property
    def checkpoints(self) -> CheckpointService:
        """States of the machine that it can be put back to."""
        from boxd.resources.checkpoints import CheckpointService

        return CheckpointService(self._session, self._id)

    @property
    def backups(self) -> BackupService:
        """Copies of the machine's disk that the service keeps apart from it."""
        from boxd.resources.backups import BackupService

        return BackupService(self._session, self._id)

    async def usage(self, since: int = 0, until: int = 0) -> UsageReport:
        """What the machine used between two times in seconds since 1970 (0: the service's default). Raises
        `UnsupportedError` on an older server. RPC: GetVmUsage."""
        from boxd.resources.usage import vm_usage

        return await vm_usage(self._session, self._id, since, until)
