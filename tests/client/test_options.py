"""`Compute(protocol=..., http=...)` and their variables: what is taken, what is refused, and what is documented."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

import boxd
from boxd import aio
from boxd.config import Settings
from boxd.options import HTTPOptions
from boxd.transport.dial_options import PROXY_VARIABLES

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"


@pytest.mark.parametrize("side", [boxd, aio])
def test_both_surfaces_take_them(side: Any) -> None:
    client = side.Compute(token="t", protocol="connect", http=side.HTTPOptions(version="1.1"))
    inner = getattr(client, "_async", client)
    assert inner._session.settings.protocol == "connect"
    assert inner._session.settings.http.version == "1.1"


def test_an_argument_wins_over_its_variable() -> None:
    environ = {"BOXD_TOKEN": "t", "BOXD_PROTOCOL": "grpc-web"}
    assert Settings.resolve(environ=environ).protocol == "grpc-web"
    assert Settings.resolve(environ=environ, protocol="connect").protocol == "connect"
    assert Settings.resolve(environ={"BOXD_TOKEN": "t", "BOXD_PROTOCOL": ""}).protocol == "grpc"


@pytest.mark.parametrize(
    ("arguments", "variables", "named"),
    [
        ({"protocol": "soap"}, {}, "protocol 'soap'"),
        ({"protocol": ""}, {}, "protocol ''"),
        ({}, {"BOXD_PROTOCOL": "soap"}, "BOXD_PROTOCOL 'soap'"),
        ({"http": "2"}, {}, "http of type str"),
        ({"http": httpx.HTTPTransport}, {}, "http of type type"),
        ({"http": HTTPOptions(version="1.1")}, {}, "version '1.1'"),
        ({}, {"HTTP_PROXY": "socks5://p:1"}, "HTTP_PROXY 'socks5://p:1'"),
        ({"api_url": "https://b.example"}, {"https_proxy": "x://p:1"}, "https_proxy 'x://p:1'"),
        ({"api_key": "k", "exchange_url": "https://b.example/t"}, {"https_proxy": "x://p:1"}, "https_proxy"),
    ],
)
@pytest.mark.parametrize("side", [boxd, aio])
def test_what_cannot_be_used_is_named(
    side: Any, arguments: dict[str, Any], variables: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    credential = {} if "api_key" in arguments else {"token": "t"}
    with pytest.raises(ValueError, match=re.escape(named)):
        side.Compute(**credential, **arguments)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", "3"),
        ("version", None),
        ("compression", "br"),
        ("connect_timeout", 0),
        ("connect_timeout", "5"),
        ("connect_timeout", float("inf")),
        ("ca", "/nowhere.pem"),
        ("client_cert", "/nowhere.pem"),
        ("client_key", __file__),
        ("client_key_password", "x"),
        ("server_name", "\u2603.."),
        ("proxy", "socks5://p:1"),
        ("proxy", "http://p:99999"),
        ("keepalive_time", 1),
        ("keepalive_timeout", 0),
        ("idle_timeout", -1),
        ("max_connections", 0),
        ("backoff_jitter", 2),
        ("stream_window", 0),
        ("connection_window", 1),
    ],
)
def test_a_bad_setting_is_named(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field if field != "server_name" else "host name"):
        HTTPOptions(**{field: value})


def test_a_context_of_ones_own_stands_alone() -> None:
    import ssl

    with pytest.raises(ValueError, match="ssl_context"):
        HTTPOptions(ssl_context=ssl.create_default_context(), ca=__file__)


def test_neither_arguments_nor_repr_show_secrets() -> None:
    options = HTTPOptions(proxy="http://u:hush@p:1", client_cert=__file__, client_key_password="hush")
    assert "hush" not in repr(options)


def test_every_setting_and_variable_is_documented() -> None:
    text = DOCUMENT.read_text()
    rows = {
        name
        for line in text.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+)`", line.split("|")[1])
    }
    assert {field.name for field in dataclasses.fields(HTTPOptions)} <= rows
    assert {"api_key", "token", "api_url", "exchange_url", "org", "protocol", "http"} <= rows
    for name in PROXY_VARIABLES:
        assert f"`{name.upper()}`" in text
    assert "docs/configuration.md" in (DOCUMENT.parents[1] / "README.md").read_text()


def test_documented_defaults_are_those_of_the_code() -> None:
    found = dict(re.findall(r"^\| `(\w+)` \|[^|]*\| `([^`]*)` \|", DOCUMENT.read_text(), re.M))
    defaults = {field.name: field.default for field in dataclasses.fields(HTTPOptions)}
    checked = {name: eval(text) for name, text in found.items() if name in defaults and "(" not in text}
    assert len(checked) > 12
    for name, value in checked.items():
        assert defaults[name] == value, name
