"""How long a server that cannot be reached is left alone (gRPC's connection back-off)."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from boxd.transport.errors import RpcError
from boxd.transport.options import ConnectionOptions


class Backoff:
    """The attempts to connect to one server: how the last failed, and when the next is due."""

    def __init__(
        self,
        options: ConnectionOptions,
        clock: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """`clock` gives seconds that never go back; `uniform` a random number between two."""
        self._options = options
        self._clock = clock
        self._uniform = uniform
        self._delay = options.backoff_initial
        self._due = 0.0
        #: Why the last attempt failed; None after one that did not.
        self.error: RpcError | None = None

    @property
    def remaining(self) -> float:
        """Seconds until the next attempt is due: 0 when it is."""
        return 0.0 if self.error is None else max(self._due - self._clock(), 0.0)

    def failed(self, error: RpcError) -> None:
        """An attempt failed: wait longer than after the one before."""
        options = self._options
        delay = min(self._delay, options.backoff_max)
        self._delay = delay * options.backoff_multiplier
        delay *= 1 + self._uniform(-options.backoff_jitter, options.backoff_jitter)
        self._due = self._clock() + delay
        self.error = error

    def succeeded(self) -> None:
        """A server answered in HTTP/2: the next failure is the first again."""
        self._delay = self._options.backoff_initial
        self.error = None
