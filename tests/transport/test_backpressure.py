"""Flow control end to end: whoever stops reading stops the other side, within the window (R36, R39 to R43)."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest
from anyio.lowlevel import checkpoint

from boxd.transport import Cancelled, Channel, DeadlineExceeded, Target
from boxd.transport.http2.options import EngineOptions
from tests.fixtures import echo_server as e
from tests.fixtures import frames as f
from tests.fixtures.fault_server import FaultServer, Peer

pytestmark = pytest.mark.anyio
Connect = Callable[..., Channel]

SMALL = EngineOptions(stream_window=100_000, connection_window=1 << 20)


async def settle() -> None:
    """Long enough for everything that is under way on this machine to arrive."""
    for _ in range(200):
        await checkpoint()
    await anyio.sleep(0.05)


@pytest.mark.parametrize("size", [0, 1, 1_000, 30_000])
async def test_r42_a_reader_that_stops_stops_the_server(connect: Connect, size: int) -> None:
    """Messages of any size, empty ones too: what waits here is bounded by the stream's window."""
    sent = 0
    window = SMALL.stream_window

    async def script(peer: Peer) -> None:
        nonlocal sent, window
        request = await peer.expect_headers()
        await peer.send(peer.head(request.stream))
        frame = f.data(request.stream, f.message(bytes(size)))
        while sent < 180_000:
            while window < len(frame) - 9:
                update = await peer.expect(f.WINDOW_UPDATE)
                window += update.number if update.stream == request.stream else 0
            window -= len(frame) - 9
            sent += len(frame) - 9
            await peer.send(frame)
        await peer.send(peer.trailers(request.stream))

    async with FaultServer(script) as server:
        channel = connect(server.target, engine_options=SMALL)
        async with channel.call(e.COUNT) as call:
            await call.send(b"", end=True)
            assert await call.receive() == bytes(size)
            await settle()
            assert sent <= SMALL.stream_window + size + 1_000, "nobody reads, and the server still sends"
            count = 1
            with anyio.fail_after(10):
                while batch := await call.receive_batch():
                    count += len(batch)
            assert count * (size + 5) == sent


async def test_r42_a_stalled_call_does_not_stall_another(connect: Connect, echo: e.Running) -> None:
    channel = connect(echo.target, engine_options=SMALL)
    async with channel.call(e.COUNT) as stalled:
        await stalled.send(b"100 20000", end=True)
        await settle()
        for _ in range(3):
            assert len(await channel.unary(e.ECHO, bytes(1 << 20))) == 1 << 20
        assert len([one async for one in stalled]) == 100


async def test_a_message_larger_than_the_window_passes(connect: Connect, echo: e.Running) -> None:
    channel = connect(echo.target, engine_options=SMALL, max_receive_bytes=None)
    async with channel.call(e.COUNT) as call:
        await call.send(b"3 3000000", end=True)
        assert [len(one) async for one in call] == [3_000_004] * 3


async def no_reading(peer: Peer) -> None:
    """Grants no window, but reads all the same."""
    await peer.expect_eof()


async def parked(connect: Connect, target: Target, ended: Callable[[BaseException], bool], **options: float) -> None:
    channel = connect(target)
    async with channel.call(e.JOIN, **options) as call:
        with pytest.raises(BaseException) as caught, anyio.fail_after(5):  # noqa: PT011
            await call.send(bytes(100_000))
        assert ended(caught.value)


async def test_r41_send_parks_and_the_deadline_ends_it(connect: Connect) -> None:
    async with FaultServer(no_reading) as server:
        await parked(connect, server.target, lambda exc: isinstance(exc, DeadlineExceeded), timeout=0.2)
        sent = f.of_kind(server.peers[0].frames, f.DATA)
        assert sum(len(one.payload) for one in sent) == 65_535


async def test_r41_send_parks_and_can_be_cancelled(connect: Connect) -> None:
    async with FaultServer(no_reading) as server:
        channel = connect(server.target)
        async with channel.call(e.JOIN) as call:
            with anyio.move_on_after(0.1) as scope:
                await call.send(bytes(100_000))
            assert scope.cancelled_caught
        await settle()
        resets = f.of_kind(server.peers[0].frames, f.RST_STREAM)
        assert [(one.stream, one.number) for one in resets] == [(1, f.CANCEL)]


async def test_r40_cancel_wakes_a_parked_sender(connect: Connect) -> None:
    async with FaultServer(no_reading) as server:
        channel = connect(server.target)
        async with channel.call(e.JOIN) as call, anyio.create_task_group() as tasks:

            async def send() -> None:
                with pytest.raises(Cancelled):
                    await call.send(bytes(100_000))

            tasks.start_soon(send)
            await settle()
            call.cancel()


@pytest.mark.parametrize("wake", ["stream window", "settings", "connection window"])
async def test_r40_windows_wake_a_parked_sender(connect: Connect, wake: str) -> None:
    settings = {f.INITIAL_WINDOW_SIZE: 1 << 20 if wake == "connection window" else 10}

    async def script(peer: Peer) -> None:
        request = await peer.expect_headers()
        if wake != "connection window":
            await peer.expect(f.DATA)
        await peer.round_trip()
        await peer.send(f.window_update(0, 1 << 20))
        if wake == "stream window":
            await peer.send(f.window_update(request.stream, 1 << 20))
        elif wake == "settings":
            await peer.send(f.settings({f.INITIAL_WINDOW_SIZE: 1 << 20}))
        while not (await peer.expect(f.DATA)).flags & f.END_STREAM:
            pass
        await peer.send(peer.answer(request.stream, b"done"))

    async with FaultServer(script, settings=settings) as server, connect(server.target).call(e.JOIN) as call:
        with anyio.fail_after(5):
            await call.send(bytes(100_000))
            await call.end()
            assert await call.receive() == b"done"


async def test_r36_the_servers_answer_wakes_a_parked_sender(connect: Connect) -> None:
    async def script(peer: Peer) -> None:
        request = await peer.expect_headers()
        await peer.expect(f.DATA)
        await peer.round_trip()
        await peer.send(peer.answer(request.stream, b"enough"))
        assert await peer.expect_rst(request.stream) == f.NO_ERROR

    server = FaultServer(script, settings={f.INITIAL_WINDOW_SIZE: 10})
    async with server, connect(server.target).call(e.JOIN) as call:
        with anyio.fail_after(5):
            await call.send(bytes(100_000))
            assert await call.receive() == b"enough"


async def test_44_a_server_that_does_not_read_its_socket(connect: Connect) -> None:
    """The kernel's buffers are full: send() parks, is cancellable, and other calls' deadlines work."""
    stop = anyio.Event()

    async def script(peer: Peer) -> None:
        await peer.expect_headers()
        await peer.send(f.settings({f.INITIAL_WINDOW_SIZE: (1 << 31) - 1}), f.window_update(0, (1 << 31) - 70_000))
        await stop.wait()

    async with FaultServer(script) as server:
        channel = connect(server.target)
        sent = 0
        async with channel.call(e.JOIN) as call:
            await call.send(b"first")
            with anyio.move_on_after(1) as scope:
                while True:
                    await call.send(bytes(1 << 20))
                    sent += 1
            assert scope.cancelled_caught
            assert sent < 50
            with pytest.raises(DeadlineExceeded), anyio.fail_after(5):
                await channel.unary(e.ECHO, b"", timeout=0.1)
        stop.set()
