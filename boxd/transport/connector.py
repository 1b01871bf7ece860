"""What a channel and its calls need of a version of HTTP: they know no more of it than this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from boxd.transport.backoff import Backoff
from boxd.transport.deadline import Deadline
from boxd.transport.dial import HTTP2_ONLY, dial
from boxd.transport.dial_options import DialOptions
from boxd.transport.http2.options import EngineOptions
from boxd.transport.http2.stream import Headers, StreamEvents
from boxd.transport.journal import Journal
from boxd.transport.options import ConnectionOptions
from boxd.transport.pool import Pool
from boxd.transport.runtime import Runtime
from boxd.transport.target import Target

if TYPE_CHECKING:
    import httpx


class RequestStream(Protocol):
    """A request and its response. Every method returns at once; what comes is told to the `StreamEvents`."""

    @property
    def done(self) -> bool:
        """True when nothing more comes."""

    @property
    def end_queued(self) -> bool:
        """True after the half-close."""

    @property
    def drained(self) -> bool:
        """True when no body bytes wait to be written."""

    @property
    def wants_flush(self) -> bool:
        """True when something waits for the connection's `flush`."""

    def send(self, data: bytes, *, end: bool = False) -> None:
        """Queue a piece of the request's body; `end` half-closes after it."""

    def withdraw(self, size: int) -> bool:
        """Take back what is queued, if it is the whole of a message of `size` bytes."""

    def consumed(self, size: int) -> None:
        """Let the server send `size` more bytes of body."""

    def reset(self, code: int) -> None:
        """End it from our side. Idempotent; no further event comes."""


class StreamSource(Protocol):
    """Where streams are opened."""

    @property
    def max_header_list_size(self) -> int | None:
        """The largest header list that the server takes, if it says so."""

    def open(self, headers: Headers, events: StreamEvents) -> RequestStream:
        """Start a request; its first data may be queued as long as nothing is awaited."""

    def flush(self) -> None:
        """Have what was queued written."""


class Closing(Protocol):
    """Something that is being closed."""

    async def wait_closed(self) -> None:
        """Wait for the end."""


class Connector(Protocol):
    """The connections to one server."""

    @property
    def connections(self) -> int:
        """How many there are now."""

    @property
    def open_streams(self) -> int:
        """How many streams run now."""

    @property
    def bound_here(self) -> bool:
        """True on the event loop they live on."""

    def runtime(self) -> Runtime:
        """The event loop they live on."""

    def forget(self) -> None:
        """Drop them without touching a socket."""

    @property
    def ready(self) -> bool:
        """True when `acquire` has nothing to wait for."""

    async def acquire(self, deadline: Deadline | None, *, patient: bool = False) -> StreamSource:
        """Where to open a stream, before anything else is awaited. A patient call waits for a server that cannot be
        reached."""

    def close(self) -> Sequence[Closing]:
        """Close them all and refuse new calls; returns what is still closing. Idempotent."""


def make_connector(
    http: str | httpx.AsyncBaseTransport,
    target: Target,
    dialing: DialOptions,
    engine: EngineOptions,
    options: ConnectionOptions,
    backoff: Backoff,
    journal: Journal,
) -> Connector:
    """Connections that speak a version of HTTP: `2`, `1.1`, or `auto` for HTTP/2 unless a TLS server chooses HTTP/1.1;
    or that belong to a transport of httpx."""

    def http1() -> Connector:
        from boxd.transport.http1 import Http1Connector

        return Http1Connector(target, dialing, engine.stream_window, journal)

    def http2(alpn: Sequence[str]) -> Connector:
        silence = options.keepalive_timeout
        named = replace(engine, peer=f"the server at {target}")
        name = dialing.server_name
        return Pool(lambda: dial(target, dialing, silence, alpn, name), named, options, backoff, journal)

    dialing.proxy_for(target)  # Raises for one that cannot be used.
    if http == "auto" and target.scheme == "https":
        from boxd.transport.fallback import Fallback

        return Fallback(http2(("h2", "http/1.1")), http1)
    if http in ("2", "auto"):
        return http2(HTTP2_ONLY)
    if http == "1.1":
        return http1()
    if isinstance(http, str):
        raise ValueError(f"http_version {http!r}: use '2', '1.1' or 'auto'")
    from boxd.transport.http1 import Http1Connector

    return Http1Connector(target, dialing, engine.stream_window, journal, http)
