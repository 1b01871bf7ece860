"""A machine, and what can be done with it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import anyio

from boxd import methods
from boxd.errors import AuthenticationError, BoxdError, InvalidArgumentError, QuotaExceededError, TimeoutError
from boxd.messages import vm as pb
from boxd.resources import files, proxies
from boxd.resources.commands import Commands
from boxd.resources.logs import LogStream
from boxd.types.networking import Proxy

if TYPE_CHECKING:
    from boxd.resources.backups import BackupService
    from boxd.resources.checkpoints import CheckpointService
    from boxd.resources.filesystem import FileService
    from boxd.resources.ports import PortService
    from boxd.types.billing import UsageReport

_TERMINAL = ("destroyed", "failed", "stopped")


class Box(Commands):
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
    def files(self) -> FileService:
        """The machine's directories, and files of any size to and from it."""
        from boxd.resources.filesystem import FileService

        return FileService(self._session, self._id)

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
