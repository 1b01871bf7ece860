"""What a gRPC request looks like on the wire (R1 to R8), and whose status codes are used for our own errors (R30)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from boxd.transport import Channel, StatusCode, errors
from boxd.transport.http2.stream import Headers
from boxd.transport.status import from_http, from_reset
from tests.fixtures import echo_server as e
from tests.fixtures import frames as f
from tests.fixtures.fault_server import FaultServer, Peer
from tests.fixtures.pair import RESPONSE

Connect = Callable[..., Channel]


async def request_of(connect: Connect, *, options: dict[str, Any] | None = None, **call: Any) -> Headers:
    """The header list of a unary call."""
    seen: list[Headers] = []

    async def script(peer: Peer) -> None:
        request = await peer.expect_headers()
        seen.append(request.headers)
        await peer.send(peer.answer(request.stream, b""))

    async with FaultServer(script) as server:
        await connect(server.target, **(options or {})).unary(e.ECHO, b"x" * 2_000, **call)
        seen[0].append((b"(authority)", server.target.authority.encode()))
    return seen[0]


@pytest.mark.anyio
async def test_r1_pseudo_headers_come_first(connect: Connect) -> None:
    headers = await request_of(connect)
    assert headers[:3] == [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/test.Echo/Echo")]
    assert headers[3] == (b":authority", dict(headers)[b"(authority)"])
    assert not any(name.startswith(b":") for name, _ in headers[4:])


@pytest.mark.anyio
async def test_r2_timeout_next_and_custom_metadata_last(connect: Connect) -> None:
    options = {"metadata": [("x-fixed", "1")]}
    headers = await request_of(connect, options=options, timeout=10, metadata=[("x-own", "2"), ("x-own", "3")])
    assert headers[4][0] == b"grpc-timeout"
    assert headers[-4:-1] == [(b"x-fixed", b"1"), (b"x-own", b"2"), (b"x-own", b"3")]


@pytest.mark.anyio
async def test_r3_te_and_no_connection_headers(connect: Connect) -> None:
    headers = await request_of(connect)
    assert (b"te", b"trailers") in headers
    names = {name for name, _ in headers}
    assert not names & {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"host"}


@pytest.mark.anyio
@pytest.mark.parametrize("codec", ["proto", "json"])
async def test_r4_content_type(connect: Connect, codec: str) -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        request = await peer.expect_headers()
        seen.append(request[b"content-type"])
        body = f.data(request.stream, f.message(b""))
        head = [(b":status", b"200"), (b"content-type", b"application/grpc+" + codec.encode())]
        await peer.send(peer.head(request.stream, head), body, peer.trailers(request.stream))

    raw = e.ECHO
    async with FaultServer(script) as server:
        channel = connect(server.target, codec=_Raw(codec))
        await channel.unary(raw, b"")
    assert seen == [b"application/grpc+" + codec.encode()]


class _Raw:
    """A codec of bytes under another's name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def encoder(self, method: Any) -> Callable[[Any], bytes]:
        return bytes

    def decoder(self, method: Any) -> Callable[[bytes], Any]:
        return bytes


@pytest.mark.anyio
async def test_r4_bare_type_is_protobuf(connect: Connect) -> None:
    async def script(peer: Peer) -> None:
        request = await peer.expect_headers()
        await peer.send(peer.answer(request.stream, b"answer"))

    assert (b"content-type", b"application/grpc") in RESPONSE
    async with FaultServer(script) as server:
        assert await connect(server.target).unary(e.ECHO, b"") == b"answer"


@pytest.mark.anyio
@pytest.mark.parametrize(("timeout", "low", "high"), [(10.0, 9_000_000, 10_000_000), (0.05, 30_000_000, 50_000_000)])
async def test_r5_timeout_on_the_wire(connect: Connect, timeout: float, low: int, high: int) -> None:
    value = dict(await request_of(connect, timeout=timeout))[b"grpc-timeout"]
    assert value[-1:] == (b"u" if timeout > 1 else b"n")
    assert low < int(value[:-1]) <= high


@pytest.mark.anyio
async def test_r6_no_deadline_no_header(connect: Connect) -> None:
    assert b"grpc-timeout" not in dict(await request_of(connect))


@pytest.mark.anyio
async def test_r7_user_agent(connect: Connect) -> None:
    headers = dict(await request_of(connect))
    assert headers[b"user-agent"].startswith(b"grpc-python-boxd")
    assert not headers.keys() & {b"accept", b"accept-encoding", b"connection"}
    headers = dict(await request_of(connect, options={"user_agent": "grpc-python-other/1"}))
    assert headers[b"user-agent"] == b"grpc-python-other/1"


@pytest.mark.anyio
async def test_r7_user_agent_in_metadata(connect: Connect) -> None:
    """Sent once: a call's wins over the channel's."""
    options = {"metadata": [("User-Agent", "mine/1")]}
    sent = await request_of(connect, options=options)
    assert [value for name, value in sent if name == b"user-agent"] == [b"mine/1"]
    sent = await request_of(connect, options=options, metadata=[("x", "y"), ("user-agent", "mine/2")])
    assert [value for name, value in sent if name == b"user-agent"] == [b"mine/2"]
    assert (b"x", b"y") in sent


@pytest.mark.anyio
async def test_r8_encodings(connect: Connect) -> None:
    headers = dict(await request_of(connect))
    assert headers[b"grpc-accept-encoding"] == b"identity,gzip"
    assert b"grpc-encoding" not in headers
    headers = dict(await request_of(connect, options={"compression": "gzip"}))
    assert headers[b"grpc-encoding"] == b"gzip"


def test_r30_statuses_of_our_own_errors() -> None:
    """None that says something of the application, such as NOT_FOUND, comes from anybody but the server."""
    codes = {
        StatusCode.CANCELLED,
        StatusCode.UNKNOWN,
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.PERMISSION_DENIED,
        StatusCode.RESOURCE_EXHAUSTED,
        StatusCode.UNIMPLEMENTED,
        StatusCode.INTERNAL,
        StatusCode.UNAVAILABLE,
        StatusCode.UNAUTHENTICATED,
    }
    classes = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.RpcError)]
    assert len(classes) > 10
    assert {one.default_code for one in classes} <= codes
    assert {from_http(status) for status in range(1_000)} <= codes
    assert {from_reset(code) for code in range(300)} <= codes
