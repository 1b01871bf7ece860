"""Exposed ports: from a port of this machine to one of a box."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

import pytest
from grpclib import Status

from boxd import messages as pb
from tests.emulator.support import asynchronous, works
from tests.emulator.test_server import Client, emulator, status_of

TCP = """
import socket
s = socket.create_server(("0.0.0.0", 5432))
open("ready", "w").close()
while True:
    c = s.accept()[0]
    while data := c.recv(65536):
        c.sendall(data.upper())
    c.sendall(b"end")
    c.close()
"""
UDP = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 5353))
open("ready", "w").close()
while True:
    data, who = s.recvfrom(65536)
    s.sendto(data.upper(), who)
"""


@pytest.fixture
def _networks() -> None:
    if works("root") and works("user-namespace"):
        pytest.skip("boxes have no network of their own here")


async def serve(client: Client, code: str) -> None:
    await client("UploadFile", pb.UploadFileRequest(vm_id="one", path="app.py", data=code.encode()))
    command = "python3 app.py >log 2>&1 & until [ -e ready ]; do sleep 0.01; done"
    assert (await client.run("one", command))[2] == 0


@pytest.mark.usefixtures("_networks")
@asynchronous
async def test_a_tcp_port() -> None:
    async with emulator() as client:
        await client("CreateVm", pb.CreateVmRequest(name="one"))
        made = await client("ExposePort", pb.ExposePortRequest(vm_id="one", vm_port=5432, protocol="tcp"))
        assert 40000 <= made.public_port <= 60000
        reader, writer = await asyncio.open_connection(made.dns, made.public_port)
        with contextlib.closing(writer), pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        await serve(client, TCP)
        await client("SuspendVm", pb.SuspendVmRequest(vm_id="one"))
        reader, writer = await asyncio.open_connection(made.dns, made.public_port)
        with contextlib.closing(writer):
            writer.write(b"abc" * 100000)
            writer.write_eof()
            assert await reader.read() == b"ABC" * 100000 + b"end"
        await client("DestroyVm", pb.DestroyVmRequest(vm_id="one"))
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(made.dns, made.public_port)


@pytest.mark.usefixtures("_networks")
@asynchronous
async def test_a_udp_port() -> None:
    async with emulator() as client:
        await client("CreateVm", pb.CreateVmRequest(name="one"))
        made = await client("ExposePort", pb.ExposePortRequest(vm_id="one", vm_port=5353, protocol="udp"))
        await serve(client, UDP)
        loop = asyncio.get_running_loop()
        for text in (b"first", b"second"):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.connect((made.dns, made.public_port))
                for _ in range(2):
                    await loop.sock_sendall(sock, text)
                    assert await asyncio.wait_for(loop.sock_recv(sock, 100), 5) == text.upper()
        removed = await client("UnexposePort", pb.UnexposePortRequest(vm_id="one", vm_port=5353))
        assert removed.forward == made


@asynchronous
async def test_ports_survive_a_restart_of_the_emulator(tmp_path: Any) -> None:
    settings: dict[str, Any] = {"state": str(tmp_path / "state"), "sandbox": "plain"}
    async with emulator(**settings) as client:
        await client("CreateVm", pb.CreateVmRequest(name="one"))
        made = await client("ExposePort", pb.ExposePortRequest(vm_id="one", vm_port=5432))
    async with emulator(**settings) as client:
        assert (await client("ListExposedPorts", pb.ListExposedPortsRequest())).forwards == [made]
        _, writer = await asyncio.open_connection(made.dns, made.public_port)
        writer.close()


@pytest.mark.parametrize(
    ("rpc", "request_", "status"),
    [
        ("ExposePort", pb.ExposePortRequest(vm_id="one", vm_port=1), Status.ALREADY_EXISTS),
        ("ExposePort", pb.ExposePortRequest(vm_id="one", vm_port=4), Status.RESOURCE_EXHAUSTED),
        ("ExposePort", pb.ExposePortRequest(vm_id="one"), Status.INVALID_ARGUMENT),
        ("ExposePort", pb.ExposePortRequest(vm_id="one", vm_port=9, protocol="sctp"), Status.INVALID_ARGUMENT),
        ("ExposePort", pb.ExposePortRequest(vm_id="x", vm_port=9), Status.NOT_FOUND),
        ("UnexposePort", pb.UnexposePortRequest(vm_id="one", vm_port=9), Status.NOT_FOUND),
    ],
)
@asynchronous
async def test_what_the_rpcs_refuse(rpc: str, request_: Any, status: Status) -> None:
    async with emulator(sandbox="plain") as client:
        await client("CreateVm", pb.CreateVmRequest(name="one"))
        for port in (1, 2, 3):
            await client("ExposePort", pb.ExposePortRequest(vm_id="one", vm_port=port))
        assert (await status_of(client(rpc, request_)))[0] is status
        assert len((await client("ListExposedPorts", pb.ListExposedPortsRequest(vm="one"))).forwards) == 3
