"""Which proxy leads where (R63): URLs, environment variables, NO_PROXY."""

from __future__ import annotations

import urllib.request

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxd.transport import Channel, Target
from boxd.transport.dial_options import DialOptions
from boxd.transport.proxy import Proxy, environment_proxy, is_exempt

SECURE = Target("https", "boxd.sh", 9443)
PLAIN = Target("http", "boxd.sh", 9443)


def chosen(target: Target, **environ: str) -> str | None:
    proxy = environment_proxy(target, environ)
    return None if proxy is None else str(proxy)


@pytest.mark.parametrize(
    ("url", "shown", "login"),
    [
        ("http://proxy:3128", "http://proxy:3128", None),
        ("proxy:3128", "http://proxy:3128", None),
        ("HTTP://proxy", "http://proxy:80", None),
        (" https://proxy/\n", "https://proxy:443", None),
        ("http://[::1]:3128", "http://[::1]:3128", None),
        ("http://u:p@proxy:1", "http://proxy:1", b"Basic dTpw"),
        ("http://u%40x:p%3a%2F@proxy:1", "http://proxy:1", b"Basic dUB4OnA6Lw=="),
        ("http://u@proxy:1", "http://proxy:1", b"Basic dTo="),
        ("u:p@proxy:1", "http://proxy:1", b"Basic dTpw"),
        ("http://pröxy.example:1", "http://xn--prxy-6qa.example:1", None),
    ],
)
def test_r63_urls(url: str, shown: str, login: bytes | None) -> None:
    proxy = Proxy.parse(url)
    assert str(proxy) == shown
    assert proxy.authorization == login


@pytest.mark.parametrize(
    "url",
    ["socks5://p:1", "socks5h://u:hush@p:1", "ftp://p:1", "http://", "http://p:0", "http://u:hush@p:1/path", ""],
)
def test_r63_urls_that_are_none(url: str) -> None:
    with pytest.raises(ValueError, match="HTTPS_PROXY") as caught:
        Proxy.parse(url, "HTTPS_PROXY")
    assert "hush" not in str(caught.value)


def test_r63_socks_says_what_is_supported() -> None:
    with pytest.raises(ValueError, match=r"ALL_PROXY 'socks5://p:1'.*'socks5' is not supported.*CONNECT.*NO_PROXY"):
        chosen(SECURE, ALL_PROXY="socks5://p:1")


def test_r63_a_password_is_not_shown() -> None:
    proxy = Proxy.parse("http://user:hush-hush@proxy:1")
    assert "hush" not in f"{proxy!r} {proxy} {DialOptions(proxy='http://user:hush-hush@proxy:1')!r}"
    assert "user" not in f"{proxy!r}"


@pytest.mark.parametrize(
    ("target", "environ", "expected"),
    [
        (SECURE, {}, None),
        (SECURE, {"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        (SECURE, {"https_proxy": "http://q:1", "HTTPS_PROXY": "http://p:1"}, "http://q:1"),
        (SECURE, {"https_proxy": "", "HTTPS_PROXY": "http://p:1"}, None),
        (SECURE, {"HTTPS_PROXY": "  "}, None),
        (SECURE, {"HTTP_PROXY": "http://p:1"}, None),
        (SECURE, {"ALL_PROXY": "http://p:1"}, "http://p:1"),
        (SECURE, {"all_proxy": "http://p:1", "HTTPS_PROXY": "http://q:1"}, "http://q:1"),
        (PLAIN, {"HTTP_PROXY": "http://p:1", "HTTPS_PROXY": "http://q:1"}, "http://p:1"),
        (PLAIN, {"HTTPS_PROXY": "http://q:1"}, "http://q:1"),
        (PLAIN, {"HTTPS_PROXY": "http://q:1", "ALL_PROXY": "http://p:1"}, "http://p:1"),
        # httpoxy: a CGI program's HTTP_PROXY comes from the request.
        (PLAIN, {"HTTP_PROXY": "http://p:1", "REQUEST_METHOD": "GET"}, None),
        (PLAIN, {"http_proxy": "http://p:1", "REQUEST_METHOD": "GET"}, "http://p:1"),
        (SECURE, {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "a, boxd.sh"}, None),
        (SECURE, {"HTTPS_PROXY": "socks5://p:1", "NO_PROXY": "*"}, None),
        (SECURE, {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "boxd.sh", "no_proxy": ""}, "http://p:1"),
        (Target("unix", "/s"), {"ALL_PROXY": "http://p:1", "HTTPS_PROXY": "http://p:1"}, None),
    ],
)
def test_r63_environment(target: Target, environ: dict[str, str], expected: str | None) -> None:
    assert chosen(target, **environ) == expected


@pytest.mark.parametrize(
    ("host", "port", "no_proxy", "exempt"),
    [
        ("boxd.sh", 443, "boxd.sh", True),
        ("api.boxd.sh", 443, "boxd.sh", True),
        ("api.boxd.sh", 443, ".boxd.sh", True),
        ("api.boxd.sh", 443, "*.boxd.sh", True),
        ("boxd.sh", 443, ".boxd.sh", True),
        ("notboxd.sh", 443, "boxd.sh", False),
        ("boxd.sh.example", 443, "boxd.sh", False),
        ("BOXD.sh.", 443, "boxd.SH.", True),
        ("boxd.sh", 443, "x boxd.sh\ty", True),
        ("boxd.sh", 9443, "boxd.sh:9443", True),
        ("boxd.sh", 443, "boxd.sh:9443", False),
        ("boxd.sh", 443, "", False),
        ("boxd.sh", 443, " , ", False),
        ("boxd.sh", 443, "a,*", True),
        ("10.1.2.3", 443, "10.0.0.0/8", True),
        ("10.1.2.3", 443, "10.1.2.3", True),
        ("10.1.2.3", 80, "10.1.2.3:443", False),
        ("110.1.2.3", 443, "10.1.2.3", False),
        ("1.10.1.2.3", 443, "10.1.2.3", True),
        ("11.1.2.3", 443, "10.0.0.0/8", False),
        ("::1", 443, "::1", True),
        ("::1", 443, "[::1]", True),
        ("::1", 443, "[::1]:443", True),
        ("::1", 80, "[::1]:443", False),
        ("0:0:0:0:0:0:0:1", 443, "::1", True),
        ("fd00::9", 443, "fd00::/8", True),
        ("fd00::9", 443, "10.0.0.0/8", False),
        ("boxd.sh", 443, "10.0.0.0/8", False),
        ("boxd.sh", 443, "nonsense/99 [::1 :: :80 \u2603.", False),
        ("xn--bcher-kva.example", 443, "bücher.example", True),
    ],
)
def test_r63_no_proxy(host: str, port: int, no_proxy: str, exempt: bool) -> None:
    assert is_exempt(host, port, no_proxy) is exempt


names = st.lists(st.sampled_from(["boxd", "sh", "a", "b-c", "example"]), min_size=1, max_size=4).map(".".join)


@given(names, st.lists(names, max_size=4))
def test_r63_no_proxy_as_urllib_reads_it(host: str, entries: list[str]) -> None:
    no_proxy = ",".join(entries)
    expected = bool(urllib.request.proxy_bypass_environment(host, {"no": no_proxy} if no_proxy else {}))
    assert is_exempt(host, 443, no_proxy) is expected


VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


@settings(deadline=None, max_examples=50)
@given(
    st.dictionaries(st.sampled_from(VARIABLES), st.sampled_from(["http://p:1", "http://q:2", ""]), max_size=4),
    st.lists(names, max_size=3),
    names,
)
def test_r63_the_environment_as_httpx_reads_it(environ: dict[str, str], no_proxy: list[str], host: str) -> None:
    environ = {**environ, "NO_PROXY": ",".join(no_proxy)}
    with pytest.MonkeyPatch.context() as patch:
        for name in (*VARIABLES, "no_proxy", "NO_PROXY", "REQUEST_METHOD"):
            patch.delenv(name, raising=False)
        for name, value in environ.items():
            patch.setenv(name, value)
        with httpx.Client(verify=False) as client:
            for scheme in ("https", "http"):
                url = httpx.URL(f"{scheme}://{host}")
                found = client._transport_for_url(url)
                theirs = None
                if found is not client._transport:
                    proxy_url = found._pool._proxy_url  # type: ignore[attr-defined]
                    theirs = f"http://{proxy_url.host.decode()}:{proxy_url.port}"
                ours = chosen(Target(scheme, host, 443), **environ)
                # Where httpx would forward plaintext requests, and has nobody to, there may be one who tunnels.
                assert ours == theirs or (scheme == "http" and theirs is None)


def test_r63_a_bad_variable_is_found_when_the_channel_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "socks4://p:1")
    with pytest.raises(ValueError, match="https_proxy 'socks4://p:1'"):
        Channel(SECURE)
    Channel(SECURE, dial_options=DialOptions(trust_env=False))
    Channel(SECURE, dial_options=DialOptions(proxy="http://p:1"))
    Channel(Target("unix", "/s"))


def test_r63_an_explicit_proxy_is_for_every_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    options = DialOptions(proxy="http://p:1")
    assert str(options.proxy_for(SECURE)) == "http://p:1"
    assert options.proxy_for(Target("unix", "/s")) is None
