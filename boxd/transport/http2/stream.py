"""One HTTP/2 stream, as the engine keeps it, and the interface of whoever uses it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from boxd.transport.http2.engine import ClientEngine
    from boxd.transport.http2.errors import StreamFailure

#: A header list as it goes over the wire: lower-case names, values as sent.
Headers = list[tuple[bytes, bytes]]


class StreamEvents(Protocol):
    """What a stream tells its user. The calls come while received bytes are parsed or written bytes are taken,
    so they neither block nor raise. After `on_end` or `on_failure` nothing more comes."""

    def on_headers(self, status: int, headers: Headers, end_stream: bool) -> None:
        """The final response headers, without pseudo-headers. With `end_stream` no data follows, only `on_end`."""

    def on_data(self, data: bytes) -> None:
        """A piece of the body. Give it back with `Stream.consumed(len(data))` when the room may be used again."""

    def on_end(self, trailers: Headers) -> None:
        """The response is complete; `trailers` is empty where the peer sent none."""

    def on_failure(self, failure: StreamFailure) -> None:
        """The response will not be complete."""

    def on_drained(self) -> None:
        """Everything given to `Stream.send` has left the outbound queue."""


class Stream:
    """A request and its response. Made by `ClientEngine.open`; every method returns at once."""

    __slots__ = (
        "content_length",
        "done",
        "end_queued",
        "engine",
        "events",
        "headers",
        "id",
        "informational",
        "local_closed",
        "outbox",
        "outbox_size",
        "ready",
        "receive_window",
        "received",
        "response_started",
        "send_window",
        "uncredited",
    )

    def __init__(self, engine: ClientEngine, headers: Headers, events: StreamEvents, receive_window: int) -> None:
        self.engine = engine
        self.events = events
        self.headers = headers
        # 0 until the HEADERS frame is written: ids must rise in the order of the wire, and a stream that is
        # cancelled before leaves no trace there.
        self.id = 0
        self.outbox: deque[memoryview] = deque()
        self.outbox_size = 0
        self.send_window = 0
        self.receive_window = receive_window
        self.uncredited = 0
        self.ready = False
        self.end_queued = False
        self.local_closed = False
        self.response_started = False
        self.informational = 0
        self.content_length: int | None = None
        self.received = 0
        self.done = False

    def send(self, data: bytes | memoryview, *, end: bool = False) -> None:
        """Queue a piece of the request body; `end` half-closes after it. Ignored once the stream is done: the
        response, or the failure that ended it, is what its user needs to see."""
        self.engine.queue_data(self, data, end)

    def withdraw(self, size: int) -> bool:
        """Take back what is queued, if it is the whole of a message of `size` bytes, its end of stream included. False:
        some of it has been written, or nothing waits."""
        if self.done or not size or self.outbox_size != size:
            return False
        self.engine.outbound.withdraw(self)
        self.end_queued = False
        return True

    @property
    def drained(self) -> bool:
        """True when no body bytes wait in the outbound queue."""
        return self.outbox_size == 0

    @property
    def wants_flush(self) -> bool:
        """True when something waits to be written."""
        return self.engine.outbound.pending

    def consumed(self, size: int) -> None:
        """Let the peer send `size` more bytes of body (RFC 9113 section 6.9)."""
        self.engine.credit(self, size)

    def reset(self, code: int) -> None:
        """End the stream from our side with RST_STREAM, or silently if nothing of it was written yet.
        Idempotent; the user gets no further event."""
        self.engine.reset(self, code)

    def __repr__(self) -> str:
        state = "done" if self.done else "half-closed" if self.local_closed else "open"
        return f"<Stream {self.id or 'unsent'} {state} send_window={self.send_window} outbox={self.outbox_size}>"
