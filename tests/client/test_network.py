"""`Compute` through what stands between it and the service: proxies, TLS, Unix sockets, the three protocols, HTTP/1.1,
transports of httpx; for the calls and for the exchange of the key alike."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest
import trustme

import boxd
from boxd import ConnectionError, HTTPOptions, aio
from boxd.transport.httpx_transport import HTTP2Transport
from tests.fixtures import gateway
from tests.fixtures.connect_proxy import ConnectProxy, Relay
from tests.fixtures.servers import Server

pytestmark = pytest.mark.anyio

LOGIN = ("user", "hush-hush")


class Trust:
    """An authority of the tests', in files."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self.ca = str(folder / "ca.pem")
        self._authority.cert_pem.write_to_path(self.ca)
        self.bytes = self._authority.cert_pem.bytes()
        server = self._authority.issue_cert("localhost", "127.0.0.1", "service.example")
        self.cert, self.key = str(folder / "server.pem"), str(folder / "server.key")
        server.cert_chain_pems[0].write_to_path(self.cert)
        server.private_key_pem.write_to_path(self.key)
        client = self._authority.issue_cert("client@example.org")
        self.client = str(folder / "client.pem")
        client.private_key_and_cert_chain_pem.write_to_path(self.client)

    def server(self, *alpn: str, client: bool = False) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.cert, self.key)
        context.set_alpn_protocols(alpn)
        if client:
            context.verify_mode = ssl.CERT_REQUIRED
            self._authority.configure_trust(context)
        return context


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    return Trust(tmp_path_factory.mktemp("trust"))


def port(url: str) -> int:
    found = httpx.URL(url).port
    assert found is not None
    return found


# -- proxies and TLS


async def test_r61_r63_calls_and_exchange_through_a_proxy_with_tls(server: Server, trust: Trust) -> None:
    """Everything at once: TLS to both servers, with authorities and a client certificate of one's own, in tunnels of a
    proxy that wants a password and resolves the name."""
    async with (
        Relay(port(server.api_url), tls=trust.server("h2", client=True)) as api,
        Relay(port(server.exchange_url), tls=trust.server("http/1.1", client=True)) as exchange,
        ConnectProxy(login=LOGIN, hosts={"service.example": "127.0.0.1"}) as proxy,
    ):
        http = HTTPOptions(proxy=proxy.url_with_login(), ca=trust.ca, client_cert=trust.client)
        async with aio.Compute(
            api_key=server.api_key,
            api_url=f"https://service.example:{api.port}",
            exchange_url=f"https://service.example:{exchange.port}/api/v1/auth/token",
            http=http,
        ) as client:
            assert (await client.whoami()).user_id
        assert proxy.targets == [f"service.example:{exchange.port}", f"service.example:{api.port}"]


async def test_r61_r63_by_the_environment(emulator: Server, trust: Trust, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for calls and exchange without an argument, in the blocking client too."""
    async with (
        Relay(port(emulator.api_url), tls=trust.server("h2")) as api,
        Relay(port(emulator.exchange_url), tls=trust.server()) as exchange,
        ConnectProxy(login=LOGIN) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url_with_login())
        monkeypatch.setenv("SSL_CERT_FILE", trust.ca)
        monkeypatch.setenv("BOXD_API_KEY", emulator.api_key)
        monkeypatch.setenv("BOXD_API_URL", f"https://localhost:{api.port}")
        monkeypatch.setenv("BOXD_EXCHANGE_URL", f"https://localhost:{exchange.port}/api/v1/auth/token")

        def blocking() -> str:
            with boxd.Compute() as client:
                return client.whoami().user_id

        assert await anyio.to_thread.run_sync(blocking)
        assert proxy.targets == [f"localhost:{exchange.port}", f"localhost:{api.port}"]
        monkeypatch.setenv("NO_PROXY", f"localhost:{api.port}")
        assert await anyio.to_thread.run_sync(blocking)
        assert proxy.targets[2:] == [f"localhost:{exchange.port}"]


@pytest.mark.row(13)
@pytest.mark.parametrize("credential", ["api_key", "token"])
async def test_r63_a_proxy_that_refuses(credential: str) -> None:
    """The same error from a call and from the exchange; neither waits."""
    async with (
        ConnectProxy(answer=b"HTTP/1.1 407 Who\r\n\r\n") as proxy,
        aio.Compute(
            **{credential: "x"},
            api_url="https://boxd.invalid:9443",
            exchange_url="https://boxd.invalid/t",
            http=HTTPOptions(proxy=proxy.url),
        ) as client,
    ):
        with pytest.raises(ConnectionError, match=f"through the proxy {proxy.url}: .*HTTP status 407 Who: put the"):
            await client.whoami()


@pytest.mark.row(50)
async def test_r61_an_unknown_authority_ends_the_exchange_at_once(trust: Trust) -> None:
    async with (
        Relay(1, tls=trust.server()) as exchange,
        aio.Compute(
            api_key="k", api_url="http://localhost:1", exchange_url=f"https://localhost:{exchange.port}/t"
        ) as client,
    ):
        with pytest.raises(ConnectionError, match="certificate is not accepted"), anyio.fail_after(0.5):
            await client.whoami()


async def test_r61_server_name_is_for_the_calls_only(emulator: Server, trust: Trust) -> None:
    """A pinned address: the calls' server is asked for by another name than the URL's."""
    async with (
        Relay(port(emulator.api_url), tls=trust.server("h2")) as api,
        Relay(port(emulator.exchange_url), tls=trust.server()) as exchange,
        aio.Compute(
            api_key=emulator.api_key,
            api_url=f"https://127.0.0.1:{api.port}",
            exchange_url=f"https://localhost:{exchange.port}/api/v1/auth/token",
            http=HTTPOptions(ca=trust.bytes, server_name="service.example"),
        ) as client,
    ):
        assert (await client.whoami()).user_id


# -- Unix sockets


@pytest.mark.parametrize("form", ["unix:{}", "unix://{}"])
async def test_r64_unix(server: Server, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never through a proxy."""
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    path = str(tmp_path / "s")
    relay = Relay(port(server.api_url), path=path)
    async with relay, aio.Compute(token=server.token, api_url=form.format(path)) as client:
        assert (await client.whoami()).user_id
        assert repr(client).startswith(f"<Compute unix:{path} ")


async def test_r64_a_socket_that_is_not_there(tmp_path: Path) -> None:
    async with aio.Compute(token="t", api_url=f"unix:{tmp_path}/none") as client:
        with pytest.raises(ConnectionError, match=f"cannot connect to unix:{tmp_path}/none: .*No such file"):
            await client.whoami()


# -- protocols


@pytest.fixture(scope="module")
def front(emulator: Server) -> Iterator[str]:
    """Connect and gRPC-Web in front of the emulator."""
    pytest.importorskip("connectrpc")
    with gateway.running(emulator.api_url) as found:
        yield f"http://127.0.0.1:{found}"


WAYS = [("grpc", "auto"), ("grpc-web", "2"), ("grpc-web", "1.1"), ("connect", "auto"), ("connect", "1.1")]


async def work(client: aio.Compute, *, interactive: bool = True) -> None:
    """Something of every kind of call."""
    assert (await client.whoami()).user_id
    box = await client.box.create()
    try:
        assert (await box.exec("cat", input="hello")).stdout == "hello"
        failed = await box.exec("sh", "-c", "echo no >&2; exit 3")
        assert (failed.exit_code, failed.stderr) == (3, "no\n")
        body = bytes(range(256)) * 4_000
        await box.write_file(body, "/tmp/file")
        assert await box.read_file("/tmp/file") == body
        if interactive:
            process = await box.exec("cat", interactive=True)
            await process.stdin.write(b"one\n")
            await process.stdin.drain()
            assert (await process.iter_stdout().__anext__()).startswith(b"one")
            await process.close()
    finally:
        await box.destroy()
    with pytest.raises(boxd.NotFoundError):
        await client.box.get("no-such-box")


@pytest.mark.parametrize(("protocol", "version"), WAYS)
async def test_protocols(
    emulator: Server, front: str, protocol: str, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOXD_PROTOCOL", protocol)
    async with aio.Compute(token=emulator.token, api_url=front, http=HTTPOptions(version=version)) as client:
        await work(client, interactive=version != "1.1")


@pytest.mark.row(8)
@pytest.mark.parametrize("protocol", ["grpc", "grpc-web", "connect"])
async def test_r61_a_tls_server_without_http2(emulator: Server, trust: Trust, protocol: str) -> None:
    """Connect and gRPC-Web go over to HTTP/1.1, with the same settings; gRPC cannot."""
    pytest.importorskip("connectrpc")
    with gateway.running(emulator.api_url, trust.cert, trust.key, "http/1.1") as found:
        async with (
            ConnectProxy() as proxy,
            aio.Compute(
                token=emulator.token,
                protocol=protocol,
                api_url=f"https://localhost:{found}",
                http=HTTPOptions(ca=trust.ca, proxy=proxy.url),
            ) as client,
        ):
            if protocol == "grpc":
                with pytest.raises(ConnectionError, match=f"https://localhost:{found} does not speak HTTP/2"):
                    await client.whoami()
            else:
                for _ in range(3):
                    assert (await client.whoami()).user_id
                assert len(proxy.targets) == 2


# -- transports of httpx


@pytest.mark.parametrize("protocol", ["grpc-web", "connect"])
async def test_a_stock_transport(emulator: Server, front: str, protocol: str) -> None:
    transport = httpx.AsyncHTTPTransport(verify=False)
    client = aio.Compute(
        api_key=emulator.api_key,
        api_url=front,
        exchange_url=emulator.exchange_url,
        protocol=protocol,
        http=transport,
    )
    async with client:
        await work(client, interactive=False)


async def test_a_transport_with_trailers(server: Server) -> None:
    async with aio.Compute(token=server.token, api_url=server.api_url, http=HTTP2Transport()) as client:
        await work(client)


async def test_grpc_needs_trailers(emulator: Server) -> None:
    transport = httpx.AsyncHTTPTransport(verify=False, http1=False, http2=True)
    async with aio.Compute(token=emulator.token, api_url=emulator.api_url, http=transport) as client:
        with pytest.raises(boxd.InternalError, match=r"no trailers.*use protocol 'connect'"):
            await client.whoami()


async def test_a_transport_is_closed_with_the_client() -> None:
    class Own(httpx.MockTransport):
        closed = 0

        async def aclose(self) -> None:
            self.closed += 1

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/t":
            return httpx.Response(200, json={"token": "jwt", "expires_at": 4_000_000_000})
        assert request.headers["authorization"] == "Bearer jwt"
        return httpx.Response(200, headers={"content-type": "application/proto"}, content=b"")

    own = Own(answer)
    settings: dict[str, Any] = {"api_url": "http://api.test:1", "exchange_url": "https://exchange.test/t"}
    async with aio.Compute(api_key="k", protocol="connect", http=own, **settings) as client:
        await client.whoami()
        assert not own.closed
    assert own.closed == 1
