"""Forked children: connections are the parent's, and their event loop does not run here, so they must be forgotten. And
what is imported when it is first used must not be half imported there."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import weakref
from collections.abc import Callable

_callbacks: list[weakref.WeakMethod[Callable[[], None]]] = []
#: This package, and what it imports when a call is made.
_PACKAGES = frozenset(
    (__name__.partition(".")[0], "anyio", "asyncio", "betterproto2", "hpack", "httpcore", "httpx", "ssl", "trio")
)
#: How often to look: imports that begin meanwhile are waited for too, but not for ever.
_ROUNDS = 100


def on_fork(callback: weakref.WeakMethod[Callable[[], None]]) -> None:
    """Call a method in every forked child, as long as its object lives. It must not touch inherited sockets: what a
    child writes there, the parent's server would read."""
    _callbacks[:] = [one for one in _callbacks if one() is not None]
    _callbacks.append(callback)


def _finish_imports() -> None:
    """Wait for the imports that other threads are at. Such a thread does not exist in the child, where the lock of its
    module would stay taken: the next import of the module would wait for ever."""
    # A lock is there as long as somebody holds it or waits for it.
    locks = getattr(sys.modules.get("_frozen_importlib"), "_module_locks", {})
    for _ in range(_ROUNDS):
        names = [name for name in list(locks) if name.partition(".")[0] in _PACKAGES]
        if not names:
            return
        for name in names:
            with contextlib.suppress(Exception):  # The thread that began the import gets its error.
                importlib.import_module(name)


def _in_child() -> None:
    for reference in _callbacks:
        callback = reference()
        if callback is not None:
            callback()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_finish_imports, after_in_child=_in_child)
