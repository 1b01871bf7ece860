"""HTTP/2 where a server speaks it, else HTTP/1.1: for gRPC-Web and Connect over TLS, where ALPN says which."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from boxd.transport.errors import NoHttp2Agreed

if TYPE_CHECKING:
    from boxd.transport.connector import Closing, Connector, StreamSource
    from boxd.transport.deadline import Deadline
    from boxd.transport.runtime import Runtime

logger = logging.getLogger("boxd.transport")


class Fallback:
    """A connector that begins with HTTP/2 and goes over to HTTP/1.1 when the server does not choose it."""

    def __init__(self, http2: Connector, make_http1: Callable[[], Connector]) -> None:
        self._http2 = http2
        self._make_http1 = make_http1
        self._http1: Connector | None = None

    @property
    def _chosen(self) -> Connector:
        return self._http2 if self._http1 is None else self._http1

    @property
    def connections(self) -> int:
        """How many there are now."""
        return self._chosen.connections

    @property
    def open_streams(self) -> int:
        """How many streams run now."""
        return self._chosen.open_streams

    @property
    def bound_here(self) -> bool:
        """True on the event loop they live on."""
        return self._chosen.bound_here

    def runtime(self) -> Runtime:
        """The event loop they live on."""
        return self._chosen.runtime()

    def forget(self) -> None:
        """Drop them without touching a socket. The server is asked again."""
        self._chosen.forget()
        self._http1 = None

    @property
    def ready(self) -> bool:
        """True when `acquire` has nothing to wait for."""
        return self._chosen.ready

    async def acquire(self, deadline: Deadline | None, *, patient: bool = False) -> StreamSource:
        """Where to open a stream, before anything else is awaited."""
        if self._http1 is None:
            try:
                return await self._http2.acquire(deadline, patient=patient)
            except NoHttp2Agreed as error:
                if self._http1 is None:
                    logger.info("HTTP/1.1 from now on: %s", error.message)
                    self._http1 = self._make_http1()
        return await self._http1.acquire(deadline, patient=patient)

    def close(self) -> Sequence[Closing]:
        """Close them all and refuse new calls; returns what is still closing. Idempotent."""
        http1 = [] if self._http1 is None else self._http1.close()
        return [*self._http2.close(), *http1]
