"""What the token exchange may answer, and what comes of it."""

from __future__ import annotations

import gc
import json
import socket
import threading
import time
from email.utils import formatdate
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest

from boxd import auth
from boxd.errors import AuthenticationError, BoxdError, ConnectionError, InternalError, TimeoutError
from tests.client.exchange_server import Reply, serving, token_reply
from tests.client.exchanges import Clock, exchange_at, failure_of, mocked

pytestmark = pytest.mark.anyio


@pytest.mark.row(48)
async def test_401() -> None:
    with serving((401, {}, b'{"error": "no"}')) as server:
        error = await failure_of(exchange_at(server.url))
        assert type(error) is AuthenticationError
        assert str(error) == "invalid or expired API key"
        assert error.grpc_code == 16
        assert len(server.requests) == 1


@pytest.mark.row(48)
@pytest.mark.parametrize("status", [400, 403])
async def test_a_refused_key(status: int) -> None:
    with serving((status, {}, b"")) as server:
        error = await failure_of(exchange_at(server.url))
        assert type(error) is AuthenticationError
        assert server.url in str(error)


@pytest.mark.row(48)
async def test_one_refusal_for_everybody_who_waits() -> None:
    release = threading.Event()
    with serving(lambda: (release.wait(5), (401, {}, b""))[1]) as server:
        exchange = exchange_at(server.url)
        errors: list[BoxdError] = []

        async def one() -> None:
            errors.append(await failure_of(exchange))

        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(one)
            await anyio.wait_all_tasks_blocked()
            release.set()
        assert [type(error) for error in errors] == [AuthenticationError] * 20
        assert len(server.requests) == 1


@pytest.mark.row(49)
@pytest.mark.parametrize("retry_after", ["0", "garbage", "", "-5", None, "date"])
async def test_429_waits_once_and_works(retry_after: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    sleep = anyio.sleep

    async def counted(delay: float) -> None:
        pauses.append(delay)
        await sleep(0)

    monkeypatch.setattr(anyio, "sleep", counted)
    value = formatdate(time.time() + 20, usegmt=True) if retry_after == "date" else retry_after
    with serving((429, {} if value is None else {"retry-after": value}, b""), token_reply()) as server:
        assert await exchange_at(server.url).refresh() == "Bearer jwt-1"
        assert len(server.requests) == 2
    expected = {"0": (0, 0), "date": (15, 20)}.get(str(retry_after), (1, 1))
    assert len(pauses) == 1
    assert expected[0] <= pauses[0] <= expected[1]


@pytest.mark.row(49)
async def test_429_twice_is_the_rate_limit() -> None:
    with serving((429, {"retry-after": "0"}, b"")) as server:
        error = await failure_of(exchange_at(server.url))
        assert type(error) is AuthenticationError
        assert "rate limit" in str(error)
        assert "30" in str(error)
        assert server.url in str(error)
        assert len(server.requests) == 2


@pytest.mark.row(49)
@pytest.mark.parametrize("retry_after", ["86400", "9" * 400])
async def test_429_for_too_long_is_not_waited_for(retry_after: str) -> None:
    with serving((429, {"retry-after": retry_after}, b"")) as server:
        with anyio.fail_after(5):
            error = await failure_of(exchange_at(server.url))
        assert "rate limit" in str(error)
        assert len(server.requests) == 1


FUTURE = int(time.time()) + 3600


@pytest.mark.row(51)
@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"null", b"{", b"\xff\xfe", b"[" * 100_000]
    + [
        json.dumps(fields).encode()
        for fields in (
            {"expires_at": FUTURE},
            {"token": "", "expires_at": FUTURE},
            {"token": None, "expires_at": FUTURE},
            {"token": "line\nbreak", "expires_at": FUTURE},
            {"token": "t"},
            {"token": "t", "expires_at": 0},
            {"token": "t", "expires_at": -1},
            {"token": "t", "expires_at": 1000},
            {"token": "t", "expires_at": "3600"},
            {"token": "t", "expires_at": True},
            {"token": "t", "expires_at": float("nan")},
            {"token": "t", "expires_at": None},
        )
    ],
)
async def test_a_bad_answer_names_the_url(body: bytes) -> None:
    with serving((200, {}, body)) as server:
        error = await failure_of(exchange_at(server.url))
        assert type(error) is InternalError
        assert server.url in str(error)


@pytest.mark.row(51)
@pytest.mark.parametrize("expires_at", ["1e300", "9" * 300, "Infinity"])
async def test_a_lifetime_without_end_is_cut(expires_at: str) -> None:
    clock = Clock()
    with serving((200, {}, f'{{"token": "t", "expires_at": {expires_at}}}'.encode())) as server:
        exchange = exchange_at(server.url, clock=clock)
        await exchange.refresh()
        clock.now += 40 * 24 * 3600
        assert exchange.current() is None


@pytest.mark.row(51)
async def test_a_huge_body_is_not_read() -> None:
    sent = 0

    async def body() -> Any:
        nonlocal sent
        while sent < 1 << 30:
            sent += 1 << 16
            await anyio.lowlevel.checkpoint()
            yield b" " * (1 << 16)

    error = await failure_of(mocked(lambda request: httpx.Response(200, content=body())))
    assert type(error) is InternalError
    assert "https://boxd.test/token" in str(error)
    assert sent < 1 << 21
    gc.collect()


@pytest.mark.row(48)
@pytest.mark.parametrize("status", [302, 404, 418])
async def test_another_status(status: int) -> None:
    with serving((status, {"location": "http://127.0.0.1:1/"}, b"x")) as server:
        error = await failure_of(exchange_at(server.url))
        assert type(error) is InternalError
        assert str(status) in str(error)
        assert server.url in str(error)
        assert len(server.requests) == 1


@pytest.mark.row(50)
@pytest.mark.parametrize("status", [500, 502, 503])
async def test_a_failing_server_is_asked_again(status: int) -> None:
    failing: Reply = (status, {}, b"")
    with serving(failing, failing, token_reply()) as server:
        assert await exchange_at(server.url).refresh() == "Bearer jwt-1"
    with serving(failing) as server:
        error = await failure_of(exchange_at(server.url))
        assert type(error) is ConnectionError
        assert str(status) in str(error)
        assert server.url in str(error)
        assert len(server.requests) == auth.ATTEMPTS


@pytest.mark.row(50)
async def test_unreachable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # Bound and not listening: connections are refused.
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/token"
        error = await failure_of(exchange_at(url))
    assert type(error) is ConnectionError
    assert error.grpc_code == 14
    assert url in str(error)


@pytest.mark.row(50)
async def test_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "ATTEMPT_TIMEOUT", 0.1)
    release = threading.Event()
    with serving(lambda: (release.wait(5), token_reply())[1]) as server:
        error = await failure_of(exchange_at(server.url))
        release.set()
        assert type(error) is TimeoutError
        assert error.grpc_code == 4
        assert server.url in str(error)
