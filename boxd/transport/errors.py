"""Errors of RPCs. Each says whose doing it is (`origin`) and whether the call may be repeated (`unprocessed`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from boxd.transport.metadata import Metadata
from boxd.transport.status import StatusCode


class RpcError(Exception):
    """An RPC ended with a status other than OK.

    `code` and `message` are the status; `details` are the `(type name, bytes)` pairs of the rich error model;
    `headers` and `trailers` are the response's metadata, empty where none came; `origin` is `"server"` for a status
    the server sent and `"client"` for one that this side found; `unprocessed` is True only where the server cannot
    have acted on the call, so that even an unsafe one may be sent again.
    """

    #: The status code of the class's own errors, where it always is the same.
    default_code = StatusCode.UNKNOWN

    def __init__(
        self,
        message: str,
        code: StatusCode | None = None,
        *,
        details: Sequence[tuple[str, bytes]] = (),
        headers: Metadata = (),
        trailers: Metadata = (),
        origin: str = "client",
        unprocessed: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code: StatusCode = self.default_code if code is None else code
        self.details = details
        self.headers = headers
        self.trailers = trailers
        self.origin = origin
        self.unprocessed = unprocessed

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.__dict__)


def _rebuild(cls: type[RpcError], message: str, state: dict[str, Any]) -> RpcError:
    error = cls(message)
    error.__dict__.update(state)
    return error


class ConnectFailed(RpcError):
    """No connection could be made; the message lists what was tried."""

    default_code = StatusCode.UNAVAILABLE


class TlsFailed(ConnectFailed):
    """The TLS handshake failed; the message says why."""


class NotHttp2(ConnectFailed):
    """The server answered, but not in HTTP/2."""


class NoHttp2Agreed(NotHttp2):
    """The server did not choose HTTP/2 in the TLS handshake."""

    #: What it chose instead, if anything.
    alpn: str | None = None


class ConnectionLost(RpcError):
    """The connection ended in the middle of the call."""

    default_code = StatusCode.UNAVAILABLE


class KeepaliveTimeout(ConnectionLost):
    """The connection was given up in the middle of the call: the server no longer gave a sign of life."""


class StreamRefused(RpcError):
    """The server declined the call unprocessed: REFUSED_STREAM, or a GOAWAY that leaves it out."""

    default_code = StatusCode.UNAVAILABLE


class StreamReset(RpcError):
    """The server ended the call with RST_STREAM; `code` follows from the HTTP/2 error code."""

    default_code = StatusCode.INTERNAL


class ProtocolViolation(RpcError):
    """The server broke the rules of HTTP/2 or of the RPC protocol."""

    default_code = StatusCode.INTERNAL


class DecodeFailed(RpcError):
    """A message could not be decompressed or parsed."""

    default_code = StatusCode.INTERNAL


class MessageTooLarge(RpcError):
    """A message is larger than the limit for it."""

    default_code = StatusCode.RESOURCE_EXHAUSTED


class HeadersTooLarge(RpcError):
    """The metadata of a call is more than the server takes, or that of the response more than this client does."""

    default_code = StatusCode.RESOURCE_EXHAUSTED


class DeadlineExceeded(RpcError):
    """The call's time ran out."""

    default_code = StatusCode.DEADLINE_EXCEEDED


class Cancelled(RpcError):
    """The call was cancelled through `cancel` or `aclose`, or its channel was closed."""

    default_code = StatusCode.CANCELLED


class ChannelClosed(Cancelled):
    """The channel was closed before the call."""


class WrongLoop(RuntimeError):
    """An async channel was used from another event loop while its own still runs."""
