"""Servers that are not there, speak something else, or go away; clients that are closed."""

from __future__ import annotations

import builtins
import http.server
import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest

import boxd
from tests.acceptance.conftest import Connect
from tests.acceptance.shell import sh
from tests.conftest import StartServer
from tests.fixtures.servers import Server

pytestmark = pytest.mark.anyio


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Http1(http.server.BaseHTTPRequestHandler):
    """Knows HTTP/1.1 and nothing else; to what it does not know it answers without a status line."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


class Refusal(Http1):
    """Answers in the usual way that the request is bad."""

    def handle(self) -> None:
        self.rfile.readline()
        self.wfile.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")


@pytest.fixture(params=[Http1, Refusal])
def http1_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a server that speaks HTTP/1.1."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), request.param) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


async def test_a_server_that_is_not_there(compute: Connect, free_port: int) -> None:
    async with compute(token="t", api_url=f"http://127.0.0.1:{free_port}") as client:
        for call in (client.whoami, client.box.list, client.box.create):
            with anyio.fail_after(15), pytest.raises(boxd.ConnectionError, match=f"127.0.0.1:{free_port}") as caught:
                await call()
            assert isinstance(caught.value, builtins.ConnectionError)
            assert caught.value.grpc_code == 14


async def test_a_host_that_does_not_exist(compute: Connect) -> None:
    async with compute(token="t", api_url="http://no-such-host.invalid:9443") as client:
        with anyio.fail_after(30), pytest.raises(boxd.ConnectionError, match=r"no-such-host\.invalid"):
            await client.whoami()


async def test_a_server_that_speaks_http1(compute: Connect, http1_server: str) -> None:
    async with compute(token="t", api_url=f"http://{http1_server}") as client:
        for _ in range(2):
            with anyio.fail_after(15), pytest.raises(boxd.ConnectionError, match="does not speak HTTP/2"):
                await client.whoami()


async def test_tls_to_a_server_that_has_none(compute: Connect, server: Server) -> None:
    async with compute(token="t", api_url=server.api_url.replace("http:", "https:")) as client:
        with anyio.fail_after(15), pytest.raises(boxd.ConnectionError, match="TLS"):
            await client.whoami()


async def test_a_call_after_close(client: Any, box: Any) -> None:
    process = await box.exec("sleep", "600", stream=True)
    await client.close()
    await client.close()
    for call in (client.whoami, client.box.list, box.start, lambda: box.exec("true"), lambda: box.read_file("x")):
        with anyio.fail_after(5), pytest.raises(boxd.BoxdError, match="closed"):
            await call()
    with anyio.fail_after(5), pytest.raises(boxd.BoxdError, match="closed"):
        await process.wait()


async def test_close_ends_the_calls_of_other_tasks(client: Any, box: Any) -> None:
    failures: list[str] = []

    async def run(started: anyio.Event) -> None:
        try:
            async with await sh(box, "echo up; sleep 600", stream=True) as process:
                await process.stdout.read()
                started.set()
                await process.wait()
        except boxd.BoxdError as error:
            failures.append(str(error))

    with anyio.fail_after(15):
        async with anyio.create_task_group() as tasks:
            events = [anyio.Event() for _ in range(3)]
            for event in events:
                tasks.start_soon(run, event)
            for event in events:
                await event.wait()
            await client.close()
    assert len(failures) == 3
    assert all("closed" in failure for failure in failures), failures


@pytest.mark.parametrize("kind", ["emulator", "grpcio"])
async def test_a_server_that_goes_away_and_comes_back(compute: Connect, start_server: StartServer, kind: str) -> None:
    with start_server(kind) as first:
        client = compute(**first.settings)
        box = await client.box.create()
        process = await sh(box, "echo before; read line", stream=True)
        assert await process.stdout.read() == b"before\n"
    with anyio.fail_after(15), pytest.raises(boxd.BoxdError):
        await process.wait()
    with anyio.fail_after(15), pytest.raises(boxd.ConnectionError):
        await client.whoami()
    with start_server(kind, port=urlsplit(first.api_url).port) as second:
        with anyio.fail_after(15), pytest.raises(boxd.AuthenticationError):
            await client.whoami()  # It is reached again, and has another secret for its tokens.
        assert second.token != first.token
        await client.close()
