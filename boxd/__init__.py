"""The Python SDK of boxd: Linux machines in milliseconds.

    from boxd import Compute

    with Compute() as c:
        box = c.box.create(name="hello")
        print(box.exec("uname", "-a").stdout)
        box.destroy()

This module has the blocking surface; `boxd.aio` has the same names for asyncio and trio. Names are imported when they
are first used, so that `import boxd` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from boxd._version import __version__

if TYPE_CHECKING:
    from boxd import aio as aio
    from boxd.blocking.box import Box
    from boxd.blocking.boxes import BoxService
    from boxd.blocking.client import Compute
    from boxd.blocking.logs import LogStream
    from boxd.blocking.process import ExecProcess, StreamReader, StreamWriter
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

# Where a name comes from. What is not here is a value or an error.
_HOMES = {
    "Compute": "boxd.blocking.client",
    "BoxService": "boxd.blocking.boxes",
    "Box": "boxd.blocking.box",
    "ExecProcess": "boxd.blocking.process",
    "StreamReader": "boxd.blocking.process",
    "StreamWriter": "boxd.blocking.process",
    "LogStream": "boxd.blocking.logs",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in ("aio", "emulator"):
        return import_module(f"boxd.{name}")
    if name not in __all__:
        raise AttributeError(f"module 'boxd' has no attribute {name!r}")
    default = "boxd.errors" if name.endswith("Error") else "boxd.types"
    value = getattr(import_module(_HOMES.get(name, default)), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "aio", "emulator"]
