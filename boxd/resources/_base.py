"""What all resources share: the session of one client with the service, and the one place where a failed RPC
becomes a public error."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from boxd._version import __version__
from boxd.config import Settings
from boxd.errors import BoxdError, WrongLoopError, from_rpc
from boxd.options import HTTPOptions, dial_options
from boxd.transport import Channel, RpcError, StatusCode, WrongLoop
from boxd.update_notice import LATEST_HEADER, VERSION_HEADER, note_latest

if TYPE_CHECKING:
    from types import TracebackType

    from boxd.transport import Call, Method, Stats

Req = TypeVar("Req")
Res = TypeVar("Res")

MAX_TRANSFER = 100 * 1024 * 1024
"""The largest file, in bytes, that goes up or down in one call. The service documents 100 MB; this is the larger
reading."""
# A message is a little larger than the file in it.
_MAX_MESSAGE = MAX_TRANSFER + (1 << 20)


class Credentials(Protocol):
    """What a session needs of `TokenSource` and `KeyExchange`."""

    def current(self) -> str | None:
        """The value of the `authorization` header if it is at hand."""

    async def refresh(self) -> str:
        """Fetch the value."""

    def reject(self, header: str) -> bool:
        """The server refused `header`. Returns True if another one can be fetched."""

    async def aclose(self) -> None:
        """Let go of what is held."""


class Session:
    """One client's calls. Nothing is opened before the first of them."""

    def __init__(self, settings: Settings, credentials: Credentials) -> None:
        self.settings = settings
        self.credentials = credentials
        self.missing: set[str] = set()
        """Names of the RPCs that the server has turned out not to know."""
        self.closed: bool = False
        self._channel: Channel | None = None
        # Kept beyond the end, for its counts.
        self._counted: Channel | None = None

    def scope(self, org: str | None) -> str:
        """The organization a call is about: the one it names, else the client's."""
        return self.settings.org if org is None else org

    async def unary(self, method: Method[Req, Res], request: Req, *, bulk: bool = False) -> Res:
        """Make a unary call; `bulk` is for one that moves much data (see `Channel.call`). Raises `BoxdError`.

        A kept token that the server refuses is replaced and the call made again, once: a call refused for its
        credential has not run.
        """
        channel = self._open()
        header = self.credentials.current()
        try:
            return await channel.unary(method, request, bulk=bulk)
        except WrongLoop as error:
            raise WrongLoopError(str(error)) from error
        except RpcError as error:
            if not self._may_renew(error, header):
                raise from_rpc(error, method.name) from error
        try:
            return await channel.unary(method, request, bulk=bulk)
        except RpcError as error:
            raise from_rpc(error, method.name) from error

    def stream(self, method: Method[Req, Res], *, timeout: float | None = None, bulk: bool = False) -> Stream[Req, Res]:
        """A streaming call, not started yet. `timeout`, in seconds from now, bounds the whole of it; `bulk` is for one
        that moves much data."""
        header = self.credentials.current()
        call = self._open().call(method, timeout=timeout, bulk=bulk)
        return Stream(call, method.name, lambda error: self._may_renew(error, header))

    def stats(self) -> Stats:
        """What the client has done so far, and what is open now."""
        from boxd.transport import Stats

        return Stats() if self._counted is None else self._counted.stats()

    async def aclose(self) -> None:
        """End the calls under way and close the connections. Idempotent."""
        self.closed = True
        channel, self._channel = self._channel, None
        try:
            await self.credentials.aclose()
        finally:
            if channel is not None:
                await channel.aclose()

    def _open(self) -> Channel:
        if self.closed:
            raise BoxdError("this client is closed: make a new Compute")
        if self._channel is None:
            settings = self.settings
            options = dial_options(settings.http)
            self._channel = self._counted = Channel(
                settings.target,
                metadata=((VERSION_HEADER, __version__),),
                credentials=self.credentials,
                max_receive_bytes=_MAX_MESSAGE,
                observe=(LATEST_HEADER, note_latest),
                trace=settings.trace,
                dial_options=options,
                engine_options=options.engine,
                connection_options=options,
                protocol=settings.protocol,
                compression=options.compression,
                http_version=options.version,
                transport=None if isinstance(settings.http, HTTPOptions) else settings.http,
            )
        return self._channel

    def _may_renew(self, error: RpcError, header: str | None) -> bool:
        """True if the call failed for a token that was kept from before, and a new one may do better."""
        refused = error.code == StatusCode.UNAUTHENTICATED and error.origin == "server"
        return refused and header is not None and self.credentials.reject(header)


class Stream(Generic[Req, Res]):
    """A streaming call whose errors are the public ones. An async context manager; leaving it early cancels the
    call."""

    def __init__(self, call: Call[Req, Res], name: str, on_error: Callable[[RpcError], bool]) -> None:
        self._call = call
        self._name = name
        self._on_error = on_error

    async def send(self, message: Req, *, end: bool = False) -> None:
        """Send a message, and with `end` half-close after it. Waits while the server does not read."""
        try:
            await self._call.send(message, end=end)
        except (RpcError, WrongLoop) as error:
            raise self._public(error) from error

    async def end(self) -> None:
        """Half-close: no more messages from this side."""
        try:
            await self._call.end()
        except (RpcError, WrongLoop) as error:
            raise self._public(error) from error

    async def receive_batch(self) -> list[Res]:
        """The messages at hand, at least one; none when the call ended well. Cancelling the wait loses nothing."""
        try:
            return await self._call.receive_batch()
        except (RpcError, WrongLoop) as error:
            raise self._public(error) from error

    async def receive(self) -> Res | None:
        """The next message; None when the call ended well."""
        try:
            return await self._call.receive()
        except (RpcError, WrongLoop) as error:
            raise self._public(error) from error

    def cancel(self) -> None:
        """End the call now, on the server too. Idempotent."""
        self._call.cancel()

    async def __aenter__(self) -> Stream[Req, Res]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call.cancel()

    def _public(self, error: RpcError | WrongLoop) -> BoxdError:
        if isinstance(error, WrongLoop):
            return WrongLoopError(str(error))
        self._on_error(error)
        return from_rpc(error, self._name)
