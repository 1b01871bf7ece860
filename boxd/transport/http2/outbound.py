"""The outbound half of a connection: what is written next, within the peer's windows (RFC 9113 section 5.2)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from boxd.transport.http2.codes import (
    DATA,
    DEFAULT_HEADER_TABLE_SIZE,
    DEFAULT_WINDOW,
    FLAG_END_STREAM,
    MIN_MAX_FRAME_SIZE,
    ErrorCode,
)
from boxd.transport.http2.errors import ConnectionFault
from boxd.transport.http2.frames import end_stream_frame, frame_header, header_frames
from boxd.transport.http2.headers import HeaderEncoder, ShowingEncoder
from boxd.transport.http2.stream import Headers, Stream

#: A frame of body is at most this long even where the peer takes more, so that streams share the connection.
MAX_DATA_FRAME = 1 << 16
POST = (b":method", b"POST")
#: Answers to PING and SETTINGS that may wait to be written. A peer that does not read and asks on attacks us.
MAX_ANSWERS = 1_000


class Outbound:
    """Control frames first, then new requests in order, then body data in turn."""

    def __init__(self, opened: Callable[[Stream], None]) -> None:
        self._encoder = HeaderEncoder()
        self._control: list[bytes] = []
        self._answers = 0
        self._opening: deque[Stream] = deque()
        self._ready: deque[Stream] = deque()
        self._opened = opened
        self.next_id = 1
        #: What the peer's connection window still takes; never raised above 2^31-1.
        self.window = DEFAULT_WINDOW
        self.initial_window = DEFAULT_WINDOW
        self.max_frame_size = MIN_MAX_FRAME_SIZE

    @property
    def pending(self) -> bool:
        """True when `take` has something to give."""
        return bool(self._control or self._opening or (self._ready and self.window > 0))

    def show_headers(self, see: Callable[[Headers], object]) -> None:
        """Have every header list shown, in the order of the wire, from the first on."""
        self._encoder = ShowingEncoder(see)

    def control(self, frame: bytes) -> None:
        """Queue a frame that no window holds back."""
        self._control.append(frame)

    def answer(self, frame: bytes) -> None:
        """Queue a control frame that the peer made us send, as many as it likes: hence the bound."""
        if self._answers >= MAX_ANSWERS:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "the server demands more answers than it reads")
        self._answers += 1
        self._control.append(frame)

    def last_words(self, frame: bytes) -> None:
        """Queue the connection's final frame; nothing else is written any more."""
        self._control.append(frame)
        self._opening.clear()
        self._ready.clear()

    def open(self, stream: Stream) -> None:
        """Queue a request's headers."""
        self._opening.append(stream)

    def abandon(self, stream: Stream) -> None:
        """Forget a request whose headers were not written."""
        self._opening.remove(stream)

    def unsent(self) -> list[Stream]:
        """The requests whose headers were not written yet."""
        return list(self._opening)

    def make_ready(self, stream: Stream) -> None:
        """A stream has body data and room in its own window, or only its end to send."""
        if not stream.ready and stream.id:
            stream.ready = True
            self._ready.append(stream)

    def withdraw(self, stream: Stream) -> None:
        """Forget the body data of a stream that waits."""
        stream.outbox.clear()
        stream.outbox_size = 0
        if stream.ready:
            stream.ready = False
            self._ready.remove(stream)

    def set_header_table_size(self, size: int) -> None:
        """The peer's SETTINGS_HEADER_TABLE_SIZE. More than the default would only cost memory."""
        self._encoder.set_table_size(min(size, DEFAULT_HEADER_TABLE_SIZE))

    def take(self, limit: int) -> bytes:
        """The bytes to write now: about `limit` of them at most, empty when there is nothing."""
        parts = self._control
        self._control = []
        self._answers = 0
        while self._opening:
            parts.append(self._headers(self._opening.popleft()))
        ready = self._ready
        left = limit
        while ready and left > 0 and self.window > 0:
            stream = ready.popleft()
            stream.ready = False
            if stream.done or stream.local_closed:
                continue
            size = min(stream.outbox_size, stream.send_window, self.window, self.max_frame_size, MAX_DATA_FRAME)
            if size <= 0 and stream.outbox_size:
                continue  # Its own window is used up: WINDOW_UPDATE makes it ready again.
            left -= size
            self._data(stream, size, parts)
        return b"".join(parts)

    def _headers(self, stream: Stream) -> bytes:
        stream.id = self.next_id
        self.next_id += 2
        stream.send_window = self.initial_window
        end = stream.end_queued and not stream.outbox_size
        if end:
            stream.local_closed = True
        # gRPC wants the end of a request on a DATA frame, an empty one if need be; grpc-go waits for it for ever.
        separate = end and stream.headers[0] == POST
        block = self._encoder.encode(stream.headers)
        self._opened(stream)
        if stream.outbox_size:
            self.make_ready(stream)
        frames = header_frames(stream.id, block, end_stream=end and not separate, max_frame_size=self.max_frame_size)
        return frames + end_stream_frame(stream.id) if separate else frames

    def _data(self, stream: Stream, size: int, parts: list[bytes]) -> None:
        """Move `size` bytes of a stream's outbox into one DATA frame."""
        stream.outbox_size -= size
        stream.send_window -= size
        self.window -= size
        end = stream.end_queued and not stream.outbox_size
        parts.append(frame_header(size, DATA, FLAG_END_STREAM if end else 0, stream.id))
        outbox = stream.outbox
        while size:
            piece = outbox[0]
            if len(piece) <= size:
                outbox.popleft()
            else:
                outbox[0] = piece[size:]
                piece = piece[:size]
            size -= len(piece)
            parts.append(piece)  # type: ignore[arg-type]  # join() takes any buffer
        if end:
            stream.local_closed = True
        elif stream.outbox_size:
            self.make_ready(stream)
        if not stream.outbox_size:
            stream.events.on_drained()
