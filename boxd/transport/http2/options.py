"""What a client announces to its peer."""

from __future__ import annotations

from dataclasses import dataclass

from boxd.transport.http2.codes import DEFAULT_WINDOW, MAX_MAX_FRAME_SIZE, MAX_WINDOW, MIN_MAX_FRAME_SIZE


@dataclass(frozen=True)
class EngineOptions:
    """Limits that a client announces. Sizes are bytes."""

    stream_window: int = 4 << 20
    """Body bytes a server may send on one stream before the user takes some; at least 1."""
    connection_window: int = 16 << 20
    """The same over all streams; returned on receipt, so that a slow stream does not hold up the others. HTTP/2 has no
    way to announce less than 65,535 (RFC 9113 section 6.9.2)."""
    max_frame_size: int = 1 << 18
    """The longest frame a server may send, 16,384 to 16,777,215."""
    max_header_list_size: int = 1 << 16
    """The largest header list a server may send, counted with 32 bytes for each field."""
    peer: str = "the server"
    """What error messages call the server where it matters which it is."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("stream_window", 1, MAX_WINDOW),
            ("connection_window", DEFAULT_WINDOW, MAX_WINDOW),
            ("max_frame_size", MIN_MAX_FRAME_SIZE, MAX_MAX_FRAME_SIZE),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} of {getattr(self, name)}: use {low} to {high} bytes")
