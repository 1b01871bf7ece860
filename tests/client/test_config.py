from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxd.config import DEFAULT_EXCHANGE_URL, Endpoint, Secret, Settings, check_exchange_url, parse_api_url
from boxd.errors import AuthenticationError


@pytest.mark.parametrize(
    ("value", "scheme", "host", "port"),
    [
        ("http://boxd.sh:9443", "http", "boxd.sh", 9443),
        ("https://boxd.sh:9443", "https", "boxd.sh", 9443),
        ("HTTPS://boxd.sh:9443", "https", "boxd.sh", 9443),
        ("http://boxd.sh", "http", "boxd.sh", 80),
        ("https://boxd.sh", "https", "boxd.sh", 443),
        ("https://boxd.sh:9443/", "https", "boxd.sh", 9443),
        (" http://boxd.sh:9443\n", "http", "boxd.sh", 9443),
        ("boxd.sh:9443", "https", "boxd.sh", 9443),
        ("my_cluster:9443", "https", "my_cluster", 9443),
        ("localhost:9443", "http", "localhost", 9443),
        ("LOCALHOST:9443", "http", "LOCALHOST", 9443),
        ("127.0.0.1:9443", "http", "127.0.0.1", 9443),
        ("127.1.2.3:9443", "http", "127.1.2.3", 9443),
        ("128.0.0.1:9443", "https", "128.0.0.1", 9443),
        ("127.example.com:9443", "https", "127.example.com", 9443),
        ("localhost.example.com:9443", "https", "localhost.example.com", 9443),
        ("[::1]:9443", "https", "::1", 9443),
        ("http://[::1]:9443", "http", "::1", 9443),
        ("https://[2001:db8::1]", "https", "2001:db8::1", 443),
        ("https://localhost:1", "https", "localhost", 1),
        ("http://a:65535", "http", "a", 65535),
        ("unix:/run/boxd.sock", "unix", "/run/boxd.sock", 0),
        ("unix:///run/boxd.sock", "unix", "/run/boxd.sock", 0),
        ("UNIX:run/a%20b.sock", "unix", "run/a b.sock", 0),
        ("http://b\u00fccher.example:1", "http", "xn--bcher-kva.example", 1),
        ("https://B\u00dcCHER.example", "https", "xn--bcher-kva.example", 443),
    ],
)
def test_api_url(value: str, scheme: str, host: str, port: int) -> None:
    assert parse_api_url(value) == Endpoint(scheme, host, port)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "http://",
        "https://:9443",
        ":9443",
        "boxd.sh",
        "ftp://boxd.sh:1",
        "unix:",
        "unix://",
        "unix://x/y",
        "http:/boxd.sh:1",
        "http://boxd.sh:1/path",
        "boxd.sh:1/",
        "boxd.sh:1/x",
        "http://boxd.sh:1?x=1",
        "http://boxd.sh:1?",
        "http://h#f",
        "http://user:secret@boxd.sh:1",
        "http://boxd.sh:0",
        "http://boxd.sh:65536",
        "http://boxd.sh:x",
        "http://h:",
        "http://h:-1",
        "http://h:+1",
        "http://h:1:2",
        "::1:9443",
        "[::1",
        "[::1]x",
        "[nope]:1",
        "http://[]:1",
        "h h:1",
        "http://a\nb:1",
        "http://-a:1",
        "//boxd.sh:1",
        "http://\u2603..example:1",
        "h:\u0661",
    ],
)
def test_a_bad_api_url_is_a_value_error_that_names_it(value: str) -> None:
    with pytest.raises(ValueError, match="api_url") as caught:
        parse_api_url(value)
    assert repr(value) in str(caught.value)


@given(st.text(max_size=30))
def test_any_text_is_an_endpoint_or_a_value_error(text: str) -> None:
    try:
        endpoint = parse_api_url(text)
    except ValueError:
        return
    assert parse_api_url(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    "value",
    [
        "",
        "boxd.sh/x",
        "ftp://boxd.sh/x",
        "http://",
        "https:///x",
        "https://h:0/x",
        "https://h:99999/x",
        "https://[::1/x",
        "https://user:pw@h/x",
        "https://h/x#f",
        "https://h/a b",
        "https://h/\x00",
        "https://hö/x",
    ],
)
def test_a_bad_exchange_url_is_a_value_error_that_names_it(value: str) -> None:
    with pytest.raises(ValueError, match="exchange_url") as caught:
        check_exchange_url(value)
    assert repr(value) in str(caught.value)


def test_defaults() -> None:
    settings = Settings.resolve(environ={"BOXD_TOKEN": "t"})
    assert settings.endpoint == Endpoint("http", "boxd.sh", 9443)
    assert settings.exchange_url == DEFAULT_EXCHANGE_URL
    assert settings.org == ""


ENVIRONMENT = {
    "BOXD_API_KEY": "env-key",
    "BOXD_API_URL": "https://env:1",
    "BOXD_EXCHANGE_URL": "https://env/x",
    "BOXD_ORG": "env-org",
}


def test_environment() -> None:
    settings = Settings.resolve(environ=ENVIRONMENT)
    assert settings.endpoint == Endpoint("https", "env", 1)
    assert settings.exchange_url == "https://env/x"
    assert settings.org == "env-org"
    assert settings.api_key is not None
    assert settings.api_key.reveal() == "env-key"


def test_arguments_win_over_the_environment() -> None:
    settings = Settings.resolve(
        api_key="k", api_url="http://arg:2", exchange_url="http://arg/y", org="", environ=ENVIRONMENT
    )
    assert settings.endpoint == Endpoint("http", "arg", 2)
    assert settings.exchange_url == "http://arg/y"
    assert settings.org == ""


@pytest.mark.parametrize(
    ("arguments", "environ", "kind", "value"),
    [
        ({"api_key": "a"}, {}, "api_key", "a"),
        ({"token": "a"}, {}, "token", "a"),
        ({}, {"BOXD_API_KEY": "e"}, "api_key", "e"),
        ({}, {"BOXD_TOKEN": "e"}, "token", "e"),
        ({"api_key": "a"}, {"BOXD_TOKEN": "e", "BOXD_API_KEY": "e"}, "api_key", "a"),
        ({"token": "a"}, {"BOXD_TOKEN": "e", "BOXD_API_KEY": "e"}, "token", "a"),
        ({"api_key": "a", "token": "b"}, {}, "token", "b"),
        ({}, {"BOXD_TOKEN": "e", "BOXD_API_KEY": "f"}, "token", "e"),
        ({}, {"BOXD_TOKEN": "", "BOXD_API_KEY": "f"}, "api_key", "f"),
        ({"api_key": " a\n"}, {}, "api_key", "a"),
    ],
)
def test_which_credential(arguments: dict[str, str], environ: dict[str, str], kind: str, value: str) -> None:
    settings = Settings.resolve(**arguments, environ=environ)
    found = {name: secret.reveal() for name in ("api_key", "token") if (secret := getattr(settings, name)) is not None}
    assert found == {kind: value}


def test_no_credential_names_both_arguments_and_both_variables() -> None:
    with pytest.raises(AuthenticationError) as caught:
        Settings.resolve(environ={"BOXD_TOKEN": ""})
    for name in ("api_key", "token", "BOXD_API_KEY", "BOXD_TOKEN"):
        assert name in str(caught.value)
    assert caught.value.grpc_code is None


@pytest.mark.parametrize("value", ["", "  ", "two words", "line\nbreak", "clé", "a\x00b"])
@pytest.mark.parametrize("name", ["api_key", "token"])
def test_a_credential_that_cannot_be_sent(name: str, value: str) -> None:
    with pytest.raises(AuthenticationError, match=name) as caught:
        Settings.resolve(**{name: value}, environ={})
    assert not value.strip() or value.strip() not in str(caught.value)


@pytest.mark.parametrize("name", ["api_key", "token", "api_url", "exchange_url", "org", "protocol"])
def test_what_is_no_string(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} is of type bytes: use a str") as caught:
        Settings.resolve(**{"token": "t", name: b"hush"}, environ={})
    assert "hush" not in str(caught.value)


def test_secrets_do_not_show() -> None:
    settings = Settings.resolve(api_key="hush", environ={})
    assert "hush" not in repr(settings)
    secret = Secret("hush")
    assert "hush" not in f"{secret} {secret!r} {secret!s}"
    with pytest.raises(TypeError, match="cannot be pickled or copied"):
        pickle.dumps(secret)
