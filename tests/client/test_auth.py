from __future__ import annotations

import threading
import time
from email.utils import formatdate

import anyio
import anyio.lowlevel
import httpx
import pytest

from boxd import auth
from boxd.auth import KeyExchange, TokenSource
from boxd.config import Secret
from boxd.errors import AuthenticationError, BoxdError
from tests.client.exchange_server import Reply, serving, token_reply
from tests.client.exchanges import KEY, Clock, exchange_at, failure_of, mocked

pytestmark = pytest.mark.anyio


async def test_a_token_is_sent_as_it_is() -> None:
    source = TokenSource(Secret("jwt"))
    assert source.current() == await source.refresh() == "Bearer jwt"
    assert not source.reject("Bearer jwt")


async def test_a_key_is_exchanged_once_and_kept() -> None:
    with serving(token_reply("jwt-1")) as server:
        exchange = exchange_at(server.url)
        assert exchange.current() is None
        assert await exchange.refresh() == "Bearer jwt-1"
        assert exchange.current() == "Bearer jwt-1"
        ((path, headers, body),) = server.requests
        assert path == "/api/v1/auth/token"
        assert headers["content-type"] == "application/json"
        assert body == {"api_key": KEY}
        assert "jwt-1" not in repr(exchange)


async def test_renewed_300_seconds_before_it_expires() -> None:
    clock = Clock()
    with serving(lambda: token_reply("jwt-1"), lambda: token_reply("jwt-2")) as server:
        exchange = exchange_at(server.url, clock=clock)
        await exchange.refresh()
        clock.now += 3600 - 300 - 2
        assert exchange.current() == "Bearer jwt-1"
        clock.now += 4
        assert exchange.current() is None
        assert await exchange.refresh() == "Bearer jwt-2"


@pytest.mark.row(52)
async def test_the_servers_clock_counts_not_ours() -> None:
    """A machine whose clock is two hours ahead still gets an hour's token."""
    past = time.time() - 7200

    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(
            200, json={"token": "t", "expires_at": past + 3600}, headers={"date": formatdate(past, usegmt=True)}
        )

    exchange = mocked(handler)
    await exchange.refresh()
    assert exchange.current() == "Bearer t"


@pytest.mark.row(52)
@pytest.mark.parametrize("jump", [-7 * 86_400, 7 * 86_400])
async def test_a_jump_of_the_wall_clock_changes_nothing(jump: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(token_reply()) as server:
        exchange = exchange_at(server.url)
        await exchange.refresh()
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + jump)
        assert exchange.current() == "Bearer jwt-1"


@pytest.mark.row(53)
async def test_a_hundred_calls_one_exchange() -> None:
    with serving(lambda: (time.sleep(0.1), token_reply())[1]) as server:  # type: ignore[func-returns-value]
        exchange = exchange_at(server.url)
        headers: list[str] = []

        async def call() -> None:
            headers.append(await exchange.refresh())

        async with anyio.create_task_group() as group:
            for _ in range(100):
                group.start_soon(call)
        assert headers == ["Bearer jwt-1"] * 100
        assert len(server.requests) == 1


@pytest.mark.row(53)
async def test_a_cancelled_first_waiter_does_not_cancel_the_exchange() -> None:
    gate = threading.Event()
    with serving(lambda: (gate.wait(5), token_reply())[1]) as server:
        exchange = exchange_at(server.url)
        headers: list[str] = []
        first = anyio.CancelScope()

        async def impatient() -> None:
            with first:
                await exchange.refresh()

        async def patient() -> None:
            headers.append(await exchange.refresh())

        async with anyio.create_task_group() as group:
            group.start_soon(impatient)
            await anyio.wait_all_tasks_blocked()
            group.start_soon(patient)
            group.start_soon(patient)
            await anyio.wait_all_tasks_blocked()
            first.cancel()
            await anyio.sleep(0.05)
            gate.set()
        assert headers == ["Bearer jwt-1"] * 2
        assert len(server.requests) == 1


async def test_an_exchange_that_nobody_waits_for_is_given_up() -> None:
    ended = anyio.Event()

    async def handler(request: httpx.Request) -> httpx.Response:
        try:
            await anyio.sleep(30)
        finally:
            ended.set()
        return httpx.Response(500)

    exchange = mocked(handler)
    with anyio.move_on_after(0.05):
        await exchange.refresh()
    with anyio.fail_after(5):
        await ended.wait()
    assert exchange._flight is None


async def test_close_ends_an_exchange() -> None:
    exchange = mocked(lambda request: anyio.sleep(30))
    errors: list[Exception] = []

    async def call() -> None:
        try:
            await exchange.refresh()
        except BoxdError as error:
            errors.append(error)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(call)
            group.start_soon(call)
            await anyio.wait_all_tasks_blocked()
            await exchange.aclose()
    assert len(errors) == 2
    assert errors[0] is not errors[1]
    assert "closed" in str(errors[0])


@pytest.mark.row(50)
async def test_an_old_token_is_used_while_it_is_good() -> None:
    clock = Clock()
    failing: Reply = (500, {}, b"")
    with serving(token_reply("old"), failing, failing, failing, token_reply("new")) as server:
        exchange = exchange_at(server.url, clock=clock)
        await exchange.refresh()
        clock.now += 3400
        assert exchange.current() is None
        assert await exchange.refresh() == "Bearer old"
        assert exchange.current() == "Bearer old"
        assert len(server.requests) == 4
        clock.now += auth.HOLD_OFF + 1
        assert await exchange.refresh() == "Bearer new"


@pytest.mark.row(49)
async def test_a_rate_limit_does_not_hold_up_calls_that_have_a_token() -> None:
    clock = Clock()
    with serving(token_reply("old"), (429, {"retry-after": "50"}, b"")) as server:
        exchange = exchange_at(server.url, clock=clock)
        await exchange.refresh()
        clock.now += 3400
        with anyio.fail_after(5):
            assert await exchange.refresh() == "Bearer old"
        clock.now += 300
        error = await failure_of_soon(exchange, 0)
        assert error is None


async def failure_of_soon(exchange: KeyExchange, seconds: float) -> BoxdError | None:
    """The error of a refresh that is given so long; None while it still waits."""
    with anyio.move_on_after(seconds):
        await exchange.refresh()
    return None


@pytest.mark.row(48)
async def test_a_revoked_key_ends_the_old_token_too() -> None:
    clock = Clock()
    with serving(token_reply("old"), (401, {}, b"")) as server:
        exchange = exchange_at(server.url, clock=clock)
        await exchange.refresh()
        clock.now += 3400
        assert type(await failure_of(exchange)) is AuthenticationError


@pytest.mark.row(52)
async def test_a_refused_token_is_dropped() -> None:
    with serving(token_reply("one"), token_reply("two")) as server:
        exchange = exchange_at(server.url)
        one = await exchange.refresh()
        assert exchange.reject(one)
        assert exchange.current() is None
        two = await exchange.refresh()
        # The refusal of a token that was replaced meanwhile leaves the new one alone.
        assert exchange.reject(one)
        assert exchange.current() == two == "Bearer two"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_another_event_loop_starts_afresh() -> None:
    with serving(token_reply()) as server:
        exchange = exchange_at(server.url)
        stuck = mocked(lambda request: anyio.sleep(30))

        def elsewhere() -> None:
            async def main() -> None:
                with anyio.move_on_after(0.05):
                    async with anyio.create_task_group() as group:
                        group.start_soon(stuck.refresh)

            anyio.run(main)
            anyio.run(exchange.refresh)

        await anyio.to_thread.run_sync(elsewhere)
        assert await exchange.refresh() == "Bearer jwt-1"
        with anyio.move_on_after(0.05) as scope:
            await stuck.refresh()
        assert scope.cancelled_caught
