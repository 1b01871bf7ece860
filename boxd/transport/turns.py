"""Taking turns: a lock that costs nothing while nobody waits."""

from __future__ import annotations

from collections import deque

from boxd.transport.runtime import Runtime, Signal


class Turns:
    """One task at a time, in the order of asking."""

    __slots__ = ("_runtime", "_taken", "_waiting")

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._taken = False
        self._waiting: deque[Signal] = deque()

    def take(self) -> bool:
        """Take the turn if it is free; else `wait` for it. Every turn that was taken is given back with `give`."""
        if self._taken:
            return False
        self._taken = True
        return True

    async def wait(self) -> None:
        """Wait for the turn, and take it."""
        signal = self._runtime.signal()
        self._waiting.append(signal)
        try:
            await signal.wait()
        except BaseException:
            if signal in self._waiting:
                self._waiting.remove(signal)
            else:  # It came in the same moment.
                self.give()
            raise

    def give(self) -> None:
        """Pass the turn on to the next."""
        if self._waiting:
            self._waiting.popleft().set()
        else:
            self._taken = False
