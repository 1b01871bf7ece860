"""From a host's name to a socket: name resolution, and the race of its addresses (RFC 8305, "happy eyeballs")."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio

from boxd.transport.runtime import in_trio
from boxd.transport.wire import SocketWire

if TYPE_CHECKING:
    from boxd.transport.asyncio_wire import AsyncioWire

#: Seconds after which the next address is tried beside those that have not answered yet.
STAGGER = 0.25

Address: TypeAlias = "tuple[str, int]"


class NoneAnswers(OSError):
    """No address could be connected to; `exceptions` has the reasons."""

    def __init__(self, reasons: list[OSError]) -> None:
        super().__init__("; ".join(map(str, reasons)))
        self.exceptions = tuple(reasons)


async def connect_tcp(host: str, port: int) -> SocketWire | AsyncioWire:
    """Connect to the first of a host's addresses that answers. Raises `OSError`, which names those that were tried."""
    addresses = await resolve(host, port)
    if len(addresses) == 1:
        return await _connect(addresses[0])
    return await _race(addresses)


async def resolve(host: str, port: int) -> list[Address]:
    """A host's addresses in the order in which to try them: both families in turn, IPv6 first. Raises `OSError`."""
    if _is_address(host):
        return [(host, port)]
    found = await (_ask_in_trio if in_trio() else _ask)(host, port)
    addresses = list(dict.fromkeys((info[0], (str(info[4][0]), int(info[4][1]))) for info in found))
    sixes = [address for family, address in addresses if family == socket.AF_INET6]
    others = [address for family, address in addresses if family != socket.AF_INET6]
    return [one for one in chain.from_iterable(zip_longest(sixes, others)) if one is not None]


def _is_address(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            socket.inet_pton(family, host.partition("%")[0])
            return True
    return False


async def _ask_in_trio(host: str, port: int) -> list[Any]:
    return list(await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM))


async def _ask(host: str, port: int) -> list[Any]:
    """Ask in a thread of its own. Those of asyncio's executor are waited for at the end of the program, also when the
    resolver hangs."""
    import asyncio

    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[Any]] = loop.create_future()

    def tell(result: list[Any] | None, error: Exception | None) -> None:
        if not answer.done():
            answer.set_exception(error) if error is not None else answer.set_result(result or [])

    def ask() -> None:
        result, error = None, None
        try:
            result = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as exc:
            error = exc
        with contextlib.suppress(RuntimeError):  # The loop is over: nobody waits.
            loop.call_soon_threadsafe(tell, result, error)

    threading.Thread(target=ask, name="boxd resolver", daemon=True).start()
    return await answer


async def _race(addresses: list[Address]) -> SocketWire | AsyncioWire:
    winners: list[SocketWire | AsyncioWire] = []
    reasons: list[OSError] = []

    async def attempt(address: Address, failed: anyio.Event) -> None:
        try:
            wire = await _connect(address)
        except OSError as exc:
            reasons.append(exc)
            failed.set()
        else:
            winners.append(wire)
            group.cancel_scope.cancel()

    try:
        async with anyio.create_task_group() as group:
            for address in addresses:
                failed = anyio.Event()
                group.start_soon(attempt, address, failed)
                with anyio.move_on_after(STAGGER):
                    await failed.wait()
    except BaseException:
        await _close(winners)
        raise
    await _close(winners[1:])
    if not winners:
        raise NoneAnswers(reasons)
    return winners[0]


async def _close(wires: list[SocketWire | AsyncioWire]) -> None:
    with anyio.CancelScope(shield=True):
        for wire in wires:
            await wire.aclose()


async def _connect(address: Address) -> SocketWire | AsyncioWire:
    """One address: asyncio's own transport there, anyio's stream on trio."""
    host, port = address
    try:
        if in_trio():
            return SocketWire(await anyio.connect_tcp(host, port))
        from boxd.transport import asyncio_wire

        return await asyncio_wire.connect_tcp(host, port)
    except OSError as exc:
        # anyio hides the operating system's error behind its own.
        number = exc.errno or getattr(exc.__cause__, "errno", None)
        if number is None:
            raise
        shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        raise OSError(number, f"{shown}: {os.strerror(number)}") from exc
