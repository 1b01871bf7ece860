"""Where settings come from."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from tests.acceptance.conftest import Connect
from tests.fixtures.servers import Server

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://",
        "http://h:1/path",
        "http://h:1?q",
        "ftp://h:1",
        "h",
        ":80",
        "http://h:0",
        "http://h:99999",
        "http://u@h:1",
        "[::1",
        "h h:1",
    ],
)
async def test_a_malformed_api_url_is_named(compute: Connect, url: str) -> None:
    with pytest.raises(ValueError, match="api_url") as caught:
        compute(token="t", api_url=url)
    assert repr(url) in str(caught.value)


async def test_a_malformed_exchange_url_is_named(compute: Connect) -> None:
    with pytest.raises(ValueError, match="'nowhere'"):
        compute(api_key="k", exchange_url="nowhere")


async def test_everything_from_the_environment(
    compute: Connect, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("BOXD_ORG", "local")
    async with compute() as client:
        assert (await client.whoami()).user_id == "local-user"
        await client.box.list()


async def test_an_argument_wins_over_its_variable(
    compute: Connect, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOXD_API_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("BOXD_API_KEY", "not-used")
    monkeypatch.setenv("BOXD_TOKEN", "not.used.either")
    monkeypatch.setenv("BOXD_ORG", "nobody")
    async with compute(**server.settings, org="") as client:
        await client.box.list()


@pytest.mark.parametrize(
    "form", ["127.0.0.1:{port}", "localhost:{port}", "http://localhost:{port}", "http://127.0.0.1:{port}/"]
)
async def test_ways_to_write_a_local_address(compute: Connect, server: Server, form: str) -> None:
    url = form.format(port=urlsplit(server.api_url).port)
    async with compute(token=server.token, api_url=url) as client:
        assert (await client.whoami()).user_id == "local-user"
