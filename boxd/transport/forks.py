"""What must be forgotten in a forked child: connections are the parent's, and their event loop does not run here."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable

_callbacks: list[weakref.WeakMethod[Callable[[], None]]] = []


def on_fork(callback: weakref.WeakMethod[Callable[[], None]]) -> None:
    """Call a method in every forked child, as long as its object lives. It must not touch inherited sockets: what a
    child writes there, the parent's server would read."""
    _callbacks[:] = [one for one in _callbacks if one() is not None]
    _callbacks.append(callback)


def _in_child() -> None:
    for reference in _callbacks:
        callback = reference()
        if callback is not None:
            callback()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
