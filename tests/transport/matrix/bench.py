"""What every test of the fault matrix does and checks, in one place.

    async with Bench(fault) as bench:
        await bench.fails(ProtocolViolation, StatusCode.INTERNAL)

`fault` is what the server does with a request for `FAULT` or `FAULT_CHAT`; to all other requests it sends back what it
gets. Beside the call that suffers, a sibling stream is open on the same connection all the time. For each row:

- every step ends in time;
- the error is of the right class and has the right status;
- the sibling goes on as if nothing had happened or, where the fault ends the connection, fails with a typed error;
- the next call works, on the same connection or on a new one as the case may be;
- no stream and no waiting call is left before the channel is closed, and no task, timer or socket after;
- the process has not grown.
"""

from __future__ import annotations

import resource
from base64 import b64encode
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, TypeVar

import anyio
import pytest
from anyio.lowlevel import checkpoint

from boxd.transport import Call, Channel, ConnectionOptions, Kind, RpcError, StatusCode
from tests.fixtures import echo_server as e
from tests.fixtures import frames as f
from tests.fixtures.fault_server import FaultServer, Peer, Request, Script
from tests.transport.leaks import assert_gone, sockets

E = TypeVar("E", bound=RpcError)
Fault = Callable[[Peer, Request], Awaitable[None]]
Work = Callable[[Channel], Awaitable[Any]]

FAULT = e.method("Fault", Kind.UNARY)
FAULT_CHAT = e.method("FaultChat", Kind.BIDI_STREAM)

#: Seconds for any single step. None takes more than a fraction of one.
WITHIN = 5.0
#: What the process may grow by in a test, in KiB: far less than any of the bombs unpacks to.
GROWTH = 64 << 10


async def serve(peer: Peer, fault: Fault | None = None) -> None:
    """Send back every message, except where the request asks for the fault."""
    echoing: dict[int, bytes] = {}
    while True:
        frame = await peer.expect(f.HEADERS, f.DATA)
        stream = frame.stream
        if frame.kind == f.HEADERS:
            request = peer.request(frame)
            if fault is not None and request[b":path"].startswith(b"/test.Echo/Fault"):
                await fault(peer, request)
                continue
            # The protocol, and how messages are written, are the request's.
            echoing[stream] = request[b"content-type"]
            await peer.send(peer.head(stream, [(b":status", b"200"), (b"content-type", echoing[stream])]))
        if stream in echoing:
            size = len(frame.payload)
            if frame.kind == f.DATA and size:
                windows = (f.window_update(0, size), f.window_update(stream, size))
                await peer.send(*windows, f.data(stream, frame.payload))
            if frame.flags & f.END_STREAM:
                await peer.send(_end(peer, stream, echoing.pop(stream)))
        elif frame.payload:
            await peer.send(f.window_update(0, len(frame.payload)))  # Nobody's; the connection's window is for all.


def _end(peer: Peer, stream: int, content_type: bytes) -> bytes:
    """A successful end in the protocol of a content-type."""
    if content_type.startswith(b"application/grpc-web-text"):
        return f.data(stream, b64encode(f.message(b"grpc-status: 0", 0x80)), end=True)
    if content_type.startswith(b"application/grpc-web"):
        return f.data(stream, f.message(b"grpc-status: 0", 0x80), end=True)
    if content_type.startswith(b"application/connect+"):
        return f.data(stream, f.message(b"{}", 2), end=True)
    if content_type == b"application/proto":
        return f.data(stream, b"", end=True)
    return peer.trailers(stream)


def says(make: Callable[[Peer, int], list[bytes]]) -> Fault:
    """A fault that answers a request with frames: `make` gets the peer and the stream."""

    async def fault(peer: Peer, request: Request) -> None:
        await peer.send(*make(peer, request.stream))

    return fault


async def well_behaved(peer: Peer) -> None:
    """A script of a server without faults."""
    await serve(peer)


async def unary(channel: Channel) -> None:
    """The call that usually suffers."""
    await channel.unary(FAULT, b"question")


async def wait_until(condition: Callable[[], bool]) -> None:
    """Return when the condition holds."""
    with anyio.fail_after(WITHIN):
        while not condition():
            await checkpoint()


#: The call after a fault need not wait.
AT_ONCE = ConnectionOptions(backoff_initial=0.01)


class Bench:
    """A server with a fault, a channel to it, and a sibling stream."""

    def __init__(
        self,
        fault: Fault | None = None,
        *scripts: Script,
        sibling: str = "lives",
        connections: int | None = None,
        settings: dict[int, int] | None = None,
        greet: bool = True,
        channel: dict[str, Any] | None = None,
    ) -> None:
        """`sibling` is `lives`, `dies`, or `none` where none can be. `connections` is how many the server sees in all:
        by default one, and one more where the sibling dies. `scripts` replace the server's own for its first
        connections; the last is followed by the server's own. `channel` are options for the channel."""
        self._fault = fault
        self._scripts = scripts
        self._sibling = sibling
        self._connections = (1 if sibling == "lives" else 2) if connections is None else connections
        self._settings = settings
        self._greet = greet
        self._options = {"connection_options": AT_ONCE, **(channel or {})}
        self.server: FaultServer
        self.channel: Channel
        self.sibling: Call[bytes, bytes]

    @property
    def peer(self) -> Peer:
        """The server's end of the first connection."""
        return self.server.peers[0]

    async def __aenter__(self) -> Bench:
        self._peak, self._sockets = _peak(), sockets()
        self.server = FaultServer(*self._scripts, self._serve, settings=self._settings, greet=self._greet)
        await self.server.__aenter__()
        self.channel = Channel(self.server.target, **self._options)
        if self._sibling != "none":
            self.sibling = self.channel.call(e.CHAT)
            await self.sibling_talks()
        return self

    async def _serve(self, peer: Peer) -> None:
        if not self._greet:
            await peer.greet(self._settings)
        await serve(peer, self._fault)

    async def fails(self, kind: type[E], code: StatusCode, work: Work = unary, *, match: str | None = None) -> E:
        """Do the work, which must raise exactly this error with this status; returns it."""
        with pytest.raises(RpcError, match=match) as caught, anyio.fail_after(WITHIN):
            await work(self.channel)
        error = caught.value
        assert type(error) is kind, f"{type(error).__name__} instead of {kind.__name__}: {error}"
        assert error.code == code
        return error

    async def succeeds(self, work: Work = unary) -> Any:
        """Do the work, which must not fail; returns what it returns."""
        with anyio.fail_after(WITHIN):
            return await work(self.channel)

    async def sibling_talks(self) -> None:
        """A message to the sibling and back."""
        with anyio.fail_after(WITHIN):
            await self.sibling.send(b"are you there?")
            assert await self.sibling.receive() == b"are you there?"

    async def sibling_ends(self) -> None:
        """A last message to the sibling and back, and its end. Done at the end of the test if not before."""
        if self.sibling.running:
            await self.sibling_talks()
            with anyio.fail_after(WITHIN):
                await self.sibling.end()
        assert await self.sibling.receive() is None

    async def goaway(self) -> int:
        """The code with which the client ended the first connection."""
        await wait_until(lambda: bool(f.of_kind(self.peer.frames, f.GOAWAY)))
        return int.from_bytes(f.of_kind(self.peer.frames, f.GOAWAY)[0].payload[4:8], "big")

    async def reset(self, stream: int = 3) -> int:
        """The code with which the client reset a stream of the first connection: the first suffering call's is 3."""
        await wait_until(lambda: any(one.stream == stream for one in f.of_kind(self.peer.frames, f.RST_STREAM)))
        (frame,) = [one for one in f.of_kind(self.peer.frames, f.RST_STREAM) if one.stream == stream]
        return frame.number

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                await self._check()
        finally:
            await self.channel.aclose()
            await self.server.__aexit__(kind, error, trace)
        if error is None:
            await assert_gone(self.channel)
            await wait_until(lambda: sockets() <= self._sockets)
            assert _peak() - self._peak < GROWTH

    async def _check(self) -> None:
        if self._sibling == "dies":
            with pytest.raises(RpcError) as caught, anyio.fail_after(WITHIN):
                await self.sibling.receive()
            assert caught.value.code in (StatusCode.UNAVAILABLE, StatusCode.INTERNAL, StatusCode.RESOURCE_EXHAUSTED)
        with anyio.fail_after(WITHIN):
            assert await self.channel.unary(e.ECHO, b"next") == b"next"
        if self._sibling == "lives":
            await self.sibling_ends()
        pool: Any = self.channel._pool
        assert not pool._waiters
        await wait_until(lambda: not any(one.engine.open_streams for one in pool._connections))
        assert len(self.server.peers) == self._connections


def _peak() -> int:
    """The most memory this process ever had, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
