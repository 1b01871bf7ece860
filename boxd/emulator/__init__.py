"""A local boxd service: real commands, real files, no account and no network.

    with boxd.emulator.running() as local:
        with boxd.Compute(api_url=local.api_url, exchange_url=local.exchange_url, api_key=local.api_key) as c:
            box = c.box.create()

or `python -m boxd.emulator`. Needs the extra `boxd[emulator]`. On Linux each box has its own file system,
processes and name; see `Local.limits` for what the host does not allow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .options import Options
    from .runtime import Emulator, Local
    from .thread import running

__all__ = ["Emulator", "Local", "Options", "running"]

_HOMES = {"Emulator": "runtime", "Local": "runtime", "Options": "options", "running": "thread"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    try:
        value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    except ModuleNotFoundError as error:
        missing = "" if error.name is None else error.name.partition(".")[0]
        if missing in ("grpclib", "h2", "h11"):
            raise ModuleNotFoundError(MISSING_EXTRA, name=error.name) from error
        if missing in ("fcntl", "pty", "resource", "termios"):
            raise ModuleNotFoundError(NOT_POSIX, name=error.name) from error
        raise
    globals()[name] = value
    return value


MISSING_EXTRA = "the emulator needs packages that are not installed: pip install 'boxd[emulator]'"
NOT_POSIX = "the emulator needs a POSIX system, such as Linux or macOS; on Windows, run it in WSL"
