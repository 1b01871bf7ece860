"""What can go wrong in HTTP/2, by how far it reaches: one stream or the whole connection."""

from __future__ import annotations

from typing import NamedTuple

from boxd.transport.http2.codes import ErrorCode, error_name


class ConnectionFault(Exception):
    """The connection cannot go on (RFC 9113 section 5.4.1). `code` is what the GOAWAY says to the peer."""

    #: The kind of the `StreamFailure` that its streams get.
    kind = "protocol"

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class StreamFault(Exception):
    """One stream cannot go on (section 5.4.2); its neighbours are unharmed."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class NotHTTP2Fault(ConnectionFault):
    """The peer answered in another protocol; the message quotes the beginning of its answer."""

    kind = "not-http2"

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.PROTOCOL_ERROR, message)


class HeaderListFault(ConnectionFault):
    """The peer sent a header list larger than this side announced to take."""

    kind = "headers"

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.ENHANCE_YOUR_CALM, message)


class StreamFailure(NamedTuple):
    """Why a stream ended without a complete response."""

    kind: str
    """`reset`: the peer's RST_STREAM; `goaway`: the peer will not process it; `lost`: the connection ended;
    `keepalive`: the peer gave no sign of life; `closed`: this side closed it; `protocol`: the peer broke HTTP/2;
    `headers`: its header list is too large; `not-http2`: the peer does not speak it; `connect`, `tls`: there is no
    connection, where each stream makes its own (HTTP/1.1)."""
    code: int
    """The HTTP/2 error code."""
    message: str
    """What happened, for a person."""
    unprocessed: bool = False
    """True only where the peer cannot have acted on the request, so that it may be sent again."""
    cause: BaseException | None = None
    """The operating system's error, where there is one."""

    def __str__(self) -> str:
        return f"{self.message} ({error_name(self.code)})"
