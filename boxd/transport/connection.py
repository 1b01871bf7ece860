"""A live HTTP/2 connection: the sans-io engine, a wire, and the two tasks between them."""

from __future__ import annotations

import itertools
import logging
from time import monotonic
from typing import Protocol

from boxd.transport.http2.codes import ErrorCode
from boxd.transport.http2.engine import ClientEngine
from boxd.transport.http2.options import EngineOptions
from boxd.transport.http2.stream import Headers, Stream, StreamEvents
from boxd.transport.journal import Journal
from boxd.transport.options import ConnectionOptions
from boxd.transport.runtime import Event, Handle, Runtime, Signal, shielded
from boxd.transport.watch import Watch
from boxd.transport.wire import TlsBroken, Wire

logger = logging.getLogger("boxd.transport")

#: Seconds for the last frames of a connection that is being closed.
CLOSE_TIMEOUT = 1.0
#: The debug data of a GOAWAY from a server that was pinged too often (gRPC proposal A8).
TOO_MANY_PINGS = b"too_many_pings"
#: Bytes per write; also what the writer holds at most besides the streams' queues.
WRITE_SIZE = 1 << 18
#: With more streams than these, what several of them have to say goes out in one write; with fewer, each writes at once
#: and saves a turn of the event loop: a sixth of the time of a call.
DIRECT_STREAMS = 4
#: Connections are told apart by number in the log, for the whole process.
_numbers = itertools.count(1)


class Owner(Protocol):
    """What a connection tells the pool that it is in. Neither blocks nor raises."""

    def changed(self, connection: Connection) -> None:
        """It has more or less room than before, or is over."""

    def too_many_pings(self) -> None:
        """The server wants fewer PINGs."""


class Connection:
    """Streams share it; it lives until it is closed, lost, or drained after the server's GOAWAY."""

    def __init__(
        self,
        runtime: Runtime,
        wire: Wire,
        engine: EngineOptions,
        options: ConnectionOptions,
        owner: Owner,
        journal: Journal,
    ) -> None:
        self._runtime = runtime
        self._owner = owner
        self._number = next(_numbers)
        self._journal = journal
        self._counters = journal.counters
        self.engine = ClientEngine(self, engine)
        self._wire = journal.begin(self._number, wire, self.engine)
        #: Set while the writer waits for something to write.
        self._writer: Signal | None = None
        # While bytes are parsed or taken, a flush is only noted.
        self._busy = False
        self._flush_due = False
        self._gone = Event(runtime)
        self._close_timer: Handle | None = None
        self._closing = False
        self._scolded = False
        self._watch = Watch(self, runtime, options)
        # Two tasks rather than a task group: on asyncio, anyio's own machinery need not be loaded for a first call.
        self._reader = runtime.spawn(self._read, "boxd connection reader")
        self._task = runtime.spawn(self._run, "boxd connection")

    # -- for the pool and the calls

    @property
    def has_slot(self) -> bool:
        """True when a call may start here now."""
        return not self._closing and self.engine.has_slot

    @property
    def usable(self) -> bool:
        """True while calls may start here at all, now or when others end."""
        return not self._closing and self.engine.usable

    @property
    def finished(self) -> bool:
        """True once nothing runs here and nothing new may."""
        return not self.usable and self.engine.open_streams == 0

    @property
    def max_header_list_size(self) -> int | None:
        """The largest header list that the server takes, if it says so."""
        return self.engine.peer_max_header_list_size

    def open(self, headers: Headers, events: StreamEvents) -> Stream:
        """Start a stream; follow with `flush` when its first data is queued too."""
        self._watch.opening()
        self._counters.streams_opened += 1
        return self.engine.open(headers, events)

    def flush(self) -> None:
        """Write, or have the writer look for work. Every method of a stream that sends something wants one after it."""
        if self._busy:
            self._flush_due = True
        elif self._writer is not None and not self._write_now():
            writer, self._writer = self._writer, None
            writer.set()

    def _write_now(self) -> bool:
        """Write what waits, where that needs no waiting. False: there is more for the writer to do."""
        engine, wire = self.engine, self._wire
        if engine.open_streams > DIRECT_STREAMS or not wire.ready or not self._runtime.alive:
            return False  # Not alive: in a forked child the socket is the parent's.
        self._busy = True
        try:
            data = engine.take(WRITE_SIZE)
        finally:
            self._busy = False
        if not data:
            return False
        self._counters.bytes_sent += len(data)
        wire.send_now(data)
        return not engine.outbound.pending and not self.finished

    def close(self) -> None:
        """Begin to close: open streams fail now, the socket goes when the last frames are out. Idempotent."""
        self.give_up("closed", ErrorCode.NO_ERROR, "the connection was closed by this client")

    def give_up(self, kind: str, code: int, message: str) -> None:
        """`close` for a reason: a `StreamFailure`'s kind and message, and the error code for the server."""
        if not self._closing:
            self._closing = True
            self.engine.close(kind, code, message)
            self._limit_closing()
            self.flush()

    def ping(self, payload: bytes) -> None:
        """Ask the server for a sign of life."""
        self._counters.pings += 1
        self.engine.ping(payload)

    async def wait_closed(self) -> None:
        """Wait until the socket is closed, which `close` brings about within `CLOSE_TIMEOUT`."""
        await self._gone.wait()

    # -- EngineEvents

    def on_capacity(self) -> None:
        if not self.engine.open_streams:
            self._watch.idle()
        self._owner.changed(self)
        if self.finished:
            self.flush()

    def on_goaway(self) -> None:
        self._counters.goaways += 1
        if self.engine.goaway_code == ErrorCode.ENHANCE_YOUR_CALM and self.engine.goaway_debug == TOO_MANY_PINGS:
            if not self._scolded:
                self._scolded = True
                self._owner.too_many_pings()
        else:
            logger.info("%r: the server is going away (code %d)", self, self.engine.goaway_code)
        self._owner.changed(self)
        self.flush()

    def on_pong(self, payload: bytes) -> None:
        """Any byte is as good a sign of life."""

    # -- tasks

    async def _run(self) -> None:
        try:
            await self._write()
        except Exception:
            logger.exception("%r failed; please report this", self)
        finally:
            self._closing = True  # `close` has nothing left to do.
            self._reader.cancel()
            self._watch.stop()
            if self._close_timer is not None:
                self._close_timer.cancel()
            failure = self.engine.failure
            self.engine.lost("the connection was dropped")
            async with shielded():
                await self._wire.aclose()
            self._gone.set()
            self._journal.end(self._number, failure)
            self._owner.changed(self)

    async def _read(self) -> None:
        engine = self.engine
        try:
            await self._wire.pump(self._received)
            engine.lost("the server closed the connection")
        except OSError as exc:
            self._broke(exc)
        except Exception as exc:
            logger.exception("%r failed; please report this", self)
            engine.lost(f"the connection failed: {exc!r}", exc)
        self._limit_closing()
        self.flush()

    def _received(self, data: bytes) -> bool:
        """Bytes came. False: no more are wanted."""
        engine = self.engine
        self._watch.last_read = monotonic()
        self._counters.bytes_received += len(data)
        self._busy = True
        try:
            engine.receive(data)
        finally:
            self._busy = False
        if self._flush_due or engine.outbound.pending or self._wire.wants_write:
            self._flush_due = False
            self.flush()
        return engine.failure is None

    async def _write(self) -> None:
        engine, wire = self.engine, self._wire
        try:
            while True:
                data = engine.take(WRITE_SIZE)
                if data or wire.wants_write:
                    self._counters.bytes_sent += len(data)
                    await wire.send(data)
                elif engine.failure is not None or self.finished:
                    return
                else:
                    self._writer = signal = self._runtime.signal()
                    await signal.wait()
        except OSError as exc:
            self._broke(exc)

    def _broke(self, exc: OSError) -> None:
        # In TLS 1.3 a server refuses the client's certificate only after the handshake.
        if isinstance(exc, TlsBroken) and not self.engine.established:
            self.engine.lost(f"cannot connect to {self.engine.options.peer}: {exc}", exc, "tls")
        else:
            self.engine.lost(f"the connection broke: {exc}", exc)

    def _limit_closing(self) -> None:
        """The writer may be stuck on a peer that reads no more; it has a moment for the last words."""
        if self._close_timer is None and not self._gone.is_set:
            self._close_timer = self._runtime.call_later(CLOSE_TIMEOUT, self._task.cancel)

    def __repr__(self) -> str:
        state = "closed" if self.engine.failure else "open" if self.usable else "draining"
        return f"<Connection {self._number} to {self._journal.peer} {state} streams={self.engine.open_streams}>"
