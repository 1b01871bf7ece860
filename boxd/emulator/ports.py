"""Exposed ports: TCP and UDP ports of this machine that lead to a port of a box."""

from __future__ import annotations

import asyncio
import random
import socket
from dataclasses import dataclass

from .box import DESTROYED, Box
from .errors import Code, EmulatorError
from .forward import join
from .listener import Listener, reset
from .machines import Boxes
from .store import Record, Store, Table

PER_BOX = 3
FIRST_PORT, LAST_PORT = 40000, 60000

_TRIES = 50
_MOST_PEERS = 64


@dataclass
class Exposed(Record):
    """One exposed port, kept under BOX/PORT."""

    box_id: str = ""
    port: int = 0
    protocol: str = "tcp"
    public_port: int = 0


class Ports:
    """The exposed ports of all boxes. `host` is the address to listen on."""

    def __init__(self, boxes: Boxes, store: Store, host: str) -> None:
        self._boxes = boxes
        self._host = host
        self._table = Table(store, "ports", Exposed)
        self._open: dict[str, Listener | _Datagrams] = {}

    @property
    def address(self) -> str:
        """Where the ports can be reached."""
        return "127.0.0.1" if self._host in ("", "0.0.0.0", "::") else self._host

    def of(self, box: Box | None) -> list[Exposed]:
        """The exposed ports of one box, or of all."""
        return [exposed for exposed in self._table if box is None or exposed.box_id == box.id]

    async def restore(self) -> None:
        """Listen again on the ports of a former run. One that is taken meanwhile is no longer exposed."""
        for exposed in self._table:
            try:
                await self._listen(exposed)
            except OSError:
                self._table.remove(exposed.id)

    async def expose(self, box: Box, port: int, protocol: str) -> Exposed:
        """Listen for a port of a box. INVALID_ARGUMENT, ALREADY_EXISTS, RESOURCE_EXHAUSTED."""
        if not 1 <= port <= 65535:
            raise EmulatorError(Code.INVALID_ARGUMENT, f"the port {port} is not in 1..65535")
        if protocol not in ("tcp", "udp"):
            raise EmulatorError(Code.INVALID_ARGUMENT, f"the protocol {protocol!r} is neither 'tcp' nor 'udp'")
        taken = self.of(box)
        if any(exposed.port == port for exposed in taken):
            raise EmulatorError(Code.ALREADY_EXISTS, f"port {port} of box {box.name} is exposed already")
        if len(taken) >= PER_BOX:
            raise EmulatorError(
                Code.RESOURCE_EXHAUSTED, f"box {box.name} has {PER_BOX} exposed ports, which is the limit"
            )
        exposed = Exposed(f"{box.id}/{port}", box.id, port, protocol)
        # Now, before anything is awaited, so that the limit cannot be passed by two calls at once.
        self._table.put(exposed)
        for candidate in random.sample(range(FIRST_PORT, LAST_PORT + 1), _TRIES):
            exposed.public_port = candidate
            try:
                await self._listen(exposed)
            except OSError:
                continue
            if box.status == DESTROYED:
                # Meanwhile: then `forget` has not seen the listener.
                await self._stop(exposed)
                raise EmulatorError(Code.NOT_FOUND, f"box {box.name} is destroyed")
            return self._table.put(exposed)
        self._table.remove(exposed.id)
        raise EmulatorError(Code.RESOURCE_EXHAUSTED, f"no port in {FIRST_PORT}..{LAST_PORT} is free on this machine")

    async def unexpose(self, box: Box, port: int) -> Exposed:
        """Stop listening for a port of a box. NOT_FOUND."""
        for exposed in self.of(box):
            if exposed.port == port:
                await self._stop(exposed)
                return exposed
        raise EmulatorError(Code.NOT_FOUND, f"port {port} of box {box.name} is not exposed")

    async def forget(self, box: Box) -> None:
        """Stop listening for a box that is destroyed."""
        for exposed in self.of(box):
            await self._stop(exposed)

    async def close(self) -> None:
        """Stop listening, and keep what is exposed for the next run."""
        for listener in self._open.values():
            await listener.close()
        self._open.clear()

    async def _stop(self, exposed: Exposed) -> None:
        self._table.remove(exposed.id)
        listener = self._open.pop(exposed.id, None)
        if listener is not None:
            await listener.close()

    async def _connect(self, exposed: Exposed) -> socket.socket:
        """A connection into the box; `ConnectionError` when it is off or nobody listens there."""
        try:
            machine = await self._boxes.ready(self._boxes.existing(exposed.box_id))
            return await machine.connect(exposed.port, exposed.protocol)
        except (EmulatorError, OSError) as error:
            raise ConnectionRefusedError(str(error)) from error

    async def _listen(self, exposed: Exposed) -> None:
        listener: Listener | _Datagrams
        if exposed.protocol == "udp":
            listener = _Datagrams(self, exposed)
        else:

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                try:
                    sock = await self._connect(exposed)
                except ConnectionError:
                    reset(writer)
                    return
                inner = await asyncio.open_connection(sock=sock)
                try:
                    with self._boxes.in_use(self._boxes.existing(exposed.box_id)):
                        await join((reader, writer), inner)
                finally:
                    inner[1].close()

            listener = Listener(serve)
        await listener.start(self._host, exposed.public_port)
        self._open[exposed.id] = listener


class _Datagrams(asyncio.DatagramProtocol):
    """A UDP port: each sender has a socket of its own in the box, of which the newest are kept."""

    def __init__(self, ports: Ports, exposed: Exposed) -> None:
        self._ports = ports
        self._exposed = exposed
        self._transport: asyncio.DatagramTransport | None = None
        self._peers: dict[object, asyncio.DatagramTransport] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(host, port))

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        peer = self._peers.get(addr)
        if peer is not None and not peer.is_closing():
            peer.sendto(data)
        elif len(self._tasks) < _MOST_PEERS:
            task = asyncio.get_running_loop().create_task(self._open_peer(data, addr))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _open_peer(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        try:
            sock = await self._ports._connect(self._exposed)
        except ConnectionError:
            # A datagram that nobody can take is lost, as on any network.
            return
        answers = _Answers(self, addr)
        peer, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: answers, sock=sock)
        other = self._peers.get(addr)
        if other is not None and not other.is_closing():
            # Two first datagrams of one sender came at once: one socket is enough.
            peer.close()
            peer = other
        self._peers[addr] = peer
        peer.sendto(data)
        while len(self._peers) > _MOST_PEERS:
            self._peers.pop(next(iter(self._peers))).close()

    def answer(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        """Send what the box says back to the sender."""
        if self._transport is not None:
            self._transport.sendto(data, addr)

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for peer in self._peers.values():
            peer.close()
        self._peers.clear()
        if self._transport is not None:
            self._transport.close()


class _Answers(asyncio.DatagramProtocol):
    def __init__(self, port: _Datagrams, addr: tuple[str | int, ...]) -> None:
        self._port = port
        self._addr = addr

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._port.answer(data, self._addr)
