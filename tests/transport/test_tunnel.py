"""Connections through HTTP proxies (R63, row 13)."""

from __future__ import annotations

import itertools
import socket
import ssl
from collections.abc import Callable

import anyio
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from boxd.transport import Channel, ConnectFailed, Target, TlsFailed
from boxd.transport.dial_options import DialOptions
from boxd.transport.tunnel import MAX_HEAD, ConnectReply, NotAProxy, connect_request
from tests.fixtures import echo_server as e
from tests.fixtures.connect_proxy import ConnectProxy
from tests.fixtures.fault_server import FaultServer
from tests.transport.test_faults import serve_echo, still_fine

Connect = Callable[..., Channel]
ServerTls = Callable[..., ssl.SSLContext]

LOGIN = ("user", "hush-hush")


@pytest.mark.anyio
async def test_r63_plaintext_through_a_proxy(connect: Connect, echo: e.Running) -> None:
    async with ConnectProxy() as proxy:
        channel = connect(echo.target, dial_options=DialOptions(proxy=proxy.url), max_receive_bytes=None)
        body = bytes(300_000)
        assert await channel.unary(e.ECHO, body) == body
        async with channel.call(e.CHAT) as call:
            for _ in range(5):
                await call.send(b"x" * 50_000)
                assert await call.receive() == b"x" * 50_000
        assert proxy.targets == [echo.target.authority]
        assert b"Proxy-Authorization" not in proxy.requests[0]


@pytest.mark.anyio
async def test_r63_tls_in_the_tunnel(connect: Connect, secure_echo: e.Running, client_tls: ssl.SSLContext) -> None:
    async with ConnectProxy(login=LOGIN) as proxy:
        options = DialOptions(proxy=proxy.url_with_login(), ssl_context=client_tls)
        channel = connect(secure_echo.target, dial_options=options)
        assert await channel.unary(e.ECHO, b"hello") == b"hello"
        assert proxy.targets == [f"localhost:{secure_echo.target.port}"]


@pytest.mark.anyio
async def test_r63_tls_to_the_proxy(
    connect: Connect, secure_echo: e.Running, client_tls: ssl.SSLContext, server_tls: ServerTls
) -> None:
    async with ConnectProxy(tls=server_tls(alpn=("http/1.1",)), login=LOGIN) as proxy:
        options = DialOptions(proxy=proxy.url_with_login(), ssl_context=client_tls)
        channel = connect(secure_echo.target, dial_options=options, max_receive_bytes=None)
        body = bytes(range(256)) * 10_000
        assert await channel.unary(e.ECHO, body) == body


@pytest.mark.anyio
async def test_r63_plaintext_behind_tls_to_the_proxy(
    connect: Connect, echo: e.Running, client_tls: ssl.SSLContext, server_tls: ServerTls
) -> None:
    async with ConnectProxy(tls=server_tls(alpn=())) as proxy:
        options = DialOptions(proxy=proxy.url, ssl_context=client_tls)
        assert await connect(echo.target, dial_options=options).unary(e.ECHO, b"hello") == b"hello"


@pytest.mark.anyio
async def test_r63_the_proxy_resolves_the_name(connect: Connect, echo: e.Running) -> None:
    async with ConnectProxy(hosts={"nowhere.invalid": "127.0.0.1"}) as proxy:
        channel = connect(
            Target("http", "nowhere.invalid", echo.target.port), dial_options=DialOptions(proxy=proxy.url)
        )
        assert await channel.unary(e.ECHO, b"hello") == b"hello"


@pytest.mark.anyio
async def test_r63_bytes_after_the_header_are_kept(connect: Connect) -> None:
    """A server of HTTP/2 speaks first, and its SETTINGS may come in one piece with the proxy's header."""
    async with FaultServer(serve_echo) as server, ConnectProxy(coalesce=True) as proxy:
        await still_fine(connect(server.target, dial_options=DialOptions(proxy=proxy.url)))


@pytest.mark.anyio
@pytest.mark.row(13)
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm=x\r\n\r\n", "407 Who: put the user name and password"),
        (b"HTTP/1.1 407 No\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM x\r\n\r\n", "Negotiate, NTLM"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\nbad!", "HTTP status 502 Bad Gateway"),
        (b"HTTP/1.1 403\r\n\r\n", "HTTP status 403"),
        (b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100_000, "longer than 16384 bytes"),
        (b"SSH-2.0-OpenSSH\r\n", "no HTTP proxy"),
        (b"HTTP/1.1 two\r\n\r\n", "status line"),
        (b"", r"answer from the proxy within 0\.3 s"),
    ],
    ids=["407", "407-ntlm", "502", "403", "100 KB", "ssh", "no status", "silence"],
)
async def test_r63_a_proxy_that_fails(connect: Connect, answer: bytes, reason: str) -> None:
    async with ConnectProxy(answer=answer) as proxy:
        options = DialOptions(proxy=proxy.url, connect_timeout=0.3 if not answer else 5.0)
        with pytest.raises(ConnectFailed, match=reason) as caught, anyio.fail_after(5):
            await connect(Target("http", "boxd.invalid", 9443), dial_options=options).unary(e.ECHO, b"")
        assert f"through the proxy {proxy.url}" in str(caught.value)
        assert "http://boxd.invalid:9443" in str(caught.value)
        assert caught.value.unprocessed


@pytest.mark.anyio
@pytest.mark.row(13)
async def test_r63_credentials_that_are_refused_are_not_shown(connect: Connect) -> None:
    async with ConnectProxy(login=LOGIN) as proxy:
        options = DialOptions(proxy=proxy.url.replace("://", "://user:s3cret%40x@"))
        with pytest.raises(ConnectFailed, match="407 Auth: it does not accept the user name and password") as caught:
            await connect(Target("http", "boxd.invalid", 9443), dial_options=options).unary(e.ECHO, b"")
        assert "s3cret" not in f"{caught.value!r} {caught.value} {options!r}"
        assert b"Proxy-Authorization: Basic dXNlcjpzM2NyZXRAeA==" in proxy.requests[0]


@pytest.mark.anyio
@pytest.mark.row(13)
async def test_r63_no_proxy_there(connect: Connect) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    options = DialOptions(proxy=url)
    with pytest.raises(ConnectFailed, match=rf"through the proxy {url}: \[Errno"):
        await connect(Target("http", "boxd.invalid", 9443), dial_options=options).unary(e.ECHO, b"")


@pytest.mark.anyio
@pytest.mark.row(13)
async def test_r63_a_proxy_whose_certificate_is_unknown(connect: Connect, echo: e.Running) -> None:
    own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(own)
    async with ConnectProxy(tls=own) as proxy:
        with pytest.raises(TlsFailed, match="the proxy: its certificate is not accepted"):
            await connect(echo.target, dial_options=DialOptions(proxy=proxy.url)).unary(e.ECHO, b"")


@pytest.mark.anyio
@pytest.mark.row(13)
async def test_r63_the_deadline_covers_the_proxy(connect: Connect) -> None:
    async with ConnectProxy(answer=b"") as proxy:
        channel = connect(Target("http", "boxd.invalid", 9443), dial_options=DialOptions(proxy=proxy.url))
        with pytest.raises(Exception, match="DEADLINE_EXCEEDED"), anyio.fail_after(5):
            await channel.unary(e.ECHO, b"", timeout=0.2)


@pytest.mark.anyio
@pytest.mark.parametrize("version", ["1.1", "auto"])
async def test_r63_http11_through_a_proxy(connect: Connect, version: str) -> None:
    """The same tunnel and the same errors."""
    async with ConnectProxy(answer=b"HTTP/1.1 407 Who\r\n\r\n") as proxy:
        channel = connect(
            Target("https", "boxd.invalid", 9443),
            dial_options=DialOptions(proxy=proxy.url),
            protocol="connect",
            http_version=version,
        )
        with pytest.raises(ConnectFailed, match=f"through the proxy {proxy.url}: .*407 Who"):
            await channel.unary(e.ECHO, b"")
        assert proxy.targets == ["boxd.invalid:9443"]


# -- the parser


HEAD = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n"


@given(st.binary(max_size=40), st.lists(st.integers(0, 120)))
def test_r63_the_answer_in_any_pieces(rest: bytes, cuts: list[int]) -> None:
    data = b"HTTP/1.0 103 Early Hints\r\n\r\n" + HEAD + rest
    reply, collected, done = ConnectReply(), b"", False
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, stop in itertools.pairwise(edges):
        if done:
            collected += data[start:stop]
        else:
            done = reply.feed(data[start:stop])
    assert done
    assert reply.accepted
    assert (reply.status, reply.reason) == (200, "Connection established")
    assert reply.rest + collected == rest


@given(st.binary(max_size=200))
def test_r63_noise_is_refused_in_bounded_memory(noise: bytes) -> None:
    reply = ConnectReply()
    fed = 0
    try:
        while fed <= 2 * MAX_HEAD and not reply.feed(noise or b"x"):
            fed += len(noise or b"x")
    except NotAProxy:
        pass
    assert fed <= MAX_HEAD


def test_r63_the_request() -> None:
    assert connect_request("::1", 443) == b"CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n\r\n"
    assert connect_request("h", 1, b"Basic eA==").endswith(b"\r\nProxy-Authorization: Basic eA==\r\n\r\n")
