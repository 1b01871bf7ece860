"""A channel: calls to one server, over as many connections as they need."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import anyio

from boxd.transport.backoff import Backoff
from boxd.transport.call import Call
from boxd.transport.codec import Codec, get_codec
from boxd.transport.connection import CLOSE_TIMEOUT
from boxd.transport.connector import Connector, StreamSource, make_connector
from boxd.transport.deadline import Deadline
from boxd.transport.dial_options import DialOptions
from boxd.transport.errors import DeadlineExceeded, HeadersTooLarge, RpcError
from boxd.transport.exchange import Exchange
from boxd.transport.forks import on_fork
from boxd.transport.http2.options import EngineOptions
from boxd.transport.http2.stream import Headers
from boxd.transport.journal import Journal
from boxd.transport.metadata import Metadata, encode_metadata, header_list_size, split_user_agent
from boxd.transport.method import Method
from boxd.transport.options import ConnectionOptions
from boxd.transport.protocol import DEFAULT_COMPRESS_FROM, CallFormat, Content, RequestHead, RpcProtocol
from boxd.transport.protocols import make_protocol
from boxd.transport.retry import Retries, RetryBudget
from boxd.transport.runtime import Runtime, shielded
from boxd.transport.target import Target

if TYPE_CHECKING:
    import httpx

    from boxd.transport.stats import Stats

Req = TypeVar("Req")
Res = TypeVar("Res")

#: gRPC's usual limit for a received message, in bytes.
DEFAULT_MAX_RECEIVE = 4 << 20
#: Bytes that a server may send on one stream of a bulk call before they are taken: 1 Gb/s over 100 ms needs 12.5 MB.
BULK_WINDOW = 16 << 20


class CallCredentials(Protocol):
    """Where the `authorization` header of calls comes from."""

    def current(self) -> str | None:
        """The header's value if it is at hand, else None. Called for every call: no I/O."""

    async def refresh(self) -> str:
        """Fetch the value. What it raises, the call raises."""


@dataclass(eq=False, repr=False, slots=True)
class Plan(Generic[Req, Res]):
    """How a channel makes the calls of one method."""

    method: Method[Req, Res]
    format: CallFormat
    encode: Callable[[Req], bytes]
    decode: Callable[[bytes], Res]


class Channel:
    """Calls to one server. Connects when the first call needs it, and again when a connection ends. Belongs to one
    event loop at a time; it may move to another when the first is over."""

    def __init__(
        self,
        target: Target,
        *,
        metadata: Metadata = (),
        credentials: CallCredentials | None = None,
        user_agent: str | None = None,
        max_receive_bytes: int | None = DEFAULT_MAX_RECEIVE,
        observe: tuple[str, Callable[[str], None]] | None = None,
        dial_options: DialOptions | None = None,
        engine_options: EngineOptions | None = None,
        connection_options: ConnectionOptions | None = None,
        protocol: str = "grpc",
        codec: str | Codec = "proto",
        compression: str | None = None,
        compress_from: int = DEFAULT_COMPRESS_FROM,
        http_version: str = "2",
        transport: httpx.AsyncBaseTransport | None = None,
        use_get: bool = False,
        trace: str | None = None,
    ) -> None:
        """`metadata` goes with every call; a `user-agent` in it, or in a call's, replaces the channel's.
        `connection_options` say how connections live, `dial_options` how they are made, `engine_options` what they
        announce in HTTP/2. `max_receive_bytes` limits a received message, uncompressed (None: no limit). `observe` is
        a response header's name and what to call with its value when a response has it.

        `protocol` is `grpc`, `grpc-web`, `grpc-web-text` or `connect`; `codec` is `proto`, `json` or one of your own;
        `compression` is `gzip` to compress requests of `compress_from` bytes and more. `http_version` is `2`, or `1.1`
        for gRPC-Web and Connect: then a call's answer comes only after its half-close; `auto` is HTTP/2 unless a TLS
        server chooses HTTP/1.1 and the protocol allows it. A `transport` of httpx makes all requests in place of the
        channel's own connections, and is closed with it; gRPC needs one that gives a response's trailers in its
        extensions, as `HTTP2Transport` does. `use_get` sends Connect's unary calls of methods without side effects as
        GET.

        `trace` names a file to which a record of every HTTP/2 frame is added, a line of JSON each, without bodies and
        secrets.

        Raises `ValueError` for other values."""
        self.target = target
        self._codec = get_codec(codec)
        content = Content(self._codec.name, compression, compress_from)
        self.protocol: RpcProtocol = make_protocol(protocol, content, use_get=use_get)
        self.max_receive_bytes = max_receive_bytes
        agent, self._metadata = split_user_agent(encode_metadata(metadata))
        self._credentials = credentials
        self._user_agent = user_agent or (agent.decode() if agent else default_user_agent())
        self._observed = b"" if observe is None else observe[0].encode()
        self._observer = None if observe is None else observe[1]
        self._plans: dict[str, Plan[Any, Any]] = {}
        if http_version == "auto" and not self.protocol.http1:
            http_version = "2"
        if http_version == "1.1" and not self.protocol.http1:
            raise ValueError(f"{protocol} needs HTTP/2: http_version '1.1' is for 'grpc-web' and 'connect'")
        self.options: ConnectionOptions = connection_options or ConnectionOptions()
        self._http = transport or http_version
        self._dial_options = dial_options or DialOptions()
        self._engine_options = engine_options or EngineOptions()
        self._backoff = Backoff(self.options)
        self.budget: RetryBudget = RetryBudget(self.options.retry)
        self._pauses: set[anyio.CancelScope] = set()
        self._journal = Journal(str(target), trace)
        self._counters = self._journal.counters
        self._pool = self._make_pool(self._engine_options)
        self._bulk_pool: Connector | None = None

    async def unary(
        self,
        method: Method[Req, Res],
        request: Req,
        *,
        timeout: float | None = None,
        metadata: Metadata = (),
        wait_for_ready: bool = False,
        bulk: bool = False,
    ) -> Res:
        """Make a unary call. `timeout` is in seconds and covers everything: credentials, connecting, waiting for a
        free stream, and the answer. See `call` for the rest. Raises `RpcError` for every status but OK."""
        deadline = None if timeout is None else Deadline(timeout)
        self._counters.calls += 1
        retries: Retries | None = None
        attempts = 0
        while True:
            exchange = Exchange(
                self,
                method,
                deadline,
                metadata,
                whole=True,
                attempts=attempts,
                patient=wait_for_ready,
                bulk=bulk,
            )
            try:
                return await exchange.unary(request)
            except RpcError as error:
                retries = retries or self.retries(method)
                delay = retries.delay(error, exchange.committed, self.reconnect_in, deadline)
                if delay is None:
                    raise
                attempts = retries.attempts
            await self.pause(delay)

    def call(
        self,
        method: Method[Req, Res],
        *,
        timeout: float | None = None,
        metadata: Metadata = (),
        wait_for_ready: bool = False,
        bulk: bool = False,
    ) -> Call[Req, Res]:
        """A streaming call, not started yet. `timeout`, in seconds from now, bounds the whole of it.

        Where the server cannot be reached the call fails with `ConnectFailed`; with `wait_for_ready` it waits for as
        many attempts to connect as it takes, within its time. `bulk` is for calls that move much data: they
        have connections of their own, with larger windows, so that they do not delay other calls."""
        deadline = None if timeout is None else Deadline(timeout)
        self._counters.calls += 1
        return Call(Exchange(self, method, deadline, metadata, patient=wait_for_ready, bulk=bulk))

    def stats(self) -> Stats:
        """What was done so far, and what is open now. Over HTTP/1.1 the connections are httpx's: of those, only the
        ones in use are known, and bytes are not counted."""
        pools = self._pools()
        return self._counters.stats(
            connections_open=sum(pool.connections for pool in pools),
            streams_open=sum(pool.open_streams for pool in pools),
        )

    async def aclose(self) -> None:
        """Cancel what runs and close every connection, in about a second at most. Idempotent."""
        closing = [one for pool in self._pools() for one in pool.close()]
        if self._pool.bound_here:
            for scope in self._pauses:
                scope.cancel()
        async with shielded(2 * CLOSE_TIMEOUT):
            for connection in closing:
                await connection.wait_closed()

    # -- for Call

    @property
    def runtime(self) -> Runtime:
        """The event loop this channel works on."""
        return self._pool.runtime()

    def plan(self, method: Method[Req, Res]) -> Plan[Req, Res]:
        """How a method's calls look on the wire."""
        plan = self._plans.get(method.path)
        if plan is None or plan.method is not method:
            plan = self._plans[method.path] = self._make_plan(method)
        return plan

    async def start(
        self,
        before: Headers,
        after: Headers,
        metadata: Metadata,
        deadline: Deadline | None,
        *,
        patient: bool = False,
        bulk: bool = False,
    ) -> tuple[Headers, StreamSource]:
        """A call's request headers, and a connection on which to open its stream before anything else is awaited.
        `before` and `after` are the format's, around the timeout; see `call` for the rest."""
        custom: Headers = []
        if metadata:
            agent, custom = split_user_agent(encode_metadata(metadata))
            if agent is not None:
                after = [*split_user_agent(after)[1], (b"user-agent", agent)]
        if deadline is not None and deadline.remaining() <= 0:
            raise DeadlineExceeded("the call's time was over before it was sent", unprocessed=True)
        if self._credentials is not None:
            custom = [(b"authorization", await self._authorization(deadline)), *custom]
        connection = await self._pool_for(bulk).acquire(deadline, patient=patient)
        if deadline is None:
            headers = [*before, *after, *self._metadata, *custom]
        else:
            timeout = self.protocol.timeout_header(deadline.remaining())
            headers = [*before, timeout, *after, *self._metadata, *custom]
        limit = connection.max_header_list_size
        if limit is not None and header_list_size(headers) > limit:
            raise HeadersTooLarge(f"the call's metadata is larger than the server's limit of {limit} bytes")
        return headers, connection

    def ready(self, *, bulk: bool) -> bool:
        """True when `start` has nothing to wait for."""
        if self._credentials is not None and self._credentials.current() is None:
            return False
        return self._pool_for(bulk).ready

    @property
    def reconnect_in(self) -> float:
        """Seconds until another attempt to connect may be made: 0 when it may, and when none has failed."""
        return self._backoff.remaining

    def retries(self, method: Method[Any, Any]) -> Retries:
        """What decides whether a call of a method is made again."""
        return Retries(self.options.retry, self.budget, method.idempotent, self._counters)

    async def pause(self, seconds: float) -> None:
        """Wait between two attempts; the end of the channel ends it."""
        if seconds <= 0:
            return
        with anyio.CancelScope() as scope:
            self._pauses.add(scope)
            try:
                await anyio.sleep(seconds)
            finally:
                self._pauses.discard(scope)

    def observe(self, headers: Headers) -> None:
        """Look for the observed header in a response's."""
        if self._observer is not None:
            for name, value in headers:
                if name == self._observed:
                    self._observer(value.decode("latin-1"))

    # -- inside

    def _make_pool(self, engine: EngineOptions) -> Connector:
        pool = make_connector(
            self._http, self.target, self._dial_options, engine, self.options, self._backoff, self._journal
        )
        on_fork(weakref.WeakMethod(pool.forget))
        return pool

    def _pools(self) -> list[Connector]:
        return [self._pool] if self._bulk_pool is None else [self._pool, self._bulk_pool]

    def _pool_for(self, bulk: bool) -> Connector:
        return self._bulk() if bulk else self._pool

    def _bulk(self) -> Connector:
        """The connections of bulk calls; made by the first. HTTP/1.1 has one for every call anyway."""
        if self._http not in ("2", "auto"):
            return self._pool
        if self._bulk_pool is None:
            options = self._engine_options
            window = max(options.stream_window, BULK_WINDOW)
            both = max(options.connection_window, 2 * window)
            self._bulk_pool = self._make_pool(replace(options, stream_window=window, connection_window=both))
        return self._bulk_pool

    def _make_plan(self, method: Method[Req, Res]) -> Plan[Req, Res]:
        target = self.target
        head = RequestHead(
            target.http_scheme, target.authority, method.path, self._user_agent, method.kind, method.no_side_effects
        )
        codec = self._codec
        return Plan(method, self.protocol.format(head), codec.encoder(method), codec.decoder(method))

    async def _authorization(self, deadline: Deadline | None) -> bytes:
        credentials = self._credentials
        assert credentials is not None
        value = credentials.current()
        if value is None:
            if deadline is None:
                value = await credentials.refresh()
            else:
                with anyio.move_on_after(max(deadline.remaining(), 0)):
                    value = await credentials.refresh()
            if value is None:
                raise DeadlineExceeded("the call's time was over before its credentials came", unprocessed=True)
        return value.encode("latin-1")

    def __repr__(self) -> str:
        return f"<Channel {self.target} connections={sum(pool.connections for pool in self._pools())}>"


def default_user_agent() -> str:
    """The `user-agent` of a bare channel."""
    return f"grpc-python-boxd ({sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor})"
