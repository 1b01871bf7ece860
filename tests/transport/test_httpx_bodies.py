"""Request bodies of `HTTP2Transport` that are still being made when nobody wants more of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import anyio
import httpx
import pytest

from boxd.transport.httpx_transport import HTTP2Transport
from tests.fixtures import frames as f
from tests.fixtures.fault_server import FaultServer, Peer
from tests.transport.leaks import background
from tests.transport.matrix.bench import wait_until

pytestmark = pytest.mark.anyio


class Parked:
    """A body of which one piece is there, and the next never comes."""

    def __init__(self) -> None:
        self.waiting = anyio.Event()
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            yield b"first"
            self.waiting.set()
            await anyio.sleep_forever()
        finally:
            self.closed = True


def sending() -> bool:
    return "boxd request body" in background()


async def head_only(peer: Peer) -> None:
    request = await peer.expect_headers()
    await peer.expect(f.DATA)
    await peer.send(peer.head(request.stream, [(b":status", b"200")]))
    await peer.expect_eof()


async def whole(peer: Peer) -> None:
    request = await peer.expect_headers()
    await peer.expect(f.DATA)
    await peer.send(peer.head(request.stream, [(b":status", b"413")], end=True))
    await peer.expect_eof()


async def reset(peer: Peer) -> None:
    request = await peer.expect_headers()
    await peer.expect(f.DATA)
    await peer.send(peer.head(request.stream, [(b":status", b"200")]))
    await peer.send(f.rst(request.stream, f.INTERNAL_ERROR))
    await peer.expect_eof()


async def gone(peer: Peer) -> None:
    request = await peer.expect_headers()
    await peer.expect(f.DATA)
    await peer.send(peer.head(request.stream, [(b":status", b"200")]))
    await peer.close()


@pytest.mark.row(29)
@pytest.mark.parametrize("script", [head_only, whole, reset, gone], ids=lambda script: script.__name__)
async def test_r36_parked_iterator_is_let_go(anyio_backend: str, script: Callable[[Peer], object]) -> None:
    """When the response is left or is over, however, the iterator is closed and its task ends."""
    body = Parked()
    async with FaultServer(script) as server:  # type: ignore[arg-type]
        url = f"http://127.0.0.1:{server.target.port}/"
        async with httpx.AsyncClient(transport=HTTP2Transport(), timeout=5) as client:
            async with client.stream("POST", url, content=body) as response:
                assert response.status_code in (200, 413)
                if script is head_only:
                    with anyio.fail_after(5):
                        await body.waiting.wait()
                    assert sending()
            await wait_until(lambda: not sending())
            assert body.closed or not body.waiting.is_set()
    assert not background()


async def test_parked_iterator_of_a_cancelled_request(anyio_backend: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.expect_headers()
        await peer.expect_eof()

    body = Parked()
    async with FaultServer(script) as server:
        url = f"http://127.0.0.1:{server.target.port}/"
        async with httpx.AsyncClient(transport=HTTP2Transport(), timeout=5) as client:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: client.post(url, content=body))
                with anyio.fail_after(5):
                    await body.waiting.wait()
                tasks.cancel_scope.cancel()
            await wait_until(lambda: not sending() and body.closed)


async def test_iterator_that_fails_while_it_is_closed(anyio_backend: str, caplog: pytest.LogCaptureFixture) -> None:
    class Unruly(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"first"
            await anyio.sleep_forever()

        async def aclose(self) -> None:
            raise ZeroDivisionError("not even that")

    async with FaultServer(head_only) as server:
        transport = HTTP2Transport()
        request = httpx.Request("POST", f"http://127.0.0.1:{server.target.port}/", stream=Unruly())
        response = await transport.handle_async_request(request)
        await response.aclose()
        await wait_until(lambda: not sending())
        await transport.aclose()
    assert "not even that" in caplog.text
