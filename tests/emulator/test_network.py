"""The network of a box: its own ports, what reaches them, and what does not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from pathlib import Path

import pytest

from boxd.emulator.sandbox import Machine, SandboxError, Spawn, open_sandbox
from tests.emulator.support import asynchronous, machine_of, new_machine, run, sandbox_of

# Listens on the address and port of its arguments, says so, and answers the first connection with its last one.
LISTEN = """
import socket, sys
s = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("listening", flush=True)
c = s.accept()[0]
c.sendall(sys.argv[3].encode())
c.close()
"""


async def listen(machine: Machine, address: str, port: int, answer: str) -> None:
    process = await machine.spawn(Spawn(("python3", "-c", LISTEN, address, str(port), answer)))
    assert await process.stdout.read() == b"listening\n"


async def talk(machine: Machine, port: int) -> bytes:
    reader, writer = await asyncio.open_connection(sock=await machine.connect(port))
    with contextlib.closing(writer):
        return await reader.read()


@asynchronous
async def test_two_boxes_listen_on_one_port(isolated: str, state: Path) -> None:
    async with sandbox_of(isolated, state) as sandbox:
        assert sandbox.own_network
        machines = [await new_machine(sandbox, name) for name in ("one", "two")]
        for machine, answer in zip(machines, ("first", "second"), strict=True):
            await listen(machine, "0.0.0.0", 8000, answer)
        assert [await talk(machine, 8000) for machine in machines] == [b"first", b"second"]


@asynchronous
async def test_a_port_nobody_listens_on_refuses(kind: str, state: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with machine_of(kind, state) as machine:
        with pytest.raises(ConnectionRefusedError):
            await machine.connect(port)


@asynchronous
async def test_a_program_on_the_boxes_loopback_is_not_reached(isolated: str, state: Path) -> None:
    async with machine_of(isolated, state) as machine:
        await listen(machine, "127.0.0.1", 8000, "inside")
        with pytest.raises(ConnectionRefusedError):
            await machine.connect(8000)
        command = "python3 -c 'import socket; print(socket.create_connection((\"localhost\", 8000)).recv(9))'"
        assert (await run(machine, command)).out == "b'inside'\n"


@asynchronous
async def test_a_box_does_not_reach_what_listens_on_the_host(isolated: str, state: Path) -> None:
    name = f"\0boxd-test-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as local:
        local.bind(name)
        local.listen()
        port = tcp.getsockname()[1]
        tries = (
            f"socket.create_connection(('127.0.0.1', {port}))",
            f"socket.socket(socket.AF_UNIX).connect({name!r})",
        )
        async with machine_of(isolated, state) as machine:
            for attempt in tries:
                result = await run(machine, f'python3 -c "import socket; {attempt}"'.replace("\0", "\\0"))
                assert "ConnectionRefusedError" in result.err
                assert result.code == 1


@asynchronous
async def test_the_hosts_network_on_request(isolated: str, tmp_path: Path) -> None:
    sandbox = await open_sandbox(str(tmp_path / "s"), remove_at_end=True, kind="namespaces", network="host")
    try:
        assert not sandbox.own_network
        machine = await new_machine(sandbox, "one")
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            connect = f"import socket; socket.create_connection(('127.0.0.1', {port}))"
            assert (await run(machine, f'python3 -c "{connect}"')).code == 0
    finally:
        await sandbox.close()


@asynchronous
async def test_a_network_of_its_own_or_an_error(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="needs namespaces"):
        await open_sandbox(str(tmp_path / "s"), remove_at_end=True, kind="plain", network="isolated")


@asynchronous
async def test_the_boxes_root_has_no_power_over_its_interfaces(isolated: str, state: Path) -> None:
    async with machine_of(isolated, state) as machine:
        assert (await run(machine, "sudo ip link set lo down")).code != 0
        assert (await run(machine, "sudo ip addr add 10.9.9.9/8 dev lo")).code != 0
        # But it may use the ports below 1024, as on a machine.
        await_port = 'import socket; socket.create_server(("", 80)); print(80)'
        assert (await run(machine, f"sudo python3 -c '{await_port}'")).out == "80\n"
