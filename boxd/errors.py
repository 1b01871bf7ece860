"""The errors that users of `boxd` see. One root, `BoxdError`; one class for each thing a caller can do about it."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from boxd.types.exec import ExecResult


class BoxdError(Exception):
    """Something asked of the service, or of a machine, did not succeed. The root of all errors of this package.

    Arguments that cannot be right (a bad size, a bad URL, options that exclude each other) are the builtin
    `ValueError` or `TypeError` instead, raised before any call.
    """

    message: str
    """What happened, for people."""
    grpc_code: int | None
    """The gRPC status code (0 to 16) that the failure has, None where no call was involved."""
    stdout: str | bytes | None = None
    """What the command wrote to its standard output before the failure; None where no command was running. Text or
    bytes as the call was asked to return. For a streamed command: what had arrived and was not read yet."""
    stderr: str | bytes | None = None
    """The same for the standard error output."""

    def __init__(self, message: str = "", grpc_code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.grpc_code = grpc_code

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r}, grpc_code={self.grpc_code!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        # OSError, a base of two of the classes, would rebuild from `args` alone and lose the attributes.
        return _rebuild, (type(self), self.message, self.grpc_code), self.__dict__


def _rebuild(cls: type[BoxdError], message: str, grpc_code: int | None) -> BoxdError:
    return cls(message, grpc_code)


class AuthenticationError(BoxdError):
    """The credential is missing, wrong, expired or not allowed to do this (UNAUTHENTICATED, PERMISSION_DENIED)."""


class NotFoundError(BoxdError):
    """There is no such machine, file, disk or other thing (NOT_FOUND)."""


class QuotaExceededError(BoxdError):
    """A quota or a limit is used up (RESOURCE_EXHAUSTED)."""


class InvalidArgumentError(BoxdError):
    """The service refuses a value: malformed (INVALID_ARGUMENT), or a name that is taken (ALREADY_EXISTS)."""


class FileTooLargeError(InvalidArgumentError, ValueError):
    """A file is over the limit for one transfer. An upload is refused before anything is sent."""


class TimeoutError(BoxdError, builtins.TimeoutError):
    """The time given for a call ran out (DEADLINE_EXCEEDED)."""


class ConnectionError(BoxdError, builtins.ConnectionError):
    """The service cannot be reached, or the connection broke (UNAVAILABLE)."""


class InternalError(BoxdError):
    """The service failed, or answered in a way it must not (INTERNAL, UNKNOWN)."""


class UnsupportedError(BoxdError):
    """The server does not know this call (UNIMPLEMENTED): it is older or newer than what the call needs."""


class ExecError(BoxdError):
    """A command ran to its end, and its exit status is not 0. Raised with `check=True` and by `ExecResult.check`."""

    result: ExecResult | ExecResult[bytes]
    """What the command left behind. `stdout` and `stderr` of the error are its outputs."""


class ExitUnknownError(InternalError):
    """A command's stream ended in order, but without an exit status: whether the command succeeded is unknown."""


class BoxStoppedError(BoxdError):
    """The machine was stopped or destroyed, before a command or while it ran. `grpc_code` is that of the command's
    call, None where it ended in order."""

    status: str = ""
    """The machine's status after that, as the service tells it: `stopped`, `destroyed` or `failed`; empty where only
    the command's failure tells."""


class WrongLoopError(BoxdError, RuntimeError):
    """An async client, or a command's streams, were used from another event loop than their own while that still runs,
    or a command's streams in a process that was forked from theirs. No call was made."""


_BY_CODE: dict[int, type[BoxdError]] = {
    2: InternalError,
    3: InvalidArgumentError,
    4: TimeoutError,
    5: NotFoundError,
    6: InvalidArgumentError,
    7: AuthenticationError,
    8: QuotaExceededError,
    12: UnsupportedError,
    13: InternalError,
    14: ConnectionError,
    16: AuthenticationError,
}


class StatusLike(Protocol):
    """What `from_rpc` reads of an error of the transport."""

    @property
    def code(self) -> int:
        """The gRPC status code."""

    @property
    def message(self) -> str:
        """The status message."""


def from_rpc(error: StatusLike, call: str) -> BoxdError:
    """The public error for a failed RPC.

    `call` is the RPC's name (`"GetVm"`); it stands in the message where the server gives none, and where it says that
    it does not know the call. The server's own message is otherwise kept word for word.
    """
    code = int(error.code)
    message = error.message
    if code == 12:
        message = f"the server does not support {call}" + (f": {message}" if message else "")
    elif not message:
        message = f"{call} failed with gRPC status {getattr(error.code, 'name', code)}, and the server does not say why"
    return _BY_CODE.get(code, BoxdError)(message, code)
