"""Calls that are made again although the server may have seen them: only those that may be repeated (R56)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import anyio
import pytest

from boxd.transport import (
    Channel,
    ChannelClosed,
    ConnectFailed,
    ConnectionLost,
    ConnectionOptions,
    DeadlineExceeded,
    RetryPolicy,
    RpcError,
    StatusCode,
    Target,
    TlsFailed,
)
from boxd.transport.counters import Counters
from boxd.transport.http2.stream import Headers
from boxd.transport.retry import PUSHBACK, Retries, RetryBudget
from tests.fixtures import echo_server as e
from tests.fixtures import frames as f
from tests.fixtures.fault_server import FaultServer, Peer
from tests.transport.test_faults import serve_echo, wait_until
from tests.transport.test_pool import free_port

Connect = Callable[..., Channel]
SAFE = replace(e.ECHO, idempotent=True)
SAFE_COUNT = replace(e.COUNT, idempotent=True)
QUICK = ConnectionOptions(retry=RetryPolicy(initial_backoff=0.001), backoff_initial=0.01)
UNAVAILABLE: Headers = [(b":status", b"200"), (b"content-type", b"application/grpc"), (b"grpc-status", b"14")]
ATTEMPTS = b"grpc-previous-rpc-attempts"


def lost(**options: Any) -> ConnectionLost:
    return ConnectionLost("lost", **options)


def retries(*, idempotent: bool = True, **policy: Any) -> Retries:
    made = RetryPolicy(**policy)
    return Retries(made, RetryBudget(made), idempotent, Counters())


def test_r56_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    bounds = []

    def uniform(low: float, high: float) -> float:
        bounds.append((low, high))
        return high

    monkeypatch.setattr("random.uniform", uniform)
    one = retries(max_attempts=5, initial_backoff=1, multiplier=3, max_backoff=10)
    waits = [one.delay(lost(), False, 0, None) for _ in range(5)]
    assert waits == [pytest.approx(1.2), pytest.approx(3.6), pytest.approx(10.8), pytest.approx(12), None]
    assert set(bounds) == {(0.8, 1.2)}


def test_r56_who_is_not_asked_again() -> None:
    assert retries(idempotent=False).delay(lost(), False, 0, None) is None
    assert retries().delay(lost(), True, 0, None) is None
    assert retries(max_attempts=1).delay(lost(), False, 0, None) is None
    for code in set(StatusCode) - {StatusCode.UNAVAILABLE, StatusCode.OK}:
        assert retries().delay(RpcError("", code), False, 0, None) is None


def test_r56_a_server_that_was_never_there_is_reported_at_once() -> None:
    assert retries().delay(ConnectFailed(""), False, 0, None) is None
    one = retries()
    assert one.delay(lost(), False, 0, None)
    assert one.delay(ConnectFailed(""), False, 7, None) == 7
    assert one.delay(TlsFailed(""), False, 7, None) is None


@pytest.mark.parametrize(
    ("pushback", "wait"),
    [("0", 0), ("1500", 1.5), ("-1", None), ("", None), ("soon", None), ("1.5", None), ("9" * 12, None)],
)
def test_r56_pushback_is_obeyed_exactly(pushback: str, wait: float | None) -> None:
    assert retries().delay(lost(trailers=[(PUSHBACK, pushback)]), False, 0, None) == wait


def test_r56_token_bucket() -> None:
    policy = RetryPolicy(max_tokens=4, token_ratio=0.5)
    budget = RetryBudget(policy)
    assert [budget.failed() for _ in range(3)] == [True, False, False]
    for _ in range(3):
        budget.succeeded()
    assert (budget.tokens, budget.failed()) == (2.5, False)
    for _ in range(20):
        budget.succeeded()
    assert budget.tokens == 4


def test_transparent_repetitions_are_not_attempts() -> None:
    one = retries()
    assert one.delay(lost(unprocessed=True), False, 0, None) == 0
    assert one.attempts == 0


@pytest.mark.parametrize(
    "wrong",
    [{"max_attempts": 6}, {"max_attempts": 0}, {"initial_backoff": -1}, {"multiplier": 0.5}, {"max_tokens": "many"}],
    ids=str,
)
def test_policies_that_are_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RetryPolicy(**wrong)


async def unary(channel: Channel, **options: Any) -> Any:
    return await channel.unary(SAFE, b"next", **options)


async def stream(channel: Channel, **options: Any) -> Any:
    async with channel.call(SAFE_COUNT, **options) as call:
        await call.send(b"ne")
        await call.send(b"xt", end=True)
        return b"".join([one async for one in call])


BOTH = pytest.mark.parametrize("call", [unary, stream])
Work = Callable[..., Awaitable[Any]]


def failing(times: int, seen: list[Any], trailers: Headers = UNAVAILABLE) -> Callable[[Peer], Awaitable[None]]:
    """Fails so many calls with a status and no headers, then serves."""

    async def script(peer: Peer) -> None:
        for _ in range(times):
            request = await peer.expect_headers()
            seen.append(dict(request.headers).get(ATTEMPTS))
            await peer.send(peer.head(request.stream, trailers, end=True))
        await serve_echo(peer)

    return script


@BOTH
@pytest.mark.anyio
async def test_r56_made_again_until_it_succeeds(connect: Connect, call: Work) -> None:
    seen: list[Any] = []
    async with FaultServer(failing(3, seen)) as server:
        channel = connect(server.target, connection_options=QUICK)
        assert await call(channel) == b"next"
        assert seen == [None, b"1", b"2"]
        assert channel.budget.tokens == pytest.approx(7.1)


@BOTH
@pytest.mark.anyio
async def test_r56_no_more_than_so_often(connect: Connect, call: Work) -> None:
    seen: list[Any] = []
    async with FaultServer(failing(100, seen)) as server:
        with pytest.raises(RpcError) as caught:
            await call(connect(server.target, connection_options=QUICK))
        assert caught.value.code is StatusCode.UNAVAILABLE
        assert caught.value.origin == "server"
        assert seen == [None, b"1", b"2", b"3"]


@pytest.mark.parametrize("method", [e.ECHO, e.COUNT], ids=["unary", "stream"])
@pytest.mark.anyio
async def test_r56_never_a_method_that_may_not_be_repeated(connect: Connect, method: Any) -> None:
    seen: list[Any] = []
    async with FaultServer(failing(1, seen)) as server:
        channel = connect(server.target, connection_options=QUICK)
        async with channel.call(method) as call:
            await call.send(b"x", end=True)
            with pytest.raises(RpcError):
                await call.receive()
        assert await channel.unary(e.ECHO, b"x") == b"x"
        assert len(f.of_kind(server.peers[0].frames, f.HEADERS)) == 2


@BOTH
@pytest.mark.anyio
async def test_r56_not_after_the_response_has_begun(connect: Connect, call: Work) -> None:
    async def script(peer: Peer) -> None:
        request = await peer.expect_headers()
        await peer.send(peer.head(request.stream), peer.head(request.stream, [(b"grpc-status", b"14")], end=True))
        await serve_echo(peer)

    async with FaultServer(script) as server:
        channel = connect(server.target, connection_options=QUICK)
        with pytest.raises(RpcError) as caught:
            await call(channel)
        assert caught.value.code is StatusCode.UNAVAILABLE
        assert await call(channel) == b"next"
        assert len(f.of_kind(server.peers[0].frames, f.HEADERS)) == 2


@BOTH
@pytest.mark.anyio
async def test_r56_a_lost_connection_is_bridged(connect: Connect, call: Work) -> None:
    """The server goes in the middle of the call, is away for a moment, and comes back."""

    async def script(peer: Peer) -> None:
        await peer.expect_headers()
        await peer.close()

    async with FaultServer(script, serve_echo) as server:
        channel = connect(server.target, connection_options=QUICK)
        dial, count = channel._pool._dial, 0  # type: ignore[attr-defined]

        async def sometimes() -> Any:
            nonlocal count
            count += 1
            if count == 2:
                raise ConnectFailed("away", unprocessed=True)
            return await dial()

        channel._pool._dial = sometimes  # type: ignore[attr-defined]
        assert await call(channel) == b"next"
        assert count == 3


@pytest.mark.anyio
async def test_r56_pushback_from_a_server(connect: Connect) -> None:
    seen: list[Any] = []
    async with FaultServer(failing(1, seen, [*UNAVAILABLE, (b"grpc-retry-pushback-ms", b"-1")])) as server:
        with pytest.raises(RpcError):
            await unary(connect(server.target, connection_options=QUICK))
    options = ConnectionOptions(retry=RetryPolicy(initial_backoff=60, max_backoff=60))
    async with FaultServer(failing(1, seen, [*UNAVAILABLE, (b"grpc-retry-pushback-ms", b"10")])) as server:
        assert await unary(connect(server.target, connection_options=options)) == b"next"


@BOTH
@pytest.mark.anyio
async def test_r56_no_attempt_that_cannot_be_in_time(connect: Connect, call: Work) -> None:
    """The server's own status comes at once, rather than a deadline later."""
    options = ConnectionOptions(retry=RetryPolicy(initial_backoff=60, max_backoff=60))
    async with FaultServer(failing(100, [])) as server:
        with anyio.fail_after(5), pytest.raises(RpcError) as caught:
            await call(connect(server.target, connection_options=options), timeout=30)
        assert not isinstance(caught.value, DeadlineExceeded)


@BOTH
@pytest.mark.anyio
async def test_r67_the_end_of_the_channel_ends_the_wait(connect: Connect, call: Work) -> None:
    options = ConnectionOptions(retry=RetryPolicy(initial_backoff=60, max_backoff=60))
    async with FaultServer(failing(100, [])) as server:
        channel = connect(server.target, connection_options=options)

        async def one() -> None:
            with pytest.raises(ChannelClosed):
                await call(channel)

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(one)
                await wait_until(lambda: bool(channel._pauses))
                await channel.aclose()


@BOTH
@pytest.mark.anyio
async def test_r34_cancelled_while_it_waits(connect: Connect, call: Work) -> None:
    """The fixture looks for what is left."""
    options = ConnectionOptions(retry=RetryPolicy(initial_backoff=60, max_backoff=60))
    async with FaultServer(failing(100, [])) as server:
        channel = connect(server.target, connection_options=options)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call, channel)
            await wait_until(lambda: bool(channel._pauses))
            tasks.cancel_scope.cancel()
        await wait_until(lambda: not channel._pauses)


@pytest.mark.anyio
async def test_r56_nobody_there_is_no_reason_to_wait(connect: Connect) -> None:
    with anyio.fail_after(5), pytest.raises(ConnectFailed):
        await unary(connect(Target("http", "127.0.0.1", free_port())))


@pytest.mark.anyio
async def test_r56_with_grpcio(connect: Connect, echo: Any) -> None:
    """A server that is not ours, whose failures come without headers."""
    channel = connect(echo.target, connection_options=QUICK)
    with pytest.raises(RpcError, match="no") as caught:
        await channel.unary(replace(e.FAIL, idempotent=True), bytes([14]) + b"no")
    assert caught.value.code is StatusCode.UNAVAILABLE
    assert channel.budget.tokens == 6
    with pytest.raises(RpcError):
        await channel.unary(e.FAIL, bytes([14]) + b"no")
    assert channel.budget.tokens == 6
