from __future__ import annotations

import inspect
from typing import Any

import anyio
import pytest

from boxd import aio
from boxd.aio import Box, Compute
from boxd.errors import AuthenticationError, BoxdError
from boxd.messages import identity, vm
from boxd.resources.boxes import BoxService
from boxd.transport import RpcError, StatusCode
from tests.client.fakes import FakeChannel, FakeCredentials, session_with

both = pytest.mark.anyio

CREATED = vm.CreateVmResponse(
    vm_id="vm-1", name="one", public_ip="192.0.2.1", url="one.boxd.sh", image="img", status="pending", boot_time_ms=12
)


def service(channel: FakeChannel, **options: Any) -> BoxService:
    return BoxService(session_with(channel, **options))


# The client.


@both
async def test_nothing_happens_before_the_first_call() -> None:
    client = Compute(token="t", api_url="http://localhost:1")
    assert client._session._channel is None
    assert client.box is client.box
    await client.close()
    assert client._session._channel is None


@both
async def test_close_is_idempotent_and_final() -> None:
    client = Compute(token="t", api_url="http://localhost:1")
    channel = FakeChannel({"Whoami": identity.WhoamiResponse()})
    client._session._channel = channel  # type: ignore[assignment]
    async with client as same:
        assert same is client
        await client.whoami()
        box = Box(client._session, CREATED, full=False)
    await client.close()
    assert channel.closed == 1
    for call in (client.whoami, client.config, client.box.list, box.stop):
        with pytest.raises(BoxdError, match="closed"):
            await call()
    with pytest.raises(BoxdError, match="closed"):
        await box.exec("true")
    with pytest.raises(BoxdError, match="closed"):
        await box.stream_logs().__anext__()


def test_repr_shows_the_state_and_no_secret() -> None:
    client = Compute(api_key="hush-key", api_url="https://h:2", org="acme")
    assert repr(client) == "<Compute https://h:2 org='acme' with api_key>"
    assert "hush" not in repr(vars(client)) + repr(vars(client._session)) + repr(client._session.settings)
    assert repr(Compute(token="hush", api_url="localhost:1")) == "<Compute http://localhost:1 with token>"
    anyio.run(client.close)
    assert repr(client).endswith("closed>")


def test_no_credential(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BOXD_API_KEY", raising=False)
    monkeypatch.delenv("BOXD_TOKEN", raising=False)
    with pytest.raises(AuthenticationError, match="BOXD_API_KEY"):
        Compute()


def test_a_bad_url() -> None:
    with pytest.raises(ValueError, match="ftp"):
        Compute(token="t", api_url="ftp://x:1")


@both
async def test_whoami_and_config() -> None:
    client = Compute(token="t")
    client._session._channel = FakeChannel(  # type: ignore[assignment]
        {
            "Whoami": identity.WhoamiResponse(user_id="u", pubkey_fingerprints=["SHA256:x"], default_network_id="n"),
            "GetConfig": identity.GetConfigResponse(default_image="ubuntu", zone="boxd.sh"),
        }
    )
    assert await client.whoami() == aio.WhoamiResult("u", ["SHA256:x"], "n")
    assert await client.config() == aio.ConfigResult("ubuntu", "boxd.sh")


def test_the_async_surface() -> None:
    """What the generator of the blocking surface counts on."""
    for kind in (Compute, BoxService, Box, aio.ExecProcess, aio.StreamReader, aio.StreamWriter, aio.LogStream):
        for name, member in vars(kind).items():
            if name.startswith("_") or not inspect.isfunction(member):
                continue
            assert member.__doc__, f"{kind.__name__}.{name}"
            assert not inspect.isasyncgenfunction(member)
            assert "return" in member.__annotations__, f"{kind.__name__}.{name}"
    assert all(hasattr(aio, name) for name in aio.__all__)


# A refused token.


@pytest.mark.row(52)
@both
async def test_a_kept_token_that_is_refused_is_replaced_once() -> None:
    refused = RpcError("expired", StatusCode.UNAUTHENTICATED, origin="server")
    credentials = FakeCredentials("Bearer old", "Bearer new")
    channel = FakeChannel({"CreateVm": [refused, CREATED]})
    assert (await service(channel, credentials=credentials).create()).id == "vm-1"
    assert credentials.rejected == ["Bearer old"]
    channel = FakeChannel({"CreateVm": [refused, refused, CREATED]})
    with pytest.raises(AuthenticationError, match="expired"):
        await service(channel, credentials=credentials).create()


@pytest.mark.row(52)
@both
async def test_a_token_that_cannot_be_replaced() -> None:
    refused = RpcError("expired", StatusCode.UNAUTHENTICATED, origin="server")
    channel = FakeChannel({"CreateVm": [refused]})
    with pytest.raises(AuthenticationError, match="expired") as caught:
        await service(channel).create()
    assert isinstance(caught.value.__cause__, RpcError)
