"""`HTTP2Transport` under httpx, against HTTP/2 servers of other projects: Node's, hypercorn, nghttpd and grpcio."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import anyio
import httpx
import pytest
import trustme

from boxd.transport import HTTP2Transport
from tests.fixtures import echo_server
from tests.interop.servers import HERE, ROOT, find_tool, process
from tests.transport.leaks import background
from tests.transport.matrix.bench import wait_until

# On trio, httpx itself leaves a generator behind where a response is left early.
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Async generator 'httpx._client.BoundAsyncStream:ResourceWarning"),
]

AUTHORITY = trustme.CA()
Client = Callable[..., httpx.AsyncClient]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    AUTHORITY.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(path)
    return path


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    context.set_alpn_protocols(["h2"])
    return context


@contextlib.contextmanager
def serving(name: str, arguments: list[str]) -> Iterator[int]:
    """Node's server or hypercorn; yields its port."""
    command = [find_tool("node"), "http2.js"] if name == "node" else [sys.executable, "-m", "tests.interop.asgi"]
    with process([*command, *arguments], HERE / "node" if name == "node" else ROOT) as targets:
        yield targets[0].port


@pytest.fixture(scope="module", params=["node", "hypercorn"])
def server(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=["plain", "tls"])
def base(request: pytest.FixtureRequest, server: str, certificate: Path) -> Iterator[str]:
    """The URL of a server, in plaintext and over TLS."""
    secure = request.param == "tls"
    with serving(server, [str(certificate)] if secure else []) as port:
        yield f"https://localhost:{port}" if secure else f"http://127.0.0.1:{port}"


@pytest.fixture
async def client(anyio_backend: str, base: str) -> AsyncIterator[httpx.AsyncClient]:
    transport = HTTP2Transport(ssl_context=trusting())
    async with httpx.AsyncClient(transport=transport, base_url=base, timeout=20) as made:
        yield made
    assert not background()
    assert transport.stats().streams_open == 0


async def first_piece(response: httpx.Response) -> None:
    """Read something of a body, and leave the rest."""
    async with contextlib.aclosing(response.aiter_raw()) as pieces:
        assert await anext(pieces)


async def test_get(client: httpx.AsyncClient) -> None:
    response = await client.get("/hello")
    assert (response.status_code, response.text, response.http_version) == (200, "hello", "HTTP/2")
    assert response.headers.get_list("x-many", split_commas=True) == ["a", "b"]
    assert (await client.get("/no/such/page")).status_code == 404
    with pytest.raises(httpx.HTTPStatusError):
        (await client.get("/teapot")).raise_for_status()


async def test_what_httpx_does_itself(client: httpx.AsyncClient) -> None:
    assert (await client.get("/gzip")).text == "packed " * 100
    assert (await client.get("/redirect", follow_redirects=True)).text == "hello"
    found = (await client.get("/headers", headers={"x-mine": "1", "cookie": "a=b"}, auth=("u", "p"))).json()
    assert (found["x-mine"], found["cookie"], found["authorization"]) == ("1", "a=b", "Basic dTpw")
    assert not {"connection", "transfer-encoding"} & set(found)


async def test_responses_without_a_body(client: httpx.AsyncClient) -> None:
    head = await client.head("/hello")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "5")
    nothing = await client.get("/nothing")
    assert (nothing.status_code, nothing.content) == (204, b"")
    assert (await client.get("/hello")).text == "hello"


async def test_an_informational_response_comes_before(client: httpx.AsyncClient) -> None:
    response = await client.get("/early")
    assert (response.status_code, response.text) == (200, "after hints")


async def test_trailers(client: httpx.AsyncClient) -> None:
    async with client.stream("GET", "/trailers", headers={"te": "trailers"}) as response:
        assert await response.aread() == b"body"
        assert response.extensions["trailers"] == [(b"x-checksum", b"abc")]


async def test_a_large_body_down(client: httpx.AsyncClient) -> None:
    """Larger than every window."""
    size = 0
    async with client.stream("GET", "/big?size=30000000") as response:
        async for piece in response.aiter_bytes():
            size += len(piece)
    assert size == 30_000_000


async def test_a_large_body_up(client: httpx.AsyncClient) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(150):
            yield bytes((number,)) * 100_000

    digest = hashlib.sha256(b"".join([piece async for piece in pieces()])).hexdigest()
    assert (await client.post("/sum", content=pieces())).text == digest
    whole = b"".join([piece async for piece in pieces()])
    assert (await client.put("/sum", content=whole)).text == digest


async def test_both_ways_at_once(client: httpx.AsyncClient) -> None:
    """Each piece comes back before the next one is sent."""
    back = anyio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal back
        for number in range(10):
            back = anyio.Event()
            yield b"%d;" % number
            await back.wait()

    got = b""
    async with client.stream("POST", "/echo", content=pieces()) as response:
        async for piece in response.aiter_raw():
            got += piece
            if piece:
                back.set()
    assert got == b"".join(b"%d;" % number for number in range(10))


async def test_leaving_a_response(client: httpx.AsyncClient) -> None:
    """The rest is not waited for, and the connection goes on."""
    async with client.stream("GET", "/big?size=1000000000") as response:
        await first_piece(response)
    assert (await client.get("/hello")).text == "hello"
    assert client._transport.stats().connections_opened == 1  # type: ignore[attr-defined]


async def test_cancelling_a_request_reaches_the_server(client: httpx.AsyncClient) -> None:
    async def cancelled() -> int:
        return int((await client.get("/cancelled")).text)

    before = await cancelled()
    with anyio.move_on_after(0.1):
        await client.get("/silent")
    with pytest.raises(httpx.ReadTimeout):
        await client.get("/silent", timeout=0.1)
    with anyio.fail_after(10):
        while await cancelled() < before + 2:  # noqa: ASYNC110
            await anyio.sleep(0.02)


async def test_an_answer_before_the_end_of_the_request(client: httpx.AsyncClient, server: str) -> None:
    if server == "hypercorn":
        pytest.skip("hypercorn drops the connection for what comes of a request that it has answered")

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(10_000)

    with anyio.fail_after(10):
        async with client.stream("POST", "/refuse-body", content=endless()) as response:
            assert response.status_code == 413
            with contextlib.suppress(httpx.RemoteProtocolError):  # Node resets the stream; its answer came first.
                assert await response.aread() == b"too much"
    await wait_until(lambda: "boxd request body" not in background())
    assert (await client.get("/hello")).text == "hello"


async def test_a_stream_that_is_reset(client: httpx.AsyncClient, server: str) -> None:
    if server != "node":
        pytest.skip("an ASGI application cannot reset a stream")
    async with client.stream("GET", "/reset") as response:
        with pytest.raises(httpx.RemoteProtocolError, match="INTERNAL_ERROR"):
            await response.aread()
    assert (await client.get("/hello")).text == "hello"


async def test_many_at_once(client: httpx.AsyncClient) -> None:
    """More than hypercorn and Node allow on a connection."""
    texts: list[str] = []

    async def one(number: int) -> None:
        texts.append((await client.post("/echo", content=b"%d" % number)).text)

    async with anyio.create_task_group() as tasks:
        for number in range(300):
            tasks.start_soon(one, number)
    assert sorted(map(int, texts)) == list(range(300))


async def test_a_server_that_is_not_there(anyio_backend: str) -> None:
    async with httpx.AsyncClient(transport=HTTP2Transport()) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("http://127.0.0.1:1/")


# -- nghttpd: files, and what is uploaded comes back


@pytest.fixture(scope="module", params=["plain", "tls"])
def files(request: pytest.FixtureRequest, certificate: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    nghttpd = find_tool("nghttpd")
    folder = tmp_path_factory.mktemp("files")
    (folder / "index.html").write_text("index")
    (folder / "big").write_bytes(bytes(range(256)) * 80_000)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--echo-upload", "--trailer=x-checksum: abc", f"--htdocs={folder}", "--address=127.0.0.1"]
    tls = [str(certificate), str(certificate)] if request.param == "tls" else ["--no-tls"]
    arguments = [*options, str(port), *tls] if request.param == "tls" else [*options, *tls, str(port)]
    with subprocess.Popen([nghttpd, *arguments]) as running:
        try:
            yield f"https://localhost:{port}" if request.param == "tls" else f"http://127.0.0.1:{port}"
        finally:
            running.terminate()


async def test_nghttpd(anyio_backend: str, files: str) -> None:
    transport = httpx.AsyncClient(transport=HTTP2Transport(ssl_context=trusting()), base_url=files, timeout=20)
    async with transport as client:
        with anyio.fail_after(10):
            while True:
                with contextlib.suppress(httpx.ConnectError):  # It says nothing when it begins to listen.
                    response = await client.get("/")
                    break
                await anyio.sleep(0.02)
        assert (response.text, response.extensions["trailers"]) == ("index", [(b"x-checksum", b"abc")])
        assert (await client.get("/big")).content == bytes(range(256)) * 80_000
        head = await client.head("/big")
        assert (head.status_code, head.headers["content-length"], head.content) == (200, str(256 * 80_000), b"")
        assert (await client.get("/none")).status_code == 404
        body = bytes(range(256)) * 20_000

        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, len(body), 50_000):
                yield body[start : start + 50_000]

        for content in (body, pieces()):
            response = await client.post("/", content=content)
            assert response.content == body
            assert response.extensions["trailers"] == [(b"x-checksum", b"abc")]
        async with client.stream("GET", "/big") as response:
            await first_piece(response)
        assert (await client.get("/")).text == "index"


# -- grpcio: a gRPC call by hand


async def test_grpcio(anyio_backend: str, echo: echo_server.Running) -> None:
    url = f"http://127.0.0.1:{echo.target.port}/{echo_server.SERVICE}"
    headers = {"content-type": "application/grpc", "te": "trailers"}

    async def messages() -> AsyncIterator[bytes]:
        for text in (b"one", b"two"):
            yield b"\0" + len(text).to_bytes(4, "big") + text

    async with httpx.AsyncClient(transport=HTTP2Transport()) as client:
        response = await client.post(f"{url}/Echo", headers=headers, content=b"\0\0\0\0\5hello")
        assert response.content == b"\0\0\0\0\5hello"
        assert dict(response.extensions["trailers"])[b"grpc-status"] == b"0"
        response = await client.post(f"{url}/Chat", headers=headers, content=messages())
        assert response.content == b"\0\0\0\0\3one\0\0\0\0\3two"
        response = await client.post(f"{url}/Missing", headers=headers, content=b"\0\0\0\0\0")
        assert response.headers["grpc-status"] == "12"
