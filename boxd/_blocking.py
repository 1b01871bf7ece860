"""What the generated blocking classes share: each holds its async twin and forwards to it over the portal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from boxd._portal import Desk, run

__all__ = ["Blocking", "at_desk", "desk_for", "run", "unwrap"]

A = TypeVar("A")
Self = TypeVar("Self", bound="Blocking[Any]")


class Blocking(Generic[A]):
    """The blocking face of an async object. Safe to use from any thread."""

    __slots__ = ("_async",)

    _async: A

    @classmethod
    def _wrap(cls: type[Self], inner: A) -> Self:
        """The face of an async object that exists already."""
        self = cls.__new__(cls)
        self._async = inner
        return self

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Blocking):
            return NotImplemented
        return bool(self._async == other._async)

    def __hash__(self) -> int:
        return hash(self._async)

    def __repr__(self) -> str:
        return repr(self._async)


def unwrap(value: Any) -> Any:
    """An argument as the async twin takes it."""
    return value._async if isinstance(value, Blocking) else value


def desk_for(*callbacks: Callable[..., object] | None) -> Desk | None:
    """Where a call has its callbacks called: in the thread that makes it. None where there are none."""
    return Desk() if any(callback is not None for callback in callbacks) else None


def at_desk(callback: Callable[..., object] | None, desk: Desk | None) -> Any:
    """A callback as the async twin takes it."""
    # What is no function is for the async twin to refuse.
    return desk.bind(callback) if desk is not None and callable(callback) else callback
