"""The boxes' pages: names, ports and what passes through the forwarder."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from grpclib import Status

from boxd import messages as pb
from tests.emulator.support import asynchronous, works
from tests.emulator.test_server import Client, emulator, status_of

# A server with a behaviour per path; it speaks raw HTTP, so that the tests see what really arrives and when.
APP = r"""
import socketserver, sys
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.rfile.readline()
            if not line:
                return
            head += line
        path = head.split()[1]
        if path == b"/head":
            self.answer(head)
        elif path == b"/echo":
            self.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while size := int(self.rfile.readline(), 16):
                data = self.rfile.read(size + 2)
                self.send(b"%x\r\n" % size + data)
            self.send(b"0\r\n\r\n")
        elif path == b"/old":
            self.send(b"HTTP/1.0 200 OK\r\n\r\nuntil the end")
        elif path == b"/broken":
            self.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nnot a hundred")
        elif path == b"/nonsense":
            self.send(b"SSH-2.0-x\r\n\r\n")
        elif path == b"/silent":
            return
        elif path == b"/wait":
            self.rfile.read()
            open("gone", "w").close()
        elif path == b"/ws":
            self.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
            while data := self.request.recv(100):
                self.send(data.upper())
            self.send(b"bye")
        else:
            self.answer(sys.argv[2].encode() + b" " + path)
    def send(self, data):
        self.wfile.write(data)
        self.wfile.flush()
    def answer(self, content):
        self.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
Server(("0.0.0.0", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture(autouse=True)
def _networks() -> None:
    if works("root") and works("user-namespace"):
        pytest.skip("boxes have no network of their own here")


async def serve(client: Client, box: str, port: int, text: str) -> None:
    await client("UploadFile", pb.UploadFileRequest(vm_id=box, path="app.py", data=APP.encode()))
    probe = f"python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {port}))' 2>/dev/null"
    command = f"python3 app.py {port} {text} >log 2>&1 & until {probe}; do :; done"
    assert (await client.run(box, command))[2] == 0


class Page:
    """One connection to the forwarder."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, path: str, host: str, *headers: str, body: str = "") -> None:
        lines = "\r\n".join((f"GET {path} HTTP/1.1", f"Host: {host}", *headers))
        self.writer.write(f"{lines}\r\n\r\n{body}".encode())
        await self.writer.drain()

    async def head(self) -> str:
        return (await self.reader.readuntil(b"\r\n\r\n")).decode()

    async def get(self, path: str, host: str, *headers: str) -> tuple[int, str]:
        await self.ask(path, host, *headers)
        head = await self.head()
        length = int(head.lower().partition("content-length: ")[2].split("\r\n")[0])
        return int(head.split()[1]), (await self.reader.readexactly(length)).decode()


@contextlib.asynccontextmanager
async def page(client: Client) -> Any:
    reader, writer = await asyncio.open_connection("127.0.0.1", client.local.proxy_port)
    with contextlib.closing(writer):
        yield Page(reader, writer)


async def get(client: Client, path: str, host: str, *headers: str) -> tuple[int, str]:
    async with page(client) as one:
        result: tuple[int, str] = await one.get(path, host, *headers)
        return result


@asynchronous
async def test_each_name_leads_to_its_box_and_port() -> None:
    async with emulator() as client:
        entries = [pb.ProxyEntry(name="api", port=9000)]
        config = pb.VmConfig(network=pb.NetworkConfig(proxies=entries))
        for name in ("one", "two"):
            await client("CreateVm", pb.CreateVmRequest(name=name, config=config))
            await serve(client, name, 8000, name)
        await serve(client, "one", 9000, "api")
        port = client.local.proxy_port
        async with page(client) as kept:
            # One connection, as a client that pools by address uses it.
            assert await kept.get("/a", f"one.localhost:{port}") == (200, "one /a")
            assert await kept.get("/b", "TWO.localhost.") == (200, "two /b")
            assert await kept.get("/c", f"api.one.localhost:{port}") == (200, "api /c")
            assert await kept.get(f"http://two.localhost:{port}/d", "elsewhere") == (200, "two /d")
        for host in ("three.localhost", "x.one.localhost", "localhost", "example.com"):
            assert (await get(client, "/", host))[0] == 404
        status, text = await get(client, "/", "api.two.localhost")
        assert (status, "nothing listens on port 9000 of box two" in text) == (502, True)
        await client("SuspendVm", pb.SuspendVmRequest(vm_id="one"))
        assert await get(client, "/", "one.localhost") == (200, "one /")
        assert (await client("GetVm", pb.GetVmRequest(vm_id="one"))).status == "running"
        await client("StopVm", pb.StopVmRequest(vm_id="one"))
        assert (await get(client, "/", "one.localhost"))[0] == 503
        await client("DestroyVm", pb.DestroyVmRequest(vm_id="one"))
        assert (await get(client, "/", "one.localhost"))[0] == 404


@asynchronous
async def test_what_passes_through() -> None:
    async with emulator() as client:
        await client("CreateVm", pb.CreateVmRequest(name="one"))
        await serve(client, "one", 8000, "one")
        host = f"one.localhost:{client.local.proxy_port}"
        _, head = await get(client, "/head", host, "X-Mine: 1", "Connection: keep-alive", "Cookie: a", "Cookie: b")
        lines = head.split("\r\n")
        for line in (f"Host: {host}", "X-Mine: 1", "Connection: close", "Cookie: a", "X-Forwarded-For: 127.0.0.1"):
            assert line in lines
        assert "Connection: keep-alive" not in lines
        async with page(client) as one:
            # Each piece comes back before the next one is sent: bodies stream both ways.
            await one.ask("/echo", host, "Transfer-Encoding: chunked")
            for piece in (b"first", b"second"):
                one.writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                if piece == b"first":
                    assert "chunked" in await one.head()
                assert await one.reader.readuntil(piece + b"\r\n")
            one.writer.write(b"0\r\n\r\n")
            assert await one.reader.readuntil(b"0\r\n\r\n") == b"0\r\n\r\n"
            assert (await one.get("/", host))[0] == 200
        async with page(client) as one:
            await one.ask("/old", host)
            assert "Transfer-Encoding: chunked" in await one.head()
            assert await one.reader.readuntil(b"0\r\n\r\n") == b"d\r\nuntil the end\r\n0\r\n\r\n"
        async with page(client) as one:
            await one.ask("/broken", host)
            await one.head()
            with pytest.raises(ConnectionResetError):
                await one.reader.readexactly(100)
        for path in ("/nonsense", "/silent"):
            assert (await get(client, path, host))[0] == 502


@asynchronous
async def test_a_websocket_and_a_client_that_leaves() -> None:
    async with emulator() as client:
        await client("CreateVm", pb.CreateVmRequest(name="one"))
        await serve(client, "one", 8000, "one")
        async with page(client) as one:
            await one.ask("/ws", "one.localhost", "Connection: Upgrade", "Upgrade: websocket")
            assert (await one.head()).startswith("HTTP/1.1 101 ")
            assert await one.reader.readexactly(5) == b"hello"
            one.writer.write(b"ping")
            assert await one.reader.readexactly(4) == b"PING"
            one.writer.write_eof()
            assert await one.reader.read() == b"bye"
        async with page(client) as one:
            await one.ask("/wait", "one.localhost")
        assert (await client.run("one", "until [ -e gone ]; do sleep 0.02; done"))[2] == 0


@asynchronous
async def test_a_box_whose_page_is_open_is_in_use() -> None:
    async with emulator() as client:
        lifecycle = pb.SrfConfig(auto_suspend_timeout_secs=1)
        await client("CreateVm", pb.CreateVmRequest(name="one", config=pb.VmConfig(srf=lifecycle)))
        await serve(client, "one", 8000, "one")
        async with page(client) as one:
            await one.ask("/ws", "one.localhost", "Connection: Upgrade", "Upgrade: websocket")
            await one.head()
            # Longer than the time after which an idle box is suspended.
            await asyncio.sleep(1.5)
            assert (await client("GetVm", pb.GetVmRequest(vm_id="one"))).status == "running"


@asynchronous
async def test_requests_that_are_refused_here() -> None:
    async with emulator() as client:
        for text, status in (
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("CONNECT one:443 HTTP/1.1\r\nHost: one\r\n\r\n", 405),
            ("nonsense\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: " + "x" * 70000, 431),
            ("HEAD / HTTP/1.1\r\nHost: nobody.localhost\r\n\r\n", 404),
        ):
            async with page(client) as one:
                one.writer.write(text.encode())
                answer = (await one.reader.read()).decode()
                assert answer.startswith(f"HTTP/1.1 {status} "), answer
                assert answer.endswith("\r\n\r\n") == text.startswith("HEAD")


@asynchronous
async def test_the_rpcs_and_their_rules() -> None:
    async with emulator(generation=1) as client:
        await client("CreateVm", pb.CreateVmRequest(name="one"))
        port = client.local.proxy_port

        async def proxies(box: str = "one") -> list[tuple[Any, ...]]:
            listed = (await client("ListProxies", pb.ListProxiesRequest(vm_name=box))).proxies
            return [(one.name, one.domain, one.port, one.is_default, one.port_display) for one in listed]

        assert await proxies() == [("", f"one.localhost:{port}", 8000, True, "8000")]
        made = await client("CreateProxy", pb.CreateProxyRequest(name="api", vm_name="one"))
        assert (made.name, made.vm_name, made.port) == ("api", "one", 8000)
        await client("SetProxyPort", pb.SetProxyPortRequest(name="api", vm_name="one", port="3000"))
        await client("SetProxyPort", pb.SetProxyPortRequest(vm_name="one", port="auto"))
        assert await proxies() == [
            ("", f"one.localhost:{port}", 0, True, "auto"),
            ("api", f"api.one.localhost:{port}", 3000, False, "3000"),
        ]
        fork = await client("ForkVm", pb.ForkVmRequest(source_vm_id="one"))
        assert [row[2] for row in await proxies(fork.name)] == [0, 3000]
        await serve(client, "one", 5000, "found")
        assert await get(client, "/", "one.localhost") == (200, "found /")
        assert (await proxies())[0][2] == 5000
        await client("DeleteProxy", pb.DeleteProxyRequest(name="api", vm_name="one"))
        assert len(await proxies()) == 1


@pytest.mark.parametrize(
    ("rpc", "request_", "status"),
    [
        ("CreateProxy", pb.CreateProxyRequest(name="A_b", vm_name="one"), Status.INVALID_ARGUMENT),
        ("CreateProxy", pb.CreateProxyRequest(name="", vm_name="one"), Status.INVALID_ARGUMENT),
        ("CreateProxy", pb.CreateProxyRequest(name="a" * 60, vm_name="one"), Status.INVALID_ARGUMENT),
        ("CreateProxy", pb.CreateProxyRequest(name="a", vm_name="one", port=70000), Status.INVALID_ARGUMENT),
        ("CreateProxy", pb.CreateProxyRequest(name="there", vm_name="one"), Status.ALREADY_EXISTS),
        ("CreateProxy", pb.CreateProxyRequest(name="a", vm_name="none"), Status.NOT_FOUND),
        ("SetProxyPort", pb.SetProxyPortRequest(name="default", vm_name="one", port="1"), Status.NOT_FOUND),
        ("SetProxyPort", pb.SetProxyPortRequest(vm_name="one", port="http"), Status.INVALID_ARGUMENT),
        ("SetProxyPort", pb.SetProxyPortRequest(vm_name="one", port="65536"), Status.INVALID_ARGUMENT),
        ("DeleteProxy", pb.DeleteProxyRequest(vm_name="one"), Status.FAILED_PRECONDITION),
        ("DeleteProxy", pb.DeleteProxyRequest(name="x", vm_name="one"), Status.NOT_FOUND),
        ("ListProxies", pb.ListProxiesRequest(vm_name="none"), Status.NOT_FOUND),
    ],
)
@asynchronous
async def test_what_the_rpcs_refuse(rpc: str, request_: Any, status: Status) -> None:
    async with emulator(sandbox="plain") as client:
        config = pb.VmConfig(network=pb.NetworkConfig(proxies=[pb.ProxyEntry(name="there")]))
        await client("CreateVm", pb.CreateVmRequest(name="one", config=config))
        assert (await status_of(client(rpc, request_)))[0] is status


@asynchronous
async def test_a_bad_proxy_in_a_new_boxs_configuration() -> None:
    async with emulator(sandbox="plain") as client:
        config = pb.VmConfig(network=pb.NetworkConfig(proxies=[pb.ProxyEntry(name="-")]))
        request = pb.CreateVmRequest(name="one", config=config)
        assert (await status_of(client("CreateVm", request)))[0] is Status.INVALID_ARGUMENT
        assert not (await client("ListVms", pb.ListVmsRequest())).vms
