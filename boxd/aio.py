"""The async surface of `boxd`, for asyncio and trio. The same names as in `boxd`, with `await` and `async with`."""

from __future__ import annotations

from boxd._version import __version__
from boxd.client import Compute
from boxd.errors import (
    AuthenticationError,
    BoxdError,
    ConnectionError,
    FileTooLargeError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    QuotaExceededError,
    TimeoutError,
    UnsupportedError,
)
from boxd.resources.box import Box
from boxd.resources.boxes import BoxService
from boxd.resources.logs import LogStream
from boxd.resources.process import ExecProcess, StreamReader, StreamWriter
from boxd.types import (
    BoxConfig,
    ConfigResult,
    ExecResult,
    LifecycleConfig,
    NetworkConfig,
    OrgSummary,
    Proxy,
    ProxyEntry,
    ResizeResult,
    ResumeResult,
    SuspendResult,
    VolumeMount,
    WhoamiResult,
)

__all__ = [  # noqa: RUF022  Grouped by subject.
    "__version__",
    # The client and its services.
    "Compute",
    "BoxService",
    "Box",
    # Running commands and logs.
    "ExecProcess",
    "ExecResult",
    "LogStream",
    "StreamReader",
    "StreamWriter",
    # What calls take.
    "BoxConfig",
    "LifecycleConfig",
    "NetworkConfig",
    "ProxyEntry",
    "VolumeMount",
    # What calls return.
    "ConfigResult",
    "OrgSummary",
    "Proxy",
    "ResizeResult",
    "ResumeResult",
    "SuspendResult",
    "WhoamiResult",
    # Errors.
    "AuthenticationError",
    "BoxdError",
    "ConnectionError",
    "FileTooLargeError",
    "InternalError",
    "InvalidArgumentError",
    "NotFoundError",
    "QuotaExceededError",
    "TimeoutError",
    "UnsupportedError",
]
