"""No import is under way when a process forks.

An import holds its module's lock, and most of this package is imported when it is first used, in whichever thread
that is. A child that was forked in the middle of it would inherit the lock without the thread that gives it back, and
hang in its own import of the module.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from typing import Any

#: How often to look again: imports that begin meanwhile are waited for too, but not for ever.
_ROUNDS = 100


def settle_imports() -> None:
    """Wait until no other thread is importing anything."""
    bootstrap: Any = importlib._bootstrap  # The locks are not public.
    # Each is there as long as somebody holds it or waits for it.
    locks: dict[str, object] = getattr(bootstrap, "_module_locks", {})
    for _ in range(_ROUNDS):
        names = list(locks)
        if not names:
            return
        for name in names:
            # Waits for the thread that imports it; its error, where there is one, is that thread's to see.
            with contextlib.suppress(Exception):
                importlib.import_module(name)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=settle_imports)
