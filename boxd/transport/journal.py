"""What is told of the connections to one server: counted always, logged where somebody listens, and written to a file
where one is named.

Whether frames are looked at is decided when a connection is made. Where they are not, nothing of this is on their way.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from boxd.transport.counters import Counters

if TYPE_CHECKING:
    from boxd.transport.http2.engine import ClientEngine
    from boxd.transport.http2.errors import StreamFailure
    from boxd.transport.wire import Wire

logger = logging.getLogger("boxd.transport")
frame_logger = logging.getLogger("boxd.transport.frames")


class Journal:
    """Shared by the connections of a channel."""

    def __init__(self, peer: str = "", trace: str | None = None) -> None:
        """`peer` is the server's name for people; `trace` is the file for a record of all frames."""
        self.peer = peer
        self.counters = Counters()
        self._trace = trace

    def begin(self, number: int, wire: Wire, engine: ClientEngine) -> Wire:
        """A connection was made. Returns its wire, as it is or with an observer on it."""
        self.counters.connections_opened += 1
        logger.info("connection %d to %s: open", number, self.peer)
        frames = frame_logger.isEnabledFor(logging.DEBUG)
        if not frames and self._trace is None:
            return wire
        from boxd.transport.observed import observe

        return observe(wire, engine, number=number, peer=self.peer, log=frames, trace=self._trace)

    def end(self, number: int, failure: StreamFailure | None) -> None:
        """A connection is over: for this reason, or because the server had said goodbye and the last call ended."""
        if failure is None or failure.kind == "closed":
            logger.info("connection %d to %s: closed%s", number, self.peer, f": {failure.message}" if failure else "")
        else:
            self.counters.connections_lost += 1
            logger.info("connection %d to %s: lost: %s", number, self.peer, failure.message)

    def not_connected(self, error: Exception) -> None:
        """No connection could be made."""
        self.counters.connections_failed += 1
        logger.info("no connection to %s: %s", self.peer, error)
