"""A wire that tells what passes on it: the log of frames, and the file for a bug report. Loaded when one is wanted."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from boxd.transport.http2.tap import Frame, Tap

if TYPE_CHECKING:
    from boxd.transport.http2.engine import ClientEngine
    from boxd.transport.http2.stream import Headers
    from boxd.transport.wire import Wire

logger = logging.getLogger("boxd.transport.frames")

#: Who gets the frames that came, or went, in one piece: `>` is to the server, `<` from it.
Sink = Callable[[str, Sequence[Frame]], None]


def observe(wire: Wire, engine: ClientEngine, *, number: int, peer: str, log: bool, trace: str | None) -> Wire:
    """A wire that logs its frames, records them in the file `trace`, or both. `engine` has written nothing yet."""
    sinks: list[Sink] = []
    if log:
        sinks.append(lambda way, frames: _log(number, way, frames))
    record = None if trace is None else Trace(trace, number, peer)
    if record is not None:
        sinks.append(record.frames)
    sent: deque[Headers] = deque()
    engine.outbound.show_headers(sent.append)
    return ObservedWire(wire, engine, sent, sinks, record)


class ObservedWire:
    """Another wire, with a look at what passes."""

    def __init__(
        self, inner: Wire, engine: ClientEngine, sent: deque[Headers], sinks: Sequence[Sink], record: Trace | None
    ) -> None:
        self._inner = inner
        self._engine = engine
        self._out = Tap(sent)
        self._in = Tap()
        self._sinks = sinks
        self._record = record

    def _tell(self, way: str, tap: Tap, data: bytes) -> None:
        frames = tap.feed(data)
        if frames:
            for sink in self._sinks:
                sink(way, frames)

    async def receive(self) -> bytes:
        data = await self._inner.receive()
        self._tell("<", self._in, data)
        return data

    async def pump(self, sink: Callable[[bytes], bool]) -> None:
        def seen(data: bytes) -> bool:
            self._tell("<", self._in, data)
            return sink(data)

        await self._inner.pump(seen)

    async def send(self, data: bytes) -> None:
        self._tell(">", self._out, data)
        await self._inner.send(data)

    @property
    def ready(self) -> bool:
        return self._inner.ready

    def send_now(self, data: bytes) -> None:
        self._tell(">", self._out, data)
        self._inner.send_now(data)

    @property
    def wants_write(self) -> bool:
        return self._inner.wants_write

    @property
    def stirs(self) -> bool:
        return self._inner.stirs

    async def aclose(self) -> None:
        if self._record is not None:
            failure = self._engine.failure
            self._record.close("its last call has ended" if failure is None else failure.message)
        await self._inner.aclose()


def _log(number: int, way: str, frames: Sequence[Frame]) -> None:
    for frame in frames:
        flags = "|".join(frame.flags) or "-"
        words = [f"connection {number} {way} {frame.type} stream={frame.stream} flags={flags} length={frame.length}"]
        for name, value in frame.details.items():
            if name == "headers":
                assert isinstance(value, list)
                words += [f"{key}={text!r}" for key, text in value]
            else:
                words.append(f"{name}={value!r}")
        logger.debug("%s", " ".join(words))


class Trace:
    """A record of one connection's frames: lines of JSON, added to a file. Several connections, channels and processes
    may share the file: each piece is one write at its end."""

    def __init__(self, path: str, number: int, peer: str) -> None:
        """Never raises: a record that cannot be made is a warning in the log, and the calls go on."""
        self._path = path
        self._number = number
        self._process = os.getpid()
        self._file: int | None = None
        try:
            # Only for the user: the record has the names of what was called, and the metadata.
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        except OSError as exc:
            logger.warning("no trace is written: %s", exc)
        version = ".".join(map(str, sys.version_info[:3]))
        python = f"{sys.implementation.name} {version} on {sys.platform}"
        self._write([{"event": "open", "peer": peer, "process": self._process, "python": python}])

    def frames(self, way: str, frames: Sequence[Frame]) -> None:
        """Frames that came or went."""
        side = "out" if way == ">" else "in"
        self._write(
            [
                {
                    "direction": side,
                    "type": frame.type,
                    "stream": frame.stream,
                    "flags": frame.flags,
                    "length": frame.length,
                    **frame.details,
                }
                for frame in frames
            ]
        )

    def close(self, reason: str) -> None:
        """The connection's end."""
        self._write([{"event": "close", "reason": reason}])
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def _write(self, records: Sequence[dict[str, object]]) -> None:
        if self._file is None:
            return
        head = {"time": round(time.time(), 6), "connection": self._number}
        lines = b"".join(json.dumps({**head, **record}).encode() + b"\n" for record in records)
        try:
            os.write(self._file, lines)
        except OSError as exc:
            logger.warning("the trace %s ends here: %s", self._path, exc)
            os.close(self._file)
            self._file = None
