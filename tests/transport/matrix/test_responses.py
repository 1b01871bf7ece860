"""Responses that are cut off, too large, or not what gRPC says: rows 15 to 20 and 38."""

from __future__ import annotations

import gzip
import tracemalloc

import pytest

from boxd.transport import Channel, DecodeFailed, MessageTooLarge, ProtocolViolation, RpcError, StatusCode
from tests.fixtures import frames as f
from tests.fixtures.fault_server import Peer, Request
from tests.fixtures.pair import RESPONSE
from tests.transport.matrix.bench import FAULT, FAULT_CHAT, Bench, Fault

pytestmark = pytest.mark.anyio
GZIPPED = [*RESPONSE, (b"grpc-encoding", b"gzip")]


def body(*pieces: bytes, end: bool = False, headers: list[tuple[bytes, bytes]] = RESPONSE) -> Fault:
    """Answers with these bytes as DATA, and with `end` nothing more."""

    async def fault(peer: Peer, request: Request) -> None:
        last = len(pieces) - 1
        frames = [f.data(request.stream, one, end=end and index == last) for index, one in enumerate(pieces)]
        await peer.send(peer.head(request.stream, headers), *frames)
        if not end:
            await peer.send(peer.trailers(request.stream))

    return fault


@pytest.mark.row(16)
@pytest.mark.parametrize("size", [1, 4, 5, 50])
async def test_row_16_ends_inside_a_message(anyio_backend: str, size: int) -> None:
    async with Bench(body(f.message(b"x" * 100)[:size], end=True)) as bench:
        await bench.fails(ProtocolViolation, StatusCode.INTERNAL)


@pytest.mark.row(17)
async def test_row_17_ends_without_trailers(anyio_backend: str) -> None:
    async with Bench(body(f.message(b"answer"), end=True)) as bench:
        await bench.fails(RpcError, StatusCode.UNKNOWN, match="without a grpc-status")


@pytest.mark.row(19)
@pytest.mark.parametrize("size", [0xFFFFFFFF, 1001], ids=["4 GiB", "over the limit"])
async def test_row_19_message_too_large(anyio_backend: str, size: int) -> None:
    """Refused by its prefix: what is announced is not allocated, and what comes is not waited for."""

    async def fault(peer: Peer, request: Request) -> None:
        await peer.send(peer.head(request.stream), f.data(request.stream, b"\0" + size.to_bytes(4, "big")))

    async with Bench(fault, channel={"max_receive_bytes": 1_000}) as bench:
        tracemalloc.start()
        try:
            await bench.fails(MessageTooLarge, StatusCode.RESOURCE_EXHAUSTED)
            assert tracemalloc.get_traced_memory()[1] < 1 << 20
        finally:
            tracemalloc.stop()
        assert await bench.reset() == f.CANCEL


@pytest.mark.row(20)
async def test_row_20_gzip_bomb(anyio_backend: str) -> None:
    bomb = f.message(gzip.compress(bytes(64 << 20), 1), 1)
    pieces = [bomb[start : start + 16_384] for start in range(0, len(bomb), 16_384)]
    async with Bench(body(*pieces, headers=GZIPPED), channel={"max_receive_bytes": 1 << 20}) as bench:
        tracemalloc.start()
        try:
            await bench.fails(MessageTooLarge, StatusCode.RESOURCE_EXHAUSTED)
            assert tracemalloc.get_traced_memory()[1] < 8 << 20
        finally:
            tracemalloc.stop()


WHOLE = gzip.compress(b"answer" * 100)


@pytest.mark.row(20)
@pytest.mark.parametrize(
    ("payload", "headers", "kind"),
    [
        (WHOLE[:-9], GZIPPED, DecodeFailed),
        (WHOLE + b"junk", GZIPPED, DecodeFailed),
        (WHOLE[:20] + b"\0\0\0\0" + WHOLE[24:], GZIPPED, DecodeFailed),
        (WHOLE, RESPONSE, ProtocolViolation),
        (WHOLE, [*RESPONSE, (b"grpc-encoding", b"snappy")], DecodeFailed),
    ],
    ids=["truncated", "trailing junk", "damaged", "undeclared", "unknown"],
)
async def test_row_20_bad_compression(
    anyio_backend: str, payload: bytes, headers: list[tuple[bytes, bytes]], kind: type[RpcError]
) -> None:
    async with Bench(body(f.message(payload, 1), headers=headers)) as bench:
        await bench.fails(kind, StatusCode.INTERNAL)


OK, UNKNOWN, NOT_FOUND = StatusCode.OK, StatusCode.UNKNOWN, StatusCode.NOT_FOUND
STATUSES: list[tuple[list[bytes], StatusCode]] = [
    ([], UNKNOWN),
    ([b"abc"], UNKNOWN),
    ([b"-1"], UNKNOWN),
    ([b"99"], UNKNOWN),
    ([b"17"], UNKNOWN),
    ([b"4294967296"], UNKNOWN),
    ([b""], UNKNOWN),
    ([b"0x5"], UNKNOWN),
    ([b"\xff"], UNKNOWN),
    ([b"05"], NOT_FOUND),
    ([b"5", b"0"], NOT_FOUND),
    ([b"5", b"abc"], NOT_FOUND),
]


@pytest.mark.row(38)
@pytest.mark.parametrize("only", [False, True], ids=["trailers", "trailers-only"])
async def test_row_38_malformed_status(anyio_backend: str, only: bool) -> None:
    cases = iter(STATUSES)

    async def fault(peer: Peer, request: Request) -> None:
        fields = [(b"grpc-status", value) for value in next(cases)[0]]
        if only:
            await peer.send(peer.head(request.stream, [*RESPONSE, *fields], end=True))
        else:
            body = f.data(request.stream, f.message(b"answer"))
            await peer.send(peer.head(request.stream), body, peer.trailers(request.stream, [*fields, (b"x", b"y")]))

    async with Bench(fault) as bench:
        for _, code in STATUSES:
            await bench.fails(RpcError, code)


@pytest.mark.row(38)
@pytest.mark.parametrize("status", [b"0", b"00"])
async def test_row_38_first_status_counts(anyio_backend: str, status: bytes) -> None:
    """Two zeros are zero, and the second status is not looked at."""

    async def fault(peer: Peer, request: Request) -> None:
        await peer.send(peer.head(request.stream), f.data(request.stream, f.message(b"answer")))
        await peer.send(peer.trailers(request.stream, [(b"grpc-status", status), (b"grpc-status", b"5")]))

    async with Bench(fault) as bench:
        assert await bench.succeeds(lambda channel: channel.unary(FAULT, b"")) == b"answer"


MESSAGES = {
    b"%": "%",
    b"%4": "%4",
    b"%zz": "%zz",
    b"100%25": "100%",
    b"%ff%fe": "\ufffd\ufffd",
    b"\xff raw": "\ufffd raw",
    b"%E2%82%AC": "\u20ac",
    b"": "",
    b"x" * 8_000: "x" * 8_000,
}
DETAILS = [b"!!!", b"AAA", b"/////w", b"CAUSA25vdA", b""]


@pytest.mark.row(38)
async def test_row_38_malformed_message_and_details(anyio_backend: str) -> None:
    """The status counts whatever stands beside it."""
    cases = iter([*MESSAGES, *DETAILS])

    async def fault(peer: Peer, request: Request) -> None:
        value = next(cases)
        name = b"grpc-message" if value in MESSAGES and value != b"!!!" else b"grpc-status-details-bin"
        await peer.send(peer.head(request.stream, [*RESPONSE, (b"grpc-status", b"5"), (name, value)], end=True))

    async with Bench(fault) as bench:
        for message in MESSAGES.values():
            error = await bench.fails(RpcError, StatusCode.NOT_FOUND)
            assert error.message == message
        for _ in DETAILS:
            error = await bench.fails(RpcError, StatusCode.NOT_FOUND)
            assert error.message == ""


@pytest.mark.row(14, 19)
async def test_row_19_messages_before_it_are_delivered(anyio_backend: str) -> None:
    async def fault(peer: Peer, request: Request) -> None:
        messages = f.message(b"one") + f.message(b"two") + b"\0\xff\xff\xff\xff"
        await peer.send(peer.head(request.stream), f.data(request.stream, messages))
        assert await peer.expect_rst(request.stream) == f.CANCEL

    got = []

    async def work(channel: Channel) -> None:
        async with channel.call(FAULT_CHAT) as call:
            await call.end()
            async for message in call:
                got.append(message)

    async with Bench(fault) as bench:
        await bench.fails(MessageTooLarge, StatusCode.RESOURCE_EXHAUSTED, work)
    assert got == [b"one", b"two"]
