"""The proxies of boxes: which host name leads to which port of which box."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

from boxd import messages as pb

from .box import Box
from .errors import Code, EmulatorError
from .forward import Refusal
from .machines import Boxes
from .store import Record, Store, Table

DEFAULT_PORT = 8000
AUTO_PORTS = (80, 443, 8080, 8000, 3000, 5000, 5173)
"""Where `auto` looks for a program, in this order."""

AUTO = 0
"""The port of a proxy that takes the first of `AUTO_PORTS`."""

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_LONGEST_HOST = 63


@dataclass
class Route:
    """Where a proxy leads: a port, or `AUTO`; `found` is the port at which `auto` last found a program."""

    port: int = DEFAULT_PORT
    found: int = 0

    @property
    def effective(self) -> int:
        """The port that the next connection tries first; 0 when that is not known yet."""
        return self.found if self.port == AUTO else self.port


@dataclass
class _Saved(Record):
    """The proxies of one box, by its id."""

    ports: dict[str, int] = field(default_factory=dict)


class Proxies:
    """The proxies of all boxes. `zone` is the domain that boxes' names are below."""

    def __init__(self, boxes: Boxes, store: Store, zone: str) -> None:
        self._boxes = boxes
        self.zone = zone
        self._saved = Table(store, "proxies", _Saved)
        self._routes = {saved.id: {name: Route(port) for name, port in saved.ports.items()} for saved in self._saved}

    def _of(self, box: Box) -> dict[str, Route]:
        """A box's proxies by name; "" is the default one, which every box has."""
        return self._routes.setdefault(box.id, {"": Route()})

    def _save(self, box: Box) -> None:
        self._saved.put(_Saved(box.id, {name: route.port for name, route in self._of(box).items()}))

    def set_up(self, box: Box, entries: Iterable[pb.ProxyEntry]) -> None:
        """Give a new box the proxies of its configuration; an entry without a name is the default one."""
        for entry in entries:
            route = Route(_checked(entry.port or DEFAULT_PORT))
            if entry.name:
                self._add(box, entry.name, route)
            else:
                self._of(box)[""] = route
        self._save(box)

    def copy(self, source: Box, target: Box) -> None:
        """Give a fork the proxies of its source."""
        routes = {name: Route(route.port) for name, route in self._of(source).items()}
        self._routes[target.id] = routes
        self._save(target)

    def forget(self, box: Box) -> None:
        """Remove the proxies of a box that is destroyed."""
        self._routes.pop(box.id, None)
        self._saved.remove(box.id)

    def host(self, box: Box, name: str = "") -> str:
        """The host name of a box's proxy."""
        return f"{name}.{box.name}.{self.zone}" if name else f"{box.name}.{self.zone}"

    def _add(self, box: Box, name: str, route: Route) -> None:
        if not _LABEL.fullmatch(name):
            raise EmulatorError(
                Code.INVALID_ARGUMENT,
                f"{name!r} is no name for a proxy: use 1 to 63 lower-case letters, digits and hyphens, "
                "with a letter or digit first and last",
            )
        host = self.host(box, name).partition(":")[0]
        if len(host) > _LONGEST_HOST:
            raise EmulatorError(Code.INVALID_ARGUMENT, f"{host} has more than {_LONGEST_HOST} characters")
        if name in self._of(box):
            raise EmulatorError(Code.ALREADY_EXISTS, f"box {box.name} has a proxy {name!r} already")
        self._of(box)[name] = route

    def _route(self, box: Box, name: str) -> Route:
        route = self._of(box).get(name)
        if route is None:
            raise EmulatorError(Code.NOT_FOUND, f"box {box.name} has no proxy {name!r}")
        return route

    def named(self, box: Box) -> list[tuple[str, Route]]:
        """The names of a box's proxies and where they lead, the default one first."""
        return sorted(self._of(box).items())

    def add(self, box: Box, name: str, port: int) -> int:
        """Add a proxy; its port, which is the default one for 0. INVALID_ARGUMENT, ALREADY_EXISTS."""
        route = Route(_checked(port or DEFAULT_PORT))
        self._add(box, name, route)
        self._save(box)
        return route.port

    def set_port(self, box: Box, name: str, port: str) -> None:
        """Let a proxy lead to another port: a number or `auto`. INVALID_ARGUMENT, NOT_FOUND."""
        route = self._route(box, name)
        route.port, route.found = _parse(port), 0
        self._save(box)

    def remove(self, box: Box, name: str) -> None:
        """Remove a proxy. NOT_FOUND; FAILED_PRECONDITION for the default one."""
        self._route(box, name)
        if not name:
            raise EmulatorError(Code.FAILED_PRECONDITION, "the default proxy cannot be deleted")
        del self._of(box)[name]
        self._save(box)

    # Forwarding.

    def _find(self, host: str) -> tuple[Box, Route]:
        """The box and the route that a Host header means; `Refusal` 404."""
        name = host.lower().rpartition(":")[0] if ":" in host else host.lower()
        name = name.rstrip(".")
        for suffix in (".localhost", "." + self.zone.partition(":")[0]):
            if name.endswith(suffix):
                proxy, _, box_name = name[: -len(suffix)].rpartition(".")
                try:
                    box = self._boxes.existing(box_name)
                    return box, self._route(box, proxy)
                except EmulatorError as error:
                    raise Refusal(404, error.message) from error
        raise Refusal(404, f"{host!r} is no address of a box: those are like NAME.{self.zone}")

    @contextlib.asynccontextmanager
    async def connect(self, host: str) -> AsyncIterator[socket.socket]:
        """A connection to the program that a host name leads to; wakes a suspended box, and keeps it in use.

        Raises `Refusal`.
        """
        box, route = self._find(host)
        with self._boxes.in_use(box):
            yield await self._open(box, route)

    async def _open(self, box: Box, route: Route) -> socket.socket:
        try:
            machine = await self._boxes.ready(box)
        except EmulatorError as error:
            raise Refusal(503, error.message) from error
        for port in AUTO_PORTS if route.port == AUTO else (route.port,):
            try:
                sock = await machine.connect(port)
            except OSError:
                continue
            route.found = port
            return sock
        ports = f"any of {', '.join(map(str, AUTO_PORTS))}" if route.port == AUTO else f"port {route.port}"
        raise Refusal(
            502,
            f"nothing listens on {ports} of box {box.name}: "
            "start a program there that listens on 0.0.0.0 (one on 127.0.0.1 is not reached from outside)",
        )


def _checked(port: int) -> int:
    if not 1 <= port <= 65535:
        raise EmulatorError(Code.INVALID_ARGUMENT, f"the port {port} is not in 1..65535")
    return port


def _parse(text: str) -> int:
    """The port of a SetProxyPort: a number, or `auto`. 0 and "" mean the default."""
    if text == "auto":
        return AUTO
    if text and not (text.isascii() and text.isdigit()):
        raise EmulatorError(Code.INVALID_ARGUMENT, f"the port {text!r} is neither a number nor 'auto'")
    return _checked(int(text or 0) or DEFAULT_PORT)
