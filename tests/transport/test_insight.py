"""To see inside: the log, the trace and the counters of channels, on both event loops."""

from __future__ import annotations

import base64
import json
import logging
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from anyio.abc import SocketStream

from boxd.transport import (
    Channel,
    ConnectFailed,
    ConnectionLost,
    ConnectionOptions,
    RetryPolicy,
    RpcError,
    Stats,
    Target,
)
from boxd.transport.connection import Connection
from boxd.transport.httpx_transport import HTTP2Transport
from boxd.transport.observed import ObservedWire, Trace
from tests.fixtures import echo_server as e
from tests.fixtures import frames as f
from tests.fixtures.fault_server import FaultServer, Peer
from tests.fixtures.pair import RESPONSE
from tests.transport.matrix.bench import wait_until

pytestmark = pytest.mark.anyio
Connect = Callable[..., Channel]

SECRETS = ["s3cret-token", "s3cret-key", "s3cret-cookie", "s3cret-body"]
METADATA = [("api-key", "s3cret-key"), ("cookie", "s3cret-cookie"), ("x-note", "plain")]


class Credentials:
    def current(self) -> str:
        return "Bearer s3cret-token"

    async def refresh(self) -> str:
        return self.current()


async def all_kinds(channel: Channel) -> None:
    """A call of each kind, and one that fails."""
    assert await channel.unary(e.ECHO, b"s3cret-body", metadata=METADATA) == b"s3cret-body"
    async with channel.call(e.COUNT, metadata=METADATA) as call:
        await call.send(b"3 10", end=True)
        assert [len(message) async for message in call] == [14, 14, 14]
    async with channel.call(e.CHAT, metadata=METADATA) as call:
        await call.send(b"s3cret-body", end=True)
        assert await call.receive() == b"s3cret-body"
        assert await call.receive() is None
    with pytest.raises(RpcError, match="because of that"):
        await channel.unary(e.FAIL, b"\x05because of that", metadata=METADATA)


async def test_frames_in_the_log_without_secrets(
    connect: Connect, echo: e.Running, caplog: pytest.LogCaptureFixture
) -> None:
    """At DEBUG of everything, libraries too: nothing secret of a request is in any line."""
    caplog.set_level(logging.DEBUG)
    channel = connect(echo.target, credentials=Credentials())
    await all_kinds(channel)
    await channel.aclose()
    text = caplog.text + "".join(map(repr, caplog.records))
    assert not [secret for secret in SECRETS if secret in text]
    frames = [one.getMessage() for one in caplog.records if one.name == "boxd.transport.frames"]
    assert len({one.split()[1] for one in frames}) == 1
    (request,) = [one for one in frames if " > HEADERS stream=1 " in one]
    assert "flags=END_HEADERS" in request
    assert ":path='/test.Echo/Echo'" in request
    assert "authorization='[hidden]'" in request
    assert "api-key='[hidden]'" in request
    assert "x-note='plain'" in request
    assert any(" > DATA stream=1 flags=END_STREAM length=16" in one for one in frames)
    assert any(" < DATA stream=1 " in one for one in frames)
    assert any(" < SETTINGS stream=0 " in one for one in frames)
    assert any(" < HEADERS " in one and "grpc-status='5'" in one for one in frames)
    events = [one for one in caplog.records if one.name == "boxd.transport"]
    assert [(one.levelname, one.getMessage().split(": ")[1]) for one in events] == [
        ("INFO", "open"),
        ("INFO", "closed"),
    ]
    assert str(echo.target) in events[0].getMessage()


async def test_the_log_of_events_alone(connect: Connect, echo: e.Running, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "boxd.transport")
    channel = connect(echo.target)
    await all_kinds(channel)
    assert [one.getMessage().split(": ")[1] for one in caplog.records] == ["open"]
    with pytest.raises(ConnectFailed):
        await connect(Target("http", "127.0.0.1", 1)).unary(e.ECHO, b"")
    assert caplog.messages[-1].startswith("no connection to http://127.0.0.1:1: ")


async def test_off_it_is_not_in_the_way(connect: Connect, echo: e.Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """The decision falls with the connection: then no logger is asked any more, and nothing is on the wire."""
    channel = connect(echo.target)
    await channel.unary(e.ECHO, b"")
    asked: list[str] = []
    for name in ("isEnabledFor", "debug", "info", "warning", "_log"):
        monkeypatch.setattr(logging.Logger, name, lambda self, *_, **__: asked.append(self.name))
    for _ in range(20):
        await channel.unary(e.ECHO, b"x")
    async with channel.call(e.COUNT) as call:
        await call.send(b"50 10", end=True)
        assert len([message async for message in call]) == 50
    monkeypatch.undo()
    assert [name for name in asked if name.startswith("boxd")] == []
    (connection,) = channel._pool._connections  # type: ignore[attr-defined]
    assert isinstance(connection, Connection)
    assert not isinstance(connection._wire, ObservedWire)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_the_trace_of_calls_can_be_read_back(connect: Connect, echo: e.Running, tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    channel = connect(echo.target, credentials=Credentials(), trace=str(path))
    await all_kinds(channel)
    stats = channel.stats()
    await channel.aclose()
    text = path.read_text()
    assert not [secret for secret in SECRETS if secret in text]
    opened, *frames, closed = read(path)
    assert (opened["event"], opened["peer"], opened["process"]) == ("open", str(echo.target), os.getpid())
    assert (closed["event"], closed["reason"]) == ("close", "the connection was closed by this client")
    assert {one["connection"] for one in frames} == {opened["connection"]}
    times = [one["time"] for one in frames]
    assert times == sorted(times)
    requests = [one for one in frames if one["direction"] == "out" and one["type"] == "HEADERS"]
    assert [one["stream"] for one in requests] == [1, 3, 5, 7]
    headers = dict(map(tuple, requests[0]["headers"]))
    assert headers[":path"] == "/test.Echo/Echo"
    assert headers["authorization"] == headers["api-key"] == headers["cookie"] == "[hidden]"
    assert headers["x-note"] == "plain"
    ends = [one for one in frames if one["direction"] == "in" and "END_STREAM" in one["flags"]]
    statuses = [dict(map(tuple, one["headers"]))["grpc-status"] for one in ends]
    assert statuses == ["0", "0", "0", "5"]
    lengths = Counter(one["direction"] for one in frames for _ in range(one["length"] + 9))
    goaway = next(one for one in reversed(frames) if one["type"] == "GOAWAY")
    assert lengths["out"] + 24 - goaway["length"] - 9 == stats.bytes_sent  # The preface is no frame.
    assert lengths["in"] >= stats.bytes_received


async def test_connections_share_a_trace(connect: Connect, echo: e.Running, tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text('{"event": "mine"}\n')
    for _ in range(2):
        await connect(echo.target, trace=str(path)).unary(e.ECHO, b"x")
    records = read(path)
    assert records[0] == {"event": "mine"}
    assert len({one["connection"] for one in records[1:]}) == 2


async def test_a_trace_that_cannot_be_written(
    connect: Connect, echo: e.Running, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning, and the calls go on."""
    channel = connect(echo.target, trace=str(tmp_path / "no" / "such" / "folder"))
    assert await channel.unary(e.ECHO, b"x") == b"x"
    (record,) = caplog.records
    assert (record.levelname, record.getMessage().split(":")[0]) == ("WARNING", "no trace is written")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
async def test_a_trace_on_a_full_disk(connect: Connect, echo: e.Running, caplog: pytest.LogCaptureFixture) -> None:
    channel = connect(echo.target, trace="/dev/full")
    assert await channel.unary(e.ECHO, b"x") == b"x"
    (record,) = caplog.records
    assert record.getMessage().startswith("the trace /dev/full ends here: ")


def test_a_trace_is_its_users_own(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    Trace(str(path), 1, "peer").close("done")
    assert path.stat().st_mode & 0o077 == 0


async def test_httpx_requests(anyio_backend: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Basic authentication, cookies of both sides, and the query are not shown."""
    caplog.set_level(logging.DEBUG, "boxd.transport")

    async def script(peer: Peer) -> None:
        request = await peer.expect_headers()
        head = [(b":status", b"200"), (b"set-cookie", b"s3cret-cookie"), (b"x-note", b"plain")]
        await peer.send(peer.head(request.stream, head), f.data(request.stream, b"s3cret-body", end=True))
        await peer.expect_eof()

    path = tmp_path / "trace.jsonl"
    basic = base64.b64encode(b"user:s3cret-password").decode()
    async with FaultServer(script) as server:
        transport = HTTP2Transport(trace=str(path))
        async with httpx.AsyncClient(transport=transport, cookies={"c": "s3cret-key"}) as client:
            url = f"http://127.0.0.1:{server.target.port}/path?q=s3cret-token"
            response = await client.get(url, auth=("user", "s3cret-password"))
            assert response.text == "s3cret-body"
            assert response.cookies
        assert transport.stats() == Stats(
            connections_opened=1,
            streams_opened=1,
            bytes_sent=transport.stats().bytes_sent,
            bytes_received=transport.stats().bytes_received,
        )
    for text in (path.read_text(), caplog.text):
        assert "/path?[hidden]" in text
        assert "plain" in text
        assert not [secret for secret in (*SECRETS, basic) if secret in text]


# -- counters


async def test_the_counters_of_calls(connect: Connect, echo: e.Running) -> None:
    channel = connect(echo.target)
    assert channel.stats() == Stats()
    await all_kinds(channel)
    async with channel.call(e.CHAT) as call:
        await call.send(b"x")
        assert await call.receive() == b"x"
        during = channel.stats()
    assert (during.connections_opened, during.connections_open, during.connections_failed) == (1, 1, 0)
    assert (during.calls, during.streams_opened, during.streams_open) == (5, 5, 1)
    before = channel.stats()
    assert await channel.unary(e.ECHO, bytes(100_000)) == bytes(100_000)
    after = channel.stats()
    assert 100_000 < after.bytes_sent - before.bytes_sent < 101_000
    assert 100_000 < after.bytes_received - before.bytes_received < 101_000
    await channel.aclose()
    assert (channel.stats().connections_open, channel.stats().streams_open) == (0, 0)
    assert channel.stats().connections_lost == 0


async def test_the_counters_of_failures(connect: Connect) -> None:
    async def refuse(peer: Peer) -> None:
        request = await peer.expect_headers()
        await peer.send(f.rst(request.stream, f.REFUSED_STREAM))
        request = await peer.expect_headers()
        await peer.send(peer.answer(request.stream, b"x"), f.goaway(request.stream))
        await peer.expect_eof()

    async def drop(peer: Peer) -> None:
        await peer.expect_headers()
        await peer.close()

    async with FaultServer(refuse, drop) as server:
        channel = connect(server.target)
        assert await channel.unary(e.ECHO, b"") == b"x"
        with pytest.raises(ConnectionLost), anyio.fail_after(5):
            await channel.unary(e.ECHO, b"")
        await wait_until(lambda: channel.stats().connections_lost == 1)
        stats = channel.stats()
    assert (stats.calls, stats.streams_opened, stats.transparent_retries) == (2, 3, 1)
    assert (stats.connections_opened, stats.connections_lost, stats.goaways) == (2, 1, 1)
    nobody = connect(Target("http", "127.0.0.1", 1))
    with pytest.raises(ConnectFailed):
        await nobody.unary(e.ECHO, b"")
    assert nobody.stats() == Stats(calls=1, connections_failed=1)


async def test_the_counters_of_keepalive_and_policy(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boxd.transport.options.MIN_KEEPALIVE_TIME", 0.01)
    pinged = anyio.Event()

    async def script(peer: Peer) -> None:
        request = await peer.expect_headers()
        await peer.send(peer.head(request.stream, [*RESPONSE, (b"grpc-status", b"14")], end=True))
        request = await peer.expect_headers()
        ping = await peer.expect(f.PING)
        await peer.send(f.ping(ping.payload, ack=True))
        pinged.set()
        await peer.send(peer.answer(request.stream, b"x"))
        await peer.expect_eof()

    options = ConnectionOptions(keepalive_time=0.1, retry=RetryPolicy(initial_backoff=0.01))
    async with FaultServer(script) as server:
        channel = connect(server.target, connection_options=options)
        assert await channel.unary(replace(e.ECHO, idempotent=True), b"", timeout=5) == b"x"
        assert pinged.is_set()
        stats = channel.stats()
    assert (stats.calls, stats.policy_retries, stats.transparent_retries) == (1, 1, 0)
    assert stats.pings >= 1


async def test_the_counters_over_http1(connect: Connect) -> None:
    async def answer(stream: SocketStream) -> None:
        async with stream:
            while b"\r\n\r\n" not in await stream.receive():
                pass
            await stream.send(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n")

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, answer)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        channel = connect(Target("http", "127.0.0.1", port), protocol="connect", http_version="1.1")
        with pytest.raises(RpcError):
            await channel.unary(e.ECHO, b"", timeout=5)
        await wait_until(lambda: channel.stats() == Stats(calls=1, streams_opened=1))
        tasks.cancel_scope.cancel()


def test_counts_are_added() -> None:
    assert Stats(calls=1, pings=2) + Stats(calls=3, goaways=1) == Stats(calls=4, pings=2, goaways=1)
    assert str(Stats(calls=1)).startswith("Stats(")
    with pytest.raises(TypeError):
        Stats() + 1  # type: ignore[operator]
