"""RPC over HTTP/2 in pure Python: calls, gRPC, and an HTTP/2 engine. Knows nothing of boxd."""

from __future__ import annotations

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
from boxd.transport.stats import Stats
from boxd.transport.status import StatusCode
from boxd.transport.target import Target

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
