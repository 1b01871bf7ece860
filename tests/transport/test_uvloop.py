"""uvloop, which web servers such as uvicorn run on where it is installed: an asyncio whose transports are its own."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from boxd.transport import Channel, ConnectFailed, ConnectionLost, DeadlineExceeded, DialOptions, Target
from tests.fixtures import echo_server as e
from tests.fixtures.fault_server import FaultServer, Peer
from tests.transport.leaks import background

uvloop = pytest.importorskip("uvloop")
BIG = bytes(range(256)) * 4096


def run(main: Callable[[Channel], Awaitable[None]], channel: Channel) -> None:
    """Let `main` use a channel; nothing of that is left."""

    async def use() -> None:
        with anyio.fail_after(20):
            await main(channel)
            await channel.aclose()
        assert background() == []

    uvloop.run(use())


async def calls(channel: Channel) -> None:
    answers: list[bytes] = []

    async def call(number: int) -> None:
        answers.append(await channel.unary(e.ECHO, b"%d" % number))

    async with anyio.create_task_group() as group:
        for number in range(50):
            group.start_soon(call, number)
    assert sorted(answers) == sorted(b"%d" % number for number in range(50))
    async with channel.call(e.CHAT) as chat:
        for _ in range(4):
            await chat.send(BIG)
            assert await chat.receive() == BIG
        await chat.end()
        assert await chat.receive() is None
    with pytest.raises(DeadlineExceeded):
        await channel.unary(e.WAIT, b"", timeout=0.05)


def test_plaintext(echo: e.Running) -> None:
    run(calls, Channel(echo.target))


def test_tls(secure_echo: e.Running, client_tls: ssl.SSLContext) -> None:
    run(calls, Channel(secure_echo.target, dial_options=DialOptions(ssl_context=client_tls)))


def test_a_unix_socket(tmp_path: Path) -> None:
    with e.running(path=str(tmp_path / "s")) as server:
        run(calls, Channel(server.target))


def test_nobody_listens() -> None:
    async def main(channel: Channel) -> None:
        with pytest.raises(ConnectFailed, match="refused"):
            await channel.unary(e.ECHO, b"")

    run(main, Channel(Target("http", "127.0.0.1", 1)))


def test_a_connection_that_is_lost() -> None:
    async def gone(peer: Peer) -> None:
        await peer.expect_headers()
        await peer.abort()

    async def main(channel: Channel) -> None:
        async with FaultServer(gone) as server:
            lost = Channel(server.target)
            with pytest.raises(ConnectionLost):
                await lost.unary(e.ECHO, b"")
            await lost.aclose()

    run(main, Channel(Target("http", "127.0.0.1", 1)))
