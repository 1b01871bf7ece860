"""What connects boxes with the world: proxies, and what else a box has beside its machine."""

from __future__ import annotations

import asyncio
import contextlib

from boxd import messages as pb

from .box import Box
from .disks import Disks
from .faults import Faults
from .forward import Forwarder
from .machines import Boxes
from .options import Options
from .ports import Ports
from .proxies import Proxies
from .sandbox import Machine
from .store import Store


class DataPlane:
    """The parts, made together. `start` opens the listener of the boxes' pages, `close` ends everything."""

    def __init__(self, boxes: Boxes, options: Options, store: Store) -> None:
        self._options = options
        self.disks = Disks(boxes, boxes.sandbox, store)
        self.proxies = Proxies(boxes, store, options.zone)
        self.ports = Ports(boxes, store, options.host)
        self.faults = Faults(options.faults)
        self.port = 0
        self._forwarder = Forwarder(self.proxies.connect)
        self._stack = contextlib.AsyncExitStack()
        boxes.destroyed.append(self._forget)
        boxes.booted.append(self._delay)

    async def start(self) -> None:
        """Listen. Raises `OSError`."""
        self._stack.push_async_callback(self._forwarder.close)
        self.port = await self._forwarder.start(self._options.host, self._options.proxy_port)
        if not self.proxies.zone:
            self.proxies.zone = f"localhost:{self.port}"
        self._stack.push_async_callback(self.ports.close)
        await self.ports.restore()

    async def close(self) -> None:
        """Close the listeners and the connections. Idempotent."""
        await self._stack.aclose()

    def set_up(self, box: Box, config: pb.VmConfig | None) -> None:
        """Give a new box what its configuration asks for, before it boots. Raises `EmulatorError`."""
        if config is not None:
            self.disks.set_up(box, config.volumes)
        if config is not None and config.network is not None:
            self.proxies.set_up(box, config.network.proxies)

    def copy(self, source: Box, box: Box, config: pb.VmConfig | None) -> None:
        """Give a fork what its source has and its configuration asks for. Raises `EmulatorError`."""
        self.proxies.copy(source, box)
        self.set_up(box, config)

    async def _delay(self, box: Box, machine: Machine) -> None:
        for fault in self.faults.take("", booting=True):
            await asyncio.sleep(fault.seconds)

    async def _forget(self, box: Box) -> None:
        self.proxies.forget(box)
        await self.ports.forget(box)
        self.disks.forget(box)
