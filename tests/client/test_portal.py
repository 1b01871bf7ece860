"""Where blocking calls run. What programs see of it is in `tests/processes`."""

from __future__ import annotations

import gc
import threading

import pytest

from boxd import _portal


async def work() -> int:
    return 1


def test_a_system_without_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The call fails, nothing is left of it, and a later one works."""
    monkeypatch.setattr(_portal, "_portal", None)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="new thread"):
            _portal.run(work())
    gc.collect()  # A loop that was left open, and a coroutine that was not awaited, would be warnings.
    assert _portal.run(work()) == 1
    assert _portal._portal is not None
    _portal._portal.close()
