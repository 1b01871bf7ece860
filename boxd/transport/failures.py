"""What a stream's failure means for its call."""

from __future__ import annotations

from typing import Any

from boxd.transport.deadline import Deadline
from boxd.transport.errors import (
    Cancelled,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    DecodeFailed,
    HeadersTooLarge,
    KeepaliveTimeout,
    NotHttp2,
    ProtocolViolation,
    RpcError,
    StreamRefused,
    StreamReset,
    TlsFailed,
)
from boxd.transport.http2.codes import ErrorCode
from boxd.transport.http2.errors import StreamFailure
from boxd.transport.method import Method
from boxd.transport.status import StatusCode, from_reset

_LATE = (StatusCode.CANCELLED, StatusCode.DEADLINE_EXCEEDED)


def wrong_count(count: str) -> RpcError:
    """The error of a call that takes exactly one message and got another number of them."""
    return RpcError(f"the server sent {count} where exactly one is due", StatusCode.UNIMPLEMENTED)


def undecodable(method: Method[Any, Any], cause: Exception) -> RpcError:
    """The error for a response message that is not what its type says."""
    error = DecodeFailed(f"the server's {method.response.__name__} cannot be decoded: {cause}")
    error.__cause__ = cause
    return error


def too_late(method: str, deadline: Deadline) -> RpcError:
    """The error of a call whose deadline has passed."""
    return DeadlineExceeded(f"{method} did not finish within its timeout of {deadline.timeout:g} s")


def at_deadline(error: RpcError, method: str, deadline: Deadline | None) -> RpcError:
    """The error of a call that ended with one, seen against its deadline: a server that ends the call when that passes
    may be faster than our own timer."""
    if deadline is None or deadline.remaining() > 0 or error.code not in _LATE:
        return error
    return too_late(method, deadline)


def error_from_failure(failure: StreamFailure) -> RpcError:
    """The error of a call whose stream ended without a complete response."""
    text, kind, unprocessed = failure.message, failure.kind, failure.unprocessed
    if kind == "reset" and failure.code != ErrorCode.REFUSED_STREAM:
        return StreamReset(text, from_reset(failure.code), origin="server")
    if kind in ("reset", "goaway"):
        return StreamRefused(text, origin="server", unprocessed=unprocessed)
    if kind == "closed":
        return Cancelled(text, unprocessed=unprocessed)
    if kind in ("connect", "tls"):
        return (TlsFailed if kind == "tls" else ConnectFailed)(text, unprocessed=unprocessed)
    if kind == "not-http2":
        return NotHttp2(text, unprocessed=True)
    if kind == "keepalive":
        return KeepaliveTimeout(text, unprocessed=unprocessed)
    if kind == "lost" or unprocessed:  # What was never written cannot be what the server broke the rules on.
        return ConnectionLost(text, unprocessed=unprocessed)
    return (HeadersTooLarge if kind == "headers" else ProtocolViolation)(text)
