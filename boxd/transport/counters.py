"""Counting what a channel does."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from boxd.transport.stats import Stats


class Counters:
    """The counts of a `Stats` while they are counted: each an attribute that is added to."""

    __slots__ = (
        "bytes_received",
        "bytes_sent",
        "calls",
        "connections_failed",
        "connections_lost",
        "connections_opened",
        "goaways",
        "pings",
        "policy_retries",
        "streams_opened",
        "transparent_retries",
    )

    bytes_received: int
    bytes_sent: int
    calls: int
    connections_failed: int
    connections_lost: int
    connections_opened: int
    goaways: int
    pings: int
    policy_retries: int
    streams_opened: int
    transparent_retries: int

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, 0)

    def stats(self, *, connections_open: int, streams_open: int) -> Stats:
        """The counts now."""
        from boxd.transport.stats import Stats  # Only for those who ask: making the class takes half a millisecond.

        counts = {name: getattr(self, name) for name in self.__slots__}
        return Stats(connections_open=connections_open, streams_open=streams_open, **counts)
