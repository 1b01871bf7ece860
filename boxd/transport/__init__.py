"""RPC over HTTP/2 in pure Python: calls, gRPC, and an HTTP/2 engine. Knows nothing of boxd."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from boxd.transport.call import Call
from boxd.transport.channel import CallCredentials, Channel
from boxd.transport.dial_options import DialOptions
from boxd.transport.errors import (
    Cancelled,
    ChannelClosed,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    DecodeFailed,
    HeadersTooLarge,
    KeepaliveTimeout,
    MessageTooLarge,
    NotHttp2,
    ProtocolViolation,
    RpcError,
    StreamRefused,
    StreamReset,
    TlsFailed,
    WrongLoop,
)
from boxd.transport.http2.options import EngineOptions
from boxd.transport.metadata import Metadata
from boxd.transport.method import Kind, Method
from boxd.transport.options import ConnectionOptions, RetryPolicy
from boxd.transport.status import StatusCode
from boxd.transport.target import Target

if TYPE_CHECKING:
    from boxd.transport.httpx_transport import HTTP2Transport
    from boxd.transport.stats import Stats

__all__ = [
    "Call",
    "CallCredentials",
    "Cancelled",
    "Channel",
    "ChannelClosed",
    "ConnectFailed",
    "ConnectionLost",
    "ConnectionOptions",
    "DeadlineExceeded",
    "DecodeFailed",
    "DialOptions",
    "EngineOptions",
    "HTTP2Transport",
    "HeadersTooLarge",
    "KeepaliveTimeout",
    "Kind",
    "MessageTooLarge",
    "Metadata",
    "Method",
    "NotHttp2",
    "ProtocolViolation",
    "RetryPolicy",
    "RpcError",
    "Stats",
    "StatusCode",
    "StreamRefused",
    "StreamReset",
    "Target",
    "TlsFailed",
    "WrongLoop",
]


def __getattr__(name: str) -> Any:
    """What is loaded when it is used: few do, and `HTTP2Transport` needs httpx."""
    if name == "HTTP2Transport":
        from boxd.transport.httpx_transport import HTTP2Transport

        return HTTP2Transport
    if name == "Stats":
        from boxd.transport.stats import Stats

        return Stats
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
