"""API keys, tokens and the exchange of one for the other."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from boxd.emulator.errors import Code, EmulatorError
from boxd.emulator.exchange import PATH, Exchange, RateLimit
from boxd.emulator.tokens import Tokens
from tests.emulator.support import asynchronous


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_a_token_is_good_until_it_expires() -> None:
    clock = Clock()
    tokens = Tokens("key", "me", clock)
    token, expires_at = tokens.issue(60)
    assert expires_at == 1_000_060
    claims = tokens.check(f"Bearer {token}")
    assert (claims["sub"], claims["exp"]) == ("me", 1_000_060)
    clock.now += 60
    with pytest.raises(EmulatorError, match="expired") as caught:
        tokens.check(f"Bearer {token}")
    assert caught.value.code is Code.UNAUTHENTICATED


def test_what_is_no_good_token() -> None:
    tokens = Tokens("key", "me")
    token, _ = tokens.issue(60)
    header, claims, signature = token.split(".")
    foreign, _ = Tokens("key", "me").issue(60)
    for bad in (
        None,
        "",
        token,
        f"Basic {token}",
        "Bearer x",
        "Bearer a.b.c",
        f"Bearer {foreign}",
        f"Bearer {header}.{claims}x.{signature}",
        f"Bearer {header}.{claims}.",
        f"Bearer {header}.{claims}.{signature}é",
        f"Bearer {header}.{claims}",
    ):
        with pytest.raises(EmulatorError) as caught:
            tokens.check(bad)
        assert caught.value.code is Code.UNAUTHENTICATED
        assert token not in caught.value.message
    assert "key" not in repr(tokens)


def test_the_rate_limit_counts_per_source_over_a_window() -> None:
    clock = Clock()
    limit = RateLimit(3, 60, clock)
    assert [limit.wait("a") for _ in range(4)] == [0, 0, 0, 60]
    assert limit.wait("b") == 0
    clock.now += 59
    assert limit.wait("a") == 1
    clock.now += 1
    assert limit.wait("a") == 0


async def exchange(limit: int = 30) -> tuple[Exchange, str]:
    server = Exchange(Tokens("bxd_right", "me"), 3600, RateLimit(limit, 60), {"good": "new@example.org"}.get)
    return server, f"http://127.0.0.1:{await server.start('127.0.0.1', 0)}"


@asynchronous
async def test_a_key_gives_a_token() -> None:
    server, url = await exchange()
    async with httpx.AsyncClient() as client:
        for _ in range(2):
            answer = await client.post(url + PATH, json={"api_key": "bxd_right"})
            assert answer.status_code == 200
            assert answer.json()["user_id"] == "me"
            assert server._tokens.check("Bearer " + answer.json()["token"])["exp"] == answer.json()["expires_at"]
    await server.close()


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", PATH, b'{"api_key": "wrong"}', 401),
        ("POST", PATH, b'{"api_key": ""}', 401),
        ("POST", PATH, b'{"api_key": "\\ud800"}', 401),
        ("POST", PATH, b'{"api_key": 5}', 400),
        ("POST", PATH, b"{}", 400),
        ("POST", PATH, b"[]", 400),
        ("POST", PATH, b"\xff", 400),
        ("POST", PATH, b"", 400),
        ("POST", PATH, b"[" * 10000, 400),
        ("GET", PATH, b"", 405),
        ("POST", "/", b"{}", 404),
        ("POST", PATH, b" " * 17000, 413),
    ],
)
@asynchronous
async def test_refusals(method: str, path: str, body: bytes, status: int) -> None:
    server, url = await exchange()
    async with httpx.AsyncClient() as client:
        answer = await client.request(method, url + path, content=body)
    assert answer.status_code == status
    assert "bxd_right" not in answer.text
    assert isinstance(answer.json()["error"], str)
    assert (answer.headers.get("allow") == "POST") == (status == 405)
    await server.close()


@asynchronous
async def test_too_many_exchanges() -> None:
    server, url = await exchange(limit=2)
    async with httpx.AsyncClient() as client:
        statuses = [(await client.post(url + PATH, json={"api_key": "wrong"})) for _ in range(3)]
    assert [answer.status_code for answer in statuses] == [401, 401, 429]
    assert 1 <= int(statuses[2].headers["retry-after"]) <= 60
    await server.close()


@asynchronous
async def test_what_is_not_http() -> None:
    server, url = await exchange()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 4")
    writer.close()
    await server.close()


@asynchronous
async def test_closing_drops_idle_connections() -> None:
    server, url = await exchange()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    await asyncio.sleep(0.05)
    await server.close()
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
