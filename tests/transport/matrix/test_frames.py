"""Frames that break HTTP/2: rows 10, 18, 21 to 25, 28, 37, 39 to 41."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest

from boxd.transport import HeadersTooLarge, NotHttp2, ProtocolViolation, StatusCode
from boxd.transport.http2.engine import MAX_INFORMATIONAL
from boxd.transport.http2.options import EngineOptions
from boxd.transport.http2.receiver import MAX_BARREN_FRAMES
from tests.fixtures import frames as f
from tests.fixtures.fault_server import Peer, Request
from tests.fixtures.pair import RESPONSE, TRAILERS
from tests.transport.matrix.bench import FAULT, Bench, says

pytestmark = pytest.mark.anyio
INTERNAL, RESOURCE_EXHAUSTED = StatusCode.INTERNAL, StatusCode.RESOURCE_EXHAUSTED
Make = Callable[[Peer, int], list[bytes]]


@pytest.mark.row(18)
async def test_row_18_frame_too_long(anyio_backend: str) -> None:
    """Only its header comes, and that is enough."""
    async with Bench(
        says(lambda peer, stream: [f.frame(f.DATA, 0, stream, b"", length=0xFFFFFF)]), sibling="dies"
    ) as b:
        await b.fails(ProtocolViolation, INTERNAL)
        assert await b.goaway() == f.FRAME_SIZE_ERROR


# An integer of the dynamic table's size, one index into an empty table, and a length that overflows.
BAD_HPACK = {
    "index": b"\xfe",
    "index 0": b"\x80",
    "integer": b"\xff" + b"\xff" * 20 + b"\x01",
    "length": b"\x40\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    "cut off": b"\x40\x05ab",
    "huffman": b"\x40\x84\xff\xff\xff\xff\x01x",
    "table size": b"\x3f\xe1\xff\xff\x7f",
}


@pytest.mark.row(23)
@pytest.mark.parametrize("name", BAD_HPACK)
async def test_row_23_bad_hpack(anyio_backend: str, name: str) -> None:
    async with Bench(says(lambda peer, stream: [f.headers(stream, BAD_HPACK[name])]), sibling="dies") as bench:
        await bench.fails(ProtocolViolation, INTERNAL)
        assert await bench.goaway() == f.COMPRESSION_ERROR


def hpack_bomb(peer: Peer, stream: int) -> list[bytes]:
    """A field of 4,000 bytes put into the table once, and then named 10,000 times: 40 MB from 14 KB."""
    field = b"\x40\x01x\x7f" + bytes(((4_000 - 127) & 127 | 128, (4_000 - 127) >> 7)) + b"v" * 4_000
    return [f.headers(stream, b"\x88" + field + b"\xbe" * 10_000)]


def large_list(peer: Peer, stream: int) -> list[bytes]:
    """More than the 64 KiB that the client announces, in fields that HPACK makes smaller."""
    return [peer.head(stream, [*RESPONSE, *((b"x-%d" % one, b"v" * 50) for one in range(1_000))])]


@pytest.mark.row(21)
@pytest.mark.parametrize("make", [hpack_bomb, large_list])
async def test_row_21_header_list_too_large(anyio_backend: str, make: Make) -> None:
    async with Bench(says(make), sibling="dies") as bench:
        tracemalloc.start()
        try:
            await bench.fails(HeadersTooLarge, RESOURCE_EXHAUSTED)
            assert tracemalloc.get_traced_memory()[1] < 2 << 20
        finally:
            tracemalloc.stop()
        assert await bench.goaway() == f.ENHANCE_YOUR_CALM


@pytest.mark.row(22)
@pytest.mark.parametrize("size", [0, 16_000], ids=["empty", "large"])
async def test_row_22_endless_header_block(anyio_backend: str, size: int) -> None:
    async def fault(peer: Peer, request: Request) -> None:
        await peer.send(f.headers(request.stream, b"\x88", end_headers=False))
        while True:
            await peer.send(f.continuation(request.stream, bytes(size), end_headers=False))

    async with Bench(fault, sibling="dies") as bench:
        await bench.fails(ProtocolViolation, INTERNAL, match="endless header block")


@pytest.mark.row(24)
@pytest.mark.parametrize("frame", [f.ping(), f.settings({0xFEED: 1})], ids=["ping", "settings"])
async def test_row_24_flood_while_we_cannot_write(
    anyio_backend: str, frame: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it comes in one read, so that the writer has no turn in between."""
    monkeypatch.setattr("boxd.transport.http2.outbound.MAX_ANSWERS", 100)
    async with Bench(says(lambda peer, stream: [frame * 200]), sibling="dies") as bench:
        await bench.fails(ProtocolViolation, INTERNAL)
        assert await bench.goaway() == f.ENHANCE_YOUR_CALM


CONNECTION_FLOODS: dict[str, Make] = {
    "empty data": lambda peer, stream: [peer.head(stream), f.data(stream) * (MAX_BARREN_FRAMES + 1)],
    "window update": lambda peer, stream: [f.window_update(stream, 1) * (MAX_BARREN_FRAMES + 1)],
    "connection window update": lambda peer, stream: [f.window_update(0, 1) * (MAX_BARREN_FRAMES + 1)],
}


@pytest.mark.row(25)
@pytest.mark.parametrize("name", CONNECTION_FLOODS)
async def test_row_25_flood(anyio_backend: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Bench(says(CONNECTION_FLOODS[name]), sibling="dies") as bench:
        await bench.fails(ProtocolViolation, INTERNAL)
        assert await bench.goaway() == f.ENHANCE_YOUR_CALM


@pytest.mark.row(25)
async def test_row_25_flood_of_informational_responses(anyio_backend: str) -> None:
    def make(peer: Peer, stream: int) -> list[bytes]:
        return [peer.head(stream, [(b":status", b"103")]) for _ in range(MAX_INFORMATIONAL + 1)]

    async with Bench(says(make)) as bench:
        await bench.fails(ProtocolViolation, INTERNAL)
        assert await bench.reset() == f.PROTOCOL_ERROR


@pytest.mark.row(28)
@pytest.mark.parametrize("idle", [7, 2], ids=["not opened", "even"])
@pytest.mark.parametrize("kind", ["rst", "data", "headers", "window update"])
async def test_row_28_idle_stream(anyio_backend: str, kind: str, idle: int) -> None:
    def make(peer: Peer, stream: int) -> list[bytes]:
        return [
            {
                "rst": f.rst(idle, f.CANCEL),
                "data": f.data(idle, b"x"),
                "headers": f.headers(idle, b"\x88"),
                "window update": f.window_update(idle, 1),
            }[kind]
        ]

    async with Bench(says(make), sibling="dies") as bench:
        await bench.fails(ProtocolViolation, INTERNAL)
        assert await bench.goaway() == f.PROTOCOL_ERROR


@pytest.mark.row(28)
async def test_row_28_closed_stream(anyio_backend: str) -> None:
    """What comes for a stream that is over is dropped, and its bytes are given back."""

    def make(peer: Peer, stream: int) -> list[bytes]:
        answer = peer.answer(stream, b"answer")
        late = [
            f.data(stream, bytes(100)),
            f.data(stream, bytes(100), padding=50),
            f.rst(stream, f.CANCEL),
            f.window_update(stream, 1),
            peer.head(stream),
            peer.trailers(stream),
            f.data(stream, b"", end=True),
        ]
        return [answer, *late]

    async with Bench(says(make)) as bench:
        assert await bench.succeeds(lambda channel: channel.unary(FAULT, b"")) == b"answer"
        await bench.sibling_talks()
        engine = bench.channel._pool._connections[0].engine  # type: ignore[attr-defined]
        assert engine._receive_window + engine._window_used == engine.options.connection_window
        assert engine._window_used > 250


@pytest.mark.row(37)
async def test_row_37_more_than_the_streams_window(anyio_backend: str) -> None:
    options = EngineOptions(stream_window=1_000)
    make: Make = lambda peer, stream: [peer.head(stream), f.data(stream, bytes(1_001))]  # noqa: E731
    async with Bench(says(make), channel={"engine_options": options}) as bench:
        await bench.fails(ProtocolViolation, INTERNAL)
        assert await bench.reset() == f.FLOW_CONTROL_ERROR


@pytest.mark.row(37)
async def test_row_37_more_than_the_connections_window(anyio_backend: str) -> None:
    """Over several streams, each within its own."""
    options = EngineOptions(stream_window=60_000, connection_window=65_535)

    async def fault(peer: Peer, request: Request) -> None:
        # One frame must overdraw it: the window is given back as soon as a quarter is used.
        await peer.send(peer.head(request.stream), f.data(request.stream, bytes(65_536)))

    async with Bench(fault, sibling="dies", channel={"engine_options": options}) as bench:
        await bench.fails(ProtocolViolation, INTERNAL)
        assert await bench.goaway() == f.FLOW_CONTROL_ERROR


def data(stream: int) -> bytes:
    return f.data(stream, f.message(b"answer"))


DISORDER: dict[str, Make] = {
    "trailers that do not end": lambda p, s: [p.head(s), data(s), p.head(s, TRAILERS)],
    "data before headers": lambda p, s: [data(s)],
    "no status": lambda p, s: [p.head(s, RESPONSE[1:])],
    "empty headers": lambda p, s: [f.headers(s, b"")],
    "status abc": lambda p, s: [p.head(s, [(b":status", b"abc")])],
    "status 20": lambda p, s: [p.head(s, [(b":status", b"20")])],
    "two statuses": lambda p, s: [p.head(s, [(b":status", b"200"), *RESPONSE])],
    "status last": lambda p, s: [p.head(s, RESPONSE[::-1])],
    "status in the trailers": lambda p, s: [p.head(s), data(s), p.trailers(s, [(b":status", b"200"), *TRAILERS])],
    "request's fields": lambda p, s: [p.head(s, [*RESPONSE, (b":path", b"/")])],
    "1xx that ends": lambda p, s: [p.head(s, [(b":status", b"100")], end=True)],
}
FIELDS = {
    "upper case": (b"X-Upper", b"v"),
    "space": (b"x a", b"v"),
    "empty name": (b"", b"v"),
    "colon": (b"x:a", b"v"),
    "control": (b"x\x01", b"v"),
    "line break": (b"x-a", b"v\r\nx-b: c"),
    "nul": (b"x-a", b"v\0"),
    "connection": (b"connection", b"close"),
    "transfer-encoding": (b"transfer-encoding", b"chunked"),
    "upgrade": (b"upgrade", b"h3"),
    "content-length too small": (b"content-length", b"3"),
    "content-length too large": (b"content-length", b"100"),
    "content-length negative": (b"content-length", b"-1"),
    "content-length words": (b"content-length", b"many"),
}


async def one_stream_only(cases: list[Make]) -> None:
    """Each of them ends one call with a reset; they come one after the other on one connection."""
    left = iter(cases)

    async def fault(peer: Peer, request: Request) -> None:
        await says(next(left))(peer, request)

    async with Bench(fault) as bench:
        for number in range(len(cases)):
            await bench.fails(ProtocolViolation, INTERNAL)
            assert await bench.reset(3 + 2 * number) == f.PROTOCOL_ERROR
            await bench.sibling_talks()


@pytest.mark.row(39)
async def test_row_39_frames_in_the_wrong_order(anyio_backend: str) -> None:
    await one_stream_only(list(DISORDER.values()))


@pytest.mark.row(39)
@pytest.mark.parametrize("extra", [f.data(3, b"", end=True), f.headers(3, b"\x88", end=True)], ids=["data", "headers"])
async def test_row_39_after_the_end(anyio_backend: str, extra: bytes) -> None:
    """A second END_STREAM changes nothing: the answer is complete."""
    async with Bench(says(lambda peer, stream: [peer.answer(stream, b"answer"), extra])) as bench:
        assert await bench.succeeds(lambda channel: channel.unary(FAULT, b"")) == b"answer"


@pytest.mark.row(40)
@pytest.mark.parametrize("place", ["headers", "trailers"])
async def test_row_40_malformed_fields(anyio_backend: str, place: str) -> None:
    def case(field: tuple[bytes, bytes]) -> Make:
        if place == "headers":
            return lambda p, s: [p.head(s, [*RESPONSE, field]), data(s), p.trailers(s)]
        return lambda p, s: [p.head(s), data(s), p.trailers(s, [*TRAILERS, field])]

    fields = [field for name, field in FIELDS.items() if place == "headers" or not name.startswith("content-length")]
    await one_stream_only([case(field) for field in fields])


CONNECTION_FAULTS: dict[str, tuple[Make, int]] = {
    "push promise": (lambda p, s: [f.frame(f.PUSH_PROMISE, 4, s, bytes(4))], f.PROTOCOL_ERROR),
    "padding": (lambda p, s: [p.head(s), f.frame(f.DATA, f.PADDED, s, b"\x05abc")], f.PROTOCOL_ERROR),
    "no padding": (lambda p, s: [p.head(s), f.frame(f.DATA, f.PADDED, s, b"")], f.PROTOCOL_ERROR),
    "padded headers": (lambda p, s: [f.frame(f.HEADERS, f.PADDED | 4, s, b"\xff\x88")], f.PROTOCOL_ERROR),
    "short priority": (lambda p, s: [f.frame(f.HEADERS, f.PRIORITY_FLAG | 4, s, b"abc")], f.FRAME_SIZE_ERROR),
    "data on 0": (lambda p, s: [f.data(0, b"x")], f.PROTOCOL_ERROR),
    "headers on 0": (lambda p, s: [f.headers(0, b"\x88")], f.PROTOCOL_ERROR),
    "rst on 0": (lambda p, s: [f.rst(0, 0)], f.PROTOCOL_ERROR),
    "settings on a stream": (lambda p, s: [f.frame(f.SETTINGS, 0, s)], f.PROTOCOL_ERROR),
    "ping on a stream": (lambda p, s: [f.frame(f.PING, 0, s, bytes(8))], f.PROTOCOL_ERROR),
    "goaway on a stream": (lambda p, s: [f.frame(f.GOAWAY, 0, s, bytes(8))], f.PROTOCOL_ERROR),
    "short ping": (lambda p, s: [f.frame(f.PING, 0, 0, bytes(7))], f.FRAME_SIZE_ERROR),
    "short goaway": (lambda p, s: [f.frame(f.GOAWAY, 0, 0, bytes(7))], f.FRAME_SIZE_ERROR),
    "long rst": (lambda p, s: [f.frame(f.RST_STREAM, 0, s, bytes(5))], f.FRAME_SIZE_ERROR),
    "long window update": (lambda p, s: [f.frame(f.WINDOW_UPDATE, 0, s, bytes(5))], f.FRAME_SIZE_ERROR),
    "odd settings": (lambda p, s: [f.frame(f.SETTINGS, 0, 0, bytes(5))], f.FRAME_SIZE_ERROR),
    "settings ack with values": (lambda p, s: [f.frame(f.SETTINGS, f.ACK, 0, bytes(6))], f.FRAME_SIZE_ERROR),
    "push enabled": (lambda p, s: [f.settings({f.ENABLE_PUSH: 1})], f.PROTOCOL_ERROR),
    "continuation alone": (lambda p, s: [f.continuation(s, b"")], f.PROTOCOL_ERROR),
    "data in a block": (lambda p, s: [f.headers(s, b"\x88", end_headers=False), f.data(s)], f.PROTOCOL_ERROR),
    "other block in a block": (
        lambda p, s: [f.headers(s, b"\x88", end_headers=False), f.continuation(1, b"")],
        f.PROTOCOL_ERROR,
    ),
    "ping in a block": (lambda p, s: [f.headers(s, b"\x88", end_headers=False), f.ping()], f.PROTOCOL_ERROR),
}


@pytest.mark.row(41)
@pytest.mark.parametrize("name", CONNECTION_FAULTS)
async def test_row_41_the_connection_ends(anyio_backend: str, name: str) -> None:
    make, code = CONNECTION_FAULTS[name]
    async with Bench(says(make), sibling="dies") as bench:
        await bench.fails(ProtocolViolation, INTERNAL)
        assert await bench.goaway() == code


@pytest.mark.row(41)
async def test_row_41_unknown_frames_are_ignored(anyio_backend: str) -> None:
    def make(peer: Peer, stream: int) -> list[bytes]:
        unknown = [f.frame(0xBB, 0xFF, one, bytes(50)) for one in (0, stream, 99)]
        priority = f.frame(f.PRIORITY, 0, stream, bytes(5))
        head, trailers = peer.head(stream), peer.trailers(stream)
        return [*unknown, priority, head, *unknown, f.settings({0xFEED: 7}), data(stream), *unknown, trailers]

    async with Bench(says(make)) as bench:
        assert await bench.succeeds(lambda channel: channel.unary(FAULT, b"")) == b"answer"


NOISE = {
    "ssh": b"SSH-2.0-OpenSSH_9.6\r\n",
    "zeros": bytes(100),
    "random": bytes(range(7, 250, 3)),
    "ping first": f.ping(),
    "headers first": f.headers(1, b"\x88"),
    "settings ack first": f.settings(ack=True),
    "tls alert": b"\x15\x03\x03\x00\x02\x02\x28" + bytes(9),
}


@pytest.mark.row(10)
@pytest.mark.parametrize("name", NOISE)
async def test_row_10_noise_instead_of_settings(anyio_backend: str, name: str) -> None:
    """What can be read as frames is HTTP/2, if wrong; the rest, such as a huge frame to begin with, is not."""
    is_frames = name.endswith("first") or name == "zeros"

    async def script(peer: Peer) -> None:
        await peer.frame()
        await peer.send(NOISE[name])
        await peer.expect_eof()

    async with Bench(None, script, sibling="none", greet=False) as bench:
        kind, code = (ProtocolViolation, INTERNAL) if is_frames else (NotHttp2, StatusCode.UNAVAILABLE)
        await bench.fails(kind, code)
