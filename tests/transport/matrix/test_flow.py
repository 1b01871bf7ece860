"""Windows, limits and slowness: rows 34, 35, 36, 42, 44."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from boxd.transport import (
    Call,
    Channel,
    ConnectionOptions,
    DeadlineExceeded,
    ProtocolViolation,
    StatusCode,
    StreamReset,
)
from tests.fixtures import echo_server as e
from tests.fixtures import frames as f
from tests.fixtures.fault_server import Peer, Request
from tests.transport.matrix.bench import FAULT, FAULT_CHAT, WITHIN, Bench, Work, says, wait_until

pytestmark = pytest.mark.anyio
DEADLINE_EXCEEDED, INTERNAL = StatusCode.DEADLINE_EXCEEDED, StatusCode.INTERNAL


def upload(size: int, timeout: float | None = None) -> Work:
    """Sends so many bytes and returns what comes back."""

    async def work(channel: Channel) -> Any:
        async with channel.call(FAULT_CHAT, timeout=timeout) as call:
            await call.send(bytes(size), end=True)
            return [message async for message in call]

    return work


async def silence(peer: Peer, request: Request) -> None:
    """Nothing comes back, and no window."""


def received(peer: Peer, stream: int = 3) -> int:
    """Bytes of DATA that came on a stream."""
    return sum(len(one.payload) for one in f.of_kind(peer.frames, f.DATA) if one.stream == stream)


@pytest.mark.row(34)
@pytest.mark.parametrize("window", [0, 1_000])
async def test_row_34_no_window_until_the_deadline(anyio_backend: str, window: int) -> None:
    async def fault(peer: Peer, request: Request) -> None:
        """The sibling gets its window back."""
        await peer.send(f.settings({f.INITIAL_WINDOW_SIZE: window}), f.window_update(1, 65_535))

    async with Bench(fault) as bench:
        # The SETTINGS must be there before the call that they stop.
        await bench.fails(DeadlineExceeded, DEADLINE_EXCEEDED, lambda c: c.unary(FAULT, b"", timeout=0.05))
        await bench.fails(DeadlineExceeded, DEADLINE_EXCEEDED, upload(10_000, timeout=0.05))
        assert await bench.reset(5) == f.CANCEL
        assert received(bench.peer, 5) == window
        await bench.peer.send(f.settings({f.INITIAL_WINDOW_SIZE: 65_535}))


@pytest.mark.row(34)
async def test_row_34_no_window_until_cancelled(anyio_backend: str) -> None:
    """The sender is parked, the sibling is not, and a cancelled send ends with a reset."""
    async with Bench(silence) as bench:
        await bench.peer.send(f.window_update(0, 1 << 20))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(upload(1 << 20), bench.channel)
            await wait_until(lambda: received(bench.peer) == 65_535)
            for _ in range(3):
                await bench.sibling_talks()
            tasks.cancel_scope.cancel()
        assert await bench.reset() == f.CANCEL


@pytest.mark.row(34)
async def test_row_34_no_window_for_the_connection(anyio_backend: str) -> None:
    """Nobody can send; all go on when there is room again."""

    async def fault(peer: Peer, request: Request) -> None:
        while received(peer, request.stream) < 65_535 - 2 * len(f.message(b"are you there?")):
            await peer.expect(f.DATA)
        await anyio.sleep(0.05)
        await peer.send(f.window_update(0, 1 << 20), f.rst(request.stream, f.CANCEL))

    async with Bench(fault) as bench:
        with anyio.fail_after(WITHIN):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(expect_reset, bench.channel)
                await wait_until(lambda: received(bench.peer) > 65_000)
                await bench.sibling_talks()


async def expect_reset(channel: Channel) -> None:
    with pytest.raises(StreamReset, match="CANCEL"):
        await upload(1 << 20)(channel)


@pytest.mark.row(35)
async def test_row_35_window_cut_below_what_is_sent(anyio_backend: str) -> None:
    """65,535 bytes are on their way when the window becomes 1,000: it is negative, and must be made up for first."""
    total = 100_000

    async def fault(peer: Peer, request: Request) -> None:
        stream = request.stream
        await peer.send(f.window_update(0, 1 << 20))
        while received(peer, stream) < 65_535:
            await peer.expect(f.DATA)
        await peer.send(f.settings({f.INITIAL_WINDOW_SIZE: 1_000}))
        await peer.send(f.window_update(stream, 64_535))
        await peer.round_trip()
        assert received(peer, stream) == 65_535
        await peer.send(f.window_update(stream, 10))
        await peer.expect(f.DATA)
        assert received(peer, stream) == 65_545
        # Raised again for all streams, by a change of the setting alone.
        await peer.send(f.settings({f.INITIAL_WINDOW_SIZE: 65_535}))
        while received(peer, stream) < total + 5:
            await peer.expect(f.DATA)
        await peer.send(peer.answer(stream, b"all"))

    async with Bench(fault) as bench:
        assert await bench.succeeds(upload(total)) == [b"all"]


WINDOW = (1 << 31) - 1
CONNECTION_OVERFLOWS: dict[str, tuple[list[bytes], int]] = {
    "setting too large": ([f.settings({f.INITIAL_WINDOW_SIZE: 1 << 31})], f.FLOW_CONTROL_ERROR),
    "setting that overflows": (
        [f.window_update(3, 1 << 30), f.settings({f.INITIAL_WINDOW_SIZE: WINDOW})],
        f.FLOW_CONTROL_ERROR,
    ),
    "connection's overflow": ([f.window_update(0, WINDOW)], f.FLOW_CONTROL_ERROR),
    "connection's 0": ([f.window_update(0, 0)], f.PROTOCOL_ERROR),
    "frame size too small": ([f.settings({f.MAX_FRAME_SIZE: 16_383})], f.PROTOCOL_ERROR),
    "frame size too large": ([f.settings({f.MAX_FRAME_SIZE: 1 << 24})], f.PROTOCOL_ERROR),
}


@pytest.mark.row(35)
@pytest.mark.parametrize("name", CONNECTION_OVERFLOWS)
async def test_row_35_fault_of_the_connection(anyio_backend: str, name: str) -> None:
    frames, code = CONNECTION_OVERFLOWS[name]
    async with Bench(says(lambda peer, stream: frames), sibling="dies") as bench:
        await bench.fails(ProtocolViolation, INTERNAL)
        assert await bench.goaway() == code


@pytest.mark.row(35)
@pytest.mark.parametrize(("increment", "code"), [(WINDOW, f.FLOW_CONTROL_ERROR), (0, f.PROTOCOL_ERROR)])
async def test_row_35_fault_of_one_stream(anyio_backend: str, increment: int, code: int) -> None:
    async with Bench(says(lambda peer, stream: [f.window_update(stream, increment)])) as bench:
        await bench.fails(ProtocolViolation, INTERNAL)
        assert await bench.reset() == code


#: Calls must wait for a slot on the connection there is.
ONE_CONNECTION = {"connection_options": ConnectionOptions(max_connections=1)}


@pytest.mark.row(36)
async def test_row_36_no_streams_at_all(anyio_backend: str) -> None:
    """Calls wait, under their deadlines and cancellable; they go on, in their order, when the server allows some."""
    async with Bench(None, channel=ONE_CONNECTION) as bench:
        await bench.peer.send(f.settings({f.MAX_CONCURRENT_STREAMS: 0}))
        await bench.sibling_talks()
        error = await bench.fails(
            DeadlineExceeded, DEADLINE_EXCEEDED, lambda channel: channel.unary(e.ECHO, b"", timeout=0.05)
        )
        assert error.unprocessed
        with anyio.move_on_after(0.01) as scope:
            await bench.channel.unary(e.ECHO, b"")
        assert scope.cancelled_caught
        order: list[int] = []

        async def one(number: int) -> None:
            assert await bench.channel.unary(e.ECHO, b"%d" % number) == b"%d" % number
            order.append(number)

        with anyio.fail_after(WITHIN):
            async with anyio.create_task_group() as tasks:
                for number in range(5):
                    tasks.start_soon(one, number)
                    await wait_until(lambda: len(bench.channel._pool._waiters) == number + 1)  # type: ignore[attr-defined]  # noqa: B023
                await bench.peer.send(f.settings({f.MAX_CONCURRENT_STREAMS: 2}))
        assert order == list(range(5))


@pytest.mark.row(36)
async def test_row_36_one_stream_at_a_time(anyio_backend: str) -> None:
    async with Bench(None, settings={f.MAX_CONCURRENT_STREAMS: 2}, channel=ONE_CONNECTION) as bench:
        with anyio.fail_after(WITHIN):
            async with anyio.create_task_group() as tasks:
                for number in range(20):
                    tasks.start_soon(bench.channel.unary, e.ECHO, b"%d" % number)
        open_streams: set[int] = set()
        most = 0
        for frame in bench.peer.frames:
            if frame.kind == f.HEADERS:
                open_streams.add(frame.stream)
            elif frame.kind == f.DATA and frame.flags & f.END_STREAM:
                most = max(most, len(open_streams))
                open_streams.discard(frame.stream)
        assert most == 2


@pytest.mark.row(36)
async def test_row_36_lowered_below_what_is_open(anyio_backend: str) -> None:
    """What is open stays open, and new calls wait until enough of it is over."""
    async with Bench(None, channel=ONE_CONNECTION) as bench:
        with anyio.fail_after(WITHIN):
            async with bench.channel.call(e.CHAT) as first, bench.channel.call(e.CHAT) as second:
                for call in (first, second):
                    await call.send(b"x")
                    assert await call.receive() == b"x"
                await bench.peer.send(f.settings({f.MAX_CONCURRENT_STREAMS: 2}))
                await bench.sibling_talks()
                await bench.fails(DeadlineExceeded, DEADLINE_EXCEEDED, lambda c: c.unary(e.ECHO, b"", timeout=0.05))
                await first.send(b"still here")
                assert await first.receive() == b"still here"
                await second.end()
                assert await second.receive() is None
                await bench.fails(DeadlineExceeded, DEADLINE_EXCEEDED, lambda c: c.unary(e.ECHO, b"", timeout=0.05))
                await first.end()
                assert await first.receive() is None
                assert await bench.channel.unary(e.ECHO, b"now") == b"now"


@pytest.mark.row(42)
@pytest.mark.parametrize("part", ["headers", "body"])
async def test_row_42_slow_loris(anyio_backend: str, part: str) -> None:
    """A byte at a time: no single wait is long, and only the deadline ends it."""

    async def fault(peer: Peer, request: Request) -> None:
        stream = request.stream
        if part == "headers":
            # One byte more never comes: the header block is in one frame, so that others cannot come in between.
            frame = peer.head(stream, [(b":status", b"200"), *((b"x-%d" % one, b"v") for one in range(50))])
            for index in range(len(frame)):
                await peer.send(frame[index : index + 1])
                await anyio.sleep(0.001)
            return
        await peer.send(peer.head(stream), f.data(stream, b"\0\0\0\xff\xff"))
        with anyio.move_on_after(WITHIN):
            while not any(one.stream == stream for one in f.of_kind(peer.frames, f.RST_STREAM)):
                await peer.send(f.data(stream, b"x"))
                with anyio.move_on_after(0.002):
                    await peer.frame()

    async with Bench(fault) as bench:
        await bench.fails(DeadlineExceeded, DEADLINE_EXCEEDED, lambda c: c.unary(FAULT, b"", timeout=0.1))
        assert await bench.reset() == f.CANCEL


@pytest.mark.row(44)
async def test_row_44_peer_stops_reading(anyio_backend: str) -> None:
    """With all windows open but the kernel's buffers full: `send` parks, what the server says is read, and a cancelled
    send leaves no half frame on the wire."""
    full = anyio.Event()
    go_on = anyio.Event()

    async def fault(peer: Peer, request: Request) -> None:
        await peer.send(f.window_update(0, 1 << 30), f.window_update(request.stream, 1 << 30))
        await peer.send(peer.head(request.stream), f.data(request.stream, f.message(b"first")))
        await full.wait()
        await peer.send(f.data(request.stream, f.message(b"second")))
        await go_on.wait()

    sent: list[int] = []

    async def send_forever(call: Call[bytes, bytes]) -> None:
        while True:
            await call.send(bytes(1 << 20))
            sent.append(1)

    async with Bench(fault) as bench:
        with anyio.fail_after(WITHIN):
            async with bench.channel.call(FAULT_CHAT) as call, anyio.create_task_group() as tasks:
                await call.send(b"question")
                assert await call.receive() == b"first"
                tasks.start_soon(send_forever, call)
                before = -1
                while before != len(sent):
                    before = len(sent)
                    await anyio.sleep(0.05)
                full.set()
                assert await call.receive() == b"second"
                tasks.cancel_scope.cancel()
            go_on.set()
            await checkpoint()
        # The server parses every byte that came, and the last thing of the stream is the reset.
        assert await bench.reset() == f.CANCEL
        await bench.sibling_talks()
        frames = [one for one in bench.peer.frames if one.stream == 3]
        assert frames[-1].kind == f.RST_STREAM
