"""Credentials, and the exchange of a key for a token."""

from __future__ import annotations

import logging
import socket
import traceback
from typing import Any

import anyio
import pytest

import boxd
from tests.acceptance.conftest import Connect
from tests.client.exchange_server import serving, token_reply
from tests.conftest import StartServer
from tests.fixtures.servers import Server

pytestmark = pytest.mark.anyio

SECRET = "bxd_a-key-that-must-not-be-shown"


@pytest.fixture
def key_settings(emulator: Server) -> dict[str, str]:
    """Settings with the key instead of a token."""
    return {"api_key": emulator.api_key, "api_url": emulator.api_url, "exchange_url": emulator.exchange_url}


def assert_hidden(error: BaseException, secret: str, caplog: pytest.LogCaptureFixture) -> None:
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    assert secret not in text + repr(error) + caplog.text


async def test_no_credential(compute: Connect) -> None:
    with pytest.raises(boxd.AuthenticationError) as caught:
        compute()
    for name in ("api_key", "token", "BOXD_API_KEY", "BOXD_TOKEN"):
        assert name in str(caught.value)


async def test_a_key(compute: Connect, key_settings: dict[str, str]) -> None:
    async with compute(**key_settings) as client:
        assert (await client.whoami()).user_id == "local-user"
        assert SECRET not in repr(client)


async def test_a_wrong_key(compute: Connect, key_settings: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with compute(**{**key_settings, "api_key": SECRET}) as client:
        for _ in range(2):
            with pytest.raises(boxd.AuthenticationError, match="invalid or expired API key") as caught:
                await client.whoami()
            assert caught.value.grpc_code == 16
            assert_hidden(caught.value, SECRET, caplog)


async def test_a_wrong_token(compute: Connect, server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with compute(token=f"{SECRET}.x.y", api_url=server.api_url) as client:
        with pytest.raises(boxd.AuthenticationError) as caught:
            await client.whoami()
        assert caught.value.grpc_code == 16
        assert_hidden(caught.value, SECRET, caplog)
        with pytest.raises(boxd.AuthenticationError):
            await client.box.list()


async def test_a_rate_limit_that_passes_is_waited_for(compute: Connect, start_server: StartServer) -> None:
    with start_server("emulator", exchange_requests=1, exchange_window=0.5) as limited:
        settings = {"api_key": limited.api_key, "api_url": limited.api_url, "exchange_url": limited.exchange_url}
        async with compute(**settings) as first, compute(**settings) as second:
            await first.whoami()
            assert (await second.whoami()).user_id == "local-user"


async def test_a_rate_limit_that_lasts(compute: Connect, start_server: StartServer) -> None:
    with start_server("emulator", exchange_requests=1, exchange_window=600) as limited:
        settings = {"api_key": limited.api_key, "api_url": limited.api_url, "exchange_url": limited.exchange_url}
        async with compute(**settings) as first, compute(**settings) as second:
            await first.whoami()
            with anyio.fail_after(10), pytest.raises(boxd.AuthenticationError, match="rate limit is 30 a minute"):
                await second.whoami()


async def test_one_exchange_for_all_calls(compute: Connect, emulator: Server) -> None:
    with serving(token_reply(emulator.token)) as exchange:
        async with compute(api_key=SECRET, api_url=emulator.api_url, exchange_url=exchange.url) as client:
            async with anyio.create_task_group() as tasks:
                for _ in range(40):
                    tasks.start_soon(client.whoami)
            await client.whoami()
        assert [body for _, _, body in exchange.requests] == [{"api_key": SECRET}]


async def test_a_token_is_renewed_before_it_expires(compute: Connect, emulator: Server) -> None:
    """The margin is 300 s, so a token of 290 s is due at once, and one of an hour is kept."""
    replies = [token_reply(emulator.token, 290), token_reply(emulator.token, 3600)]
    with serving(*replies) as exchange:
        async with compute(api_key=SECRET, api_url=emulator.api_url, exchange_url=exchange.url) as client:
            for _ in range(4):
                await client.whoami()
        assert len(exchange.requests) == 2


async def test_a_token_that_the_server_no_longer_takes_is_replaced(compute: Connect, emulator: Server) -> None:
    with serving(token_reply("stale.token.x"), token_reply(emulator.token)) as exchange:
        async with compute(api_key=SECRET, api_url=emulator.api_url, exchange_url=exchange.url) as client:
            with pytest.raises(boxd.AuthenticationError):
                await client.whoami()  # It has just been issued: another one would do no better.
            await client.whoami()
        assert len(exchange.requests) == 2


async def test_an_exchange_that_is_not_there(compute: Connect, emulator: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}/token"
    async with compute(api_key=SECRET, api_url=emulator.api_url, exchange_url=url) as client:
        with anyio.fail_after(15), pytest.raises(boxd.ConnectionError, match=url) as caught:
            await client.whoami()
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ((200, {}, b"<html>not this</html>"), boxd.InternalError),
        ((200, {}, b'{"token": 5}'), boxd.InternalError),
        ((302, {"location": "http://elsewhere/"}, b""), boxd.InternalError),
        ((404, {}, b""), boxd.InternalError),
        ((403, {}, b""), boxd.AuthenticationError),
    ],
)
async def test_an_exchange_that_answers_something_else(
    compute: Connect, emulator: Server, reply: Any, error: type[boxd.BoxdError]
) -> None:
    with serving(reply) as exchange:
        async with compute(api_key=SECRET, api_url=emulator.api_url, exchange_url=exchange.url) as client:
            with pytest.raises(error, match=exchange.url) as caught:
                await client.whoami()
    assert SECRET not in str(caught.value)
