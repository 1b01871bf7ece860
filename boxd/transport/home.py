"""Which event loop something belongs to."""

from __future__ import annotations

from abc import ABC, abstractmethod

from boxd.transport.errors import ChannelClosed, WrongLoop
from boxd.transport.runtime import Runtime, current_runtime


class LoopBound(ABC):
    """Holds connections, which live on one event loop at a time."""

    def __init__(self) -> None:
        self._runtime: Runtime | None = None
        self._closed = False

    @property
    def bound_here(self) -> bool:
        """True on the event loop this belongs to."""
        return self._runtime is not None and self._runtime.is_current()

    def runtime(self) -> Runtime:
        """The loop this belongs to: the running one, bound at first use and again when the former is over. Raises
        `WrongLoop` when another loop is still using it."""
        runtime = self._runtime
        if runtime is not None and runtime.is_current():
            return runtime
        if self._closed:
            raise ChannelClosed("this client is closed; make a new one")
        if runtime is not None and runtime.alive:
            raise WrongLoop("this async client is in use on another event loop; make one for each loop")
        self.forget()
        self._runtime = current_runtime()
        return self._runtime

    @abstractmethod
    def forget(self) -> None:
        """Drop the loop and every connection without touching a socket: the loop is over, or this is a child process
        that only inherited them."""
