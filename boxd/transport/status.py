"""Status codes of RPCs, and the tables that lead to them from HTTP and HTTP/2."""

from __future__ import annotations

from enum import IntEnum

from boxd.transport.http2.codes import ErrorCode


class StatusCode(IntEnum):
    """The status of a finished RPC (gRPC's `statuscodes.md`)."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


_FROM_HTTP = {
    400: StatusCode.INTERNAL,
    401: StatusCode.UNAUTHENTICATED,
    403: StatusCode.PERMISSION_DENIED,
    404: StatusCode.UNIMPLEMENTED,
    429: StatusCode.UNAVAILABLE,
    502: StatusCode.UNAVAILABLE,
    503: StatusCode.UNAVAILABLE,
    504: StatusCode.UNAVAILABLE,
}

_FROM_RESET = {
    ErrorCode.REFUSED_STREAM: StatusCode.UNAVAILABLE,
    ErrorCode.CANCEL: StatusCode.CANCELLED,
    ErrorCode.ENHANCE_YOUR_CALM: StatusCode.RESOURCE_EXHAUSTED,
    ErrorCode.INADEQUATE_SECURITY: StatusCode.PERMISSION_DENIED,
}


def from_http(status: int) -> StatusCode:
    """The status of a response that carries none of its own, by its HTTP status (`http-grpc-status-mapping.md`)."""
    return _FROM_HTTP.get(status, StatusCode.UNKNOWN)


def from_reset(code: int) -> StatusCode:
    """The status of a stream that the peer reset with an HTTP/2 error code (`PROTOCOL-HTTP2.md`, "Errors")."""
    return _FROM_RESET.get(code, StatusCode.INTERNAL)  # type: ignore[call-overload, no-any-return]
