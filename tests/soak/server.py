"""The soak's server: HTTP/2 by hand, so that it can break every rule, and fast. Sends every message back.

`/test.Echo/Echo` is unary; all else is a stream whose last message is the CRC-32 of all that came. Prints its port, and
when its input ends, what it did, as JSON."""

from __future__ import annotations

import asyncio
import json
import struct
import sys
import zlib
from collections import Counter
from collections.abc import Callable
from typing import ClassVar

import hpack

from tests.fixtures import frames as f
from tests.soak.faults import CUTS, Fault, unpack

#: What it allows on a connection, so that the client needs several.
MAX_STREAMS = 40
WINDOW = 65_535


def literal(*fields: tuple[bytes, bytes]) -> bytes:
    """A header block that needs no table, so that the same bytes do on every connection."""
    return b"".join(b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value for name, value in fields)


HEAD = b"\x88" + literal((b"content-type", b"application/grpc"))
OK = literal((b"grpc-status", b"0"))


class Stream:
    """A request, and what of its response waits for the client's window."""

    def __init__(self, number: int, path: bytes, window: int) -> None:
        self.number = number
        self.unary = path == b"/test.Echo/Echo"
        self.window = window
        self.body = bytearray()
        self.waiting = bytearray()
        self.end = b""
        self.messages = 0
        self.crc = 0
        self.started = False
        self.ended = False
        self.fault = Fault.NONE
        self.argument = 0
        self.call = -1
        self.piece = 16_384
        self.unpaid = 0


class Statistics:
    """What all connections did together."""

    def __init__(self) -> None:
        self.connections = self.answered = self.cut = 0
        self.faults: Counter[str] = Counter()
        #: Calls that had the fault they have only once.
        self.once: set[int] = set()


class Connection(asyncio.Protocol):
    def __init__(self, statistics: Statistics) -> None:
        self.statistics = statistics
        self.statistics.connections += 1
        self.loop = asyncio.get_running_loop()
        self.streams: dict[int, Stream] = {}
        self.decoder = hpack.Decoder()
        self.buffer = b""
        self.window = WINDOW
        self.initial = WINDOW
        self.highest = 0
        #: The highest stream of which something was done.
        self.acted = 0
        #: Streams above it are not answered: GOAWAY said so.
        self.last = 1 << 31
        self.held = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.write(f.settings({f.MAX_CONCURRENT_STREAMS: MAX_STREAMS, f.INITIAL_WINDOW_SIZE: WINDOW}))

    def write(self, *parts: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(b"".join(parts))

    def data_received(self, data: bytes) -> None:
        frames, self.buffer = f.split(self.buffer + data)
        size = 0
        for frame in frames:
            if frame.kind == f.DATA:
                size += len(frame.payload)
            self.handle(frame)
        if size:
            self.write(f.window_update(0, size))

    def handle(self, frame: f.Frame) -> None:
        if frame.kind == f.HEADERS:
            self.open(frame)
        elif frame.kind == f.DATA:
            stream = self.streams.get(frame.stream)
            if stream is not None:
                self.data(stream, frame)
        elif frame.kind == f.WINDOW_UPDATE:
            if frame.stream:
                stream = self.streams.get(frame.stream)
                if stream is not None:
                    stream.window += frame.number
                    self.flush(stream)
            else:
                self.window += frame.number
                for stream in list(self.streams.values()):
                    self.flush(stream)
        elif frame.kind == f.RST_STREAM:
            self.streams.pop(frame.stream, None)
        elif frame.kind == f.PING and not frame.flags & f.ACK:
            self.write(f.ping(frame.payload, ack=True))
        elif frame.kind == f.SETTINGS and not frame.flags & f.ACK:
            values = dict(struct.iter_unpack(">HI", frame.payload))
            self.initial = values.get(f.INITIAL_WINDOW_SIZE, WINDOW)
            self.write(f.settings(ack=True))

    def open(self, frame: f.Frame) -> None:
        headers = {bytes(name): bytes(value) for name, value in self.decoder.decode(frame.payload, raw=True)}
        if frame.stream > self.last:
            return
        self.highest = frame.stream
        self.streams[frame.stream] = Stream(frame.stream, headers[b":path"], self.initial)
        if frame.flags & f.END_STREAM:
            raise AssertionError("every call has a message")

    def data(self, stream: Stream, frame: f.Frame) -> None:
        stream.body += frame.payload
        stream.unpaid += len(frame.payload)
        stream.ended = bool(frame.flags & f.END_STREAM)
        self.messages(stream)
        if self.streams.get(stream.number) is not stream:
            return
        if stream.ended:
            self.request_ended(stream)
        elif stream.unpaid and not self.held:
            self.pay(stream)

    def pay(self, stream: Stream) -> None:
        """Give the client its window back."""
        if stream.unpaid and self.streams.get(stream.number) is stream:
            self.write(f.window_update(stream.number, stream.unpaid))
            stream.unpaid = 0

    def messages(self, stream: Stream) -> None:
        body = stream.body
        while len(body) >= 5:
            size = int.from_bytes(body[1:5], "big")
            if len(body) < 5 + size:
                return
            message = bytes(body[5 : 5 + size])
            del body[: 5 + size]
            if not stream.messages:
                stream.call, stream.fault, stream.argument = unpack(message)
            if not stream.unary and self.strike(stream):
                return
            if not stream.unary:
                self.acted = max(self.acted, stream.number)
            stream.messages += 1
            stream.crc = zlib.crc32(message, stream.crc)
            if stream.fault != Fault.SILENCE:
                self.send(stream, f.message(message))

    def request_ended(self, stream: Stream) -> None:
        assert not stream.body, "a request that ends inside a message"
        if stream.unary and self.strike(stream):
            return
        self.acted = max(self.acted, stream.number)
        if stream.fault == Fault.SILENCE:
            return
        if stream.fault == Fault.LATENCY:
            self.loop.call_later(stream.argument / 1000, self.finish, stream)
        else:
            self.finish(stream)

    def finish(self, stream: Stream) -> None:
        if self.streams.get(stream.number) is stream:
            if not stream.unary:
                self.send(stream, f.message(struct.pack(">I", stream.crc)))
            stream.end = f.headers(stream.number, OK, end=True)
            self.flush(stream)

    # -- the response

    def send(self, stream: Stream, data: bytes) -> None:
        stream.waiting += data
        if not stream.unary:
            self.flush(stream)

    def flush(self, stream: Stream) -> None:
        """Send what the windows allow."""
        parts = []
        if not stream.started and (stream.waiting or stream.end):
            stream.started = True
            parts.append(f.headers(stream.number, HEAD))
        while stream.waiting:
            size = min(len(stream.waiting), stream.window, self.window, stream.piece)
            if size <= 0:
                break
            parts.append(f.data(stream.number, bytes(stream.waiting[:size])))
            del stream.waiting[:size]
            stream.window -= size
            self.window -= size
        if stream.end and not stream.waiting:
            parts.append(stream.end)
            del self.streams[stream.number]
            self.statistics.answered += 1
        self.write(*parts)

    # -- faults

    def strike(self, stream: Stream) -> bool:
        """Do what the call asks for; True when there is no answer to it here."""
        fault = stream.fault
        if fault in (Fault.NONE, Fault.SILENCE, Fault.LATENCY, Fault.CANCEL):
            return False
        once = fault in (Fault.REFUSED, Fault.GOAWAY_BELOW, Fault.GOAWAY)
        if once and stream.call in self.statistics.once:
            return False
        late = not (once or fault in (Fault.REFUSED_ALWAYS, Fault.PIECES, Fault.STALL))
        if late and not stream.unary and stream.messages != stream.argument >> 8:
            return False
        if fault == Fault.GOAWAY_BELOW and (self.acted > stream.number or self.last < 1 << 31):
            return False  # Streams would be left out that have begun.
        self.statistics.faults[fault.name] += 1
        if once:
            self.statistics.once.add(stream.call)
        return self.actions[fault](self, stream)

    def status(self, stream: Stream) -> bool:
        trailers = literal((b"grpc-status", b"%d" % (stream.argument & 255)), (b"grpc-message", b"as asked"))
        if not stream.started:  # Trailers-Only, without what a unary call would have got.
            trailers = HEAD + trailers
            stream.waiting.clear()
        stream.end = f.headers(stream.number, trailers, end=True)
        stream.started = True
        self.flush(stream)
        return True

    def reset(self, stream: Stream) -> bool:
        self.streams.pop(stream.number)
        self.write(f.rst(stream.number, stream.argument & 255))
        return True

    def refuse(self, stream: Stream) -> bool:
        self.streams.pop(stream.number)
        self.write(f.rst(stream.number, f.REFUSED_STREAM))
        return True

    def goaway(self, stream: Stream) -> bool:
        if self.last == 1 << 31:
            self.write(f.goaway((1 << 31) - 1, f.NO_ERROR, b"max_age"))
            self.loop.call_later(0.005, self.second_goaway)
        return False

    def second_goaway(self) -> None:
        if self.last == 1 << 31:
            self.last = self.highest
            self.write(f.goaway(self.last, f.NO_ERROR, b"max_age"))

    def goaway_below(self, stream: Stream) -> bool:
        self.last = max(stream.number - 2, 0)
        self.streams = {number: one for number, one in self.streams.items() if number <= self.last}
        self.write(f.goaway(self.last))
        return True

    def cut(self, stream: Stream) -> bool:
        self.statistics.cut += len(self.streams)
        self.streams.clear()
        if stream.fault == Fault.GOAWAY_CUT:
            self.write(f.goaway(min(self.highest, self.last), f.INTERNAL_ERROR, b"going down"))
            self.transport.close()
        else:
            self.transport.abort()
        return True

    def pieces(self, stream: Stream) -> bool:
        stream.piece = 7
        return False

    def stall(self, stream: Stream) -> bool:
        if not stream.messages:
            self.held += 1
            self.write(f.settings({f.INITIAL_WINDOW_SIZE: 1_000}))
            self.loop.call_later((stream.argument & 255) / 1000, self.release)
        return False

    def release(self) -> None:
        self.held -= 1
        if not self.held:
            self.write(f.settings({f.INITIAL_WINDOW_SIZE: WINDOW}))
            for stream in list(self.streams.values()):
                self.pay(stream)

    actions: ClassVar[dict[Fault, Callable[[Connection, Stream], bool]]] = {
        Fault.STATUS: status,
        Fault.RESET: reset,
        Fault.REFUSED: refuse,
        Fault.REFUSED_ALWAYS: refuse,
        Fault.GOAWAY: goaway,
        Fault.GOAWAY_BELOW: goaway_below,
        Fault.CUT: cut,
        Fault.GOAWAY_CUT: cut,
        Fault.PIECES: pieces,
        Fault.STALL: stall,
    }


assert set(CUTS) <= set(Connection.actions)


async def main() -> None:
    statistics = Statistics()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(statistics), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()
    report = {name: getattr(statistics, name) for name in ("connections", "answered", "cut", "faults")}
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
