"""What a channel has done, for its user."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Stats:
    """What a client has done so far, and what is open now. Two can be added."""

    connections_opened: int = 0
    """Connections that were made."""
    connections_open: int = 0
    """Of those, how many there are now."""
    connections_failed: int = 0
    """Attempts to connect that failed."""
    connections_lost: int = 0
    """Connections that broke, or that the server ended without a GOAWAY."""
    streams_opened: int = 0
    """HTTP requests: calls, and their repetitions."""
    streams_open: int = 0
    """Of those, how many run now."""
    bytes_sent: int = 0
    """Bytes written, HTTP/2 frames included, before encryption."""
    bytes_received: int = 0
    """Bytes read, HTTP/2 frames included, after decryption."""
    calls: int = 0
    """Calls that were begun."""
    transparent_retries: int = 0
    """Repetitions of calls that the server had not seen."""
    policy_retries: int = 0
    """Repetitions of calls that are safe to repeat, after the server had failed."""
    pings: int = 0
    """PINGs sent to see whether the server is there."""
    goaways: int = 0
    """GOAWAY frames that came: the server wanted further calls on another connection."""

    def __add__(self, other: Stats) -> Stats:
        if not isinstance(other, Stats):
            return NotImplemented
        return Stats(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))
