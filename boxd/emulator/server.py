"""The gRPC server: grpclib around the handlers of `Service`."""

from __future__ import annotations

import asyncio
import struct
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, cast

from grpclib import GRPCError, Status
from grpclib.config import Configuration
from grpclib.const import Cardinality, Handler
from grpclib.encoding.base import CodecBase
from grpclib.protocol import H2Protocol
from grpclib.server import Server, Stream
from h2.settings import SettingCodes

from boxd import methods
from boxd.transport.method import Kind, Method

from .errors import EmulatorError
from .faults import GOAWAY, LATENCY, RESET, STREAM_RESET, Fault
from .listener import reset
from .options import MIB, Options
from .service import Context, Service, snake_case
from .tokens import Tokens

_CARDINALITIES = {
    Kind.UNARY: Cardinality.UNARY_UNARY,
    Kind.CLIENT_STREAM: Cardinality.STREAM_UNARY,
    Kind.SERVER_STREAM: Cardinality.UNARY_STREAM,
    Kind.BIDI_STREAM: Cardinality.STREAM_STREAM,
}

# The connection's window is far larger than a stream's: a command that does not read its input holds up a
# stream's window of data, and must not hold up the other calls of its connection.
_CONFIGURATION = Configuration(
    http2_connection_window_size=1024 * MIB,
    http2_stream_window_size=4 * MIB,
)
_MOST_STREAMS = 1000
_GOAWAY = 0x7

AnyStream = Stream[Any, Any]


class _Codec(CodecBase):
    """Messages that know their own encoding."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> Any:
        return message_type.parse(data)


class _Requests(AsyncIterator[Any]):
    """The request messages of a call."""

    def __init__(self, stream: AnyStream) -> None:
        self._stream = stream

    async def __anext__(self) -> Any:
        message = await self._stream.recv_message()
        if message is None:
            raise StopAsyncIteration
        return message


class Adapter:
    """Offers the handlers of a service to grpclib."""

    def __init__(self, service: Service, tokens: Tokens, options: Options) -> None:
        self._service = service
        self._tokens = tokens
        self._headers = {"x-boxd-py-sdk-latest": options.sdk_latest} if options.sdk_latest else {}

    def __mapping__(self) -> dict[str, Handler]:
        """The table of calls, as grpclib asks for it."""
        table = {}
        for name in methods.names():
            method: Method[Any, Any] = getattr(methods, name)
            if self._service.implements(name):
                call = self._wrap(name, getattr(self._service, snake_case(name)), method.kind)
            else:
                call = _refuse(name)
            table[method.path] = Handler(call, _CARDINALITIES[method.kind], method.request, method.response)
        return table

    def _wrap(self, name: str, handler: Any, kind: Kind) -> Callable[[AnyStream], Coroutine[Any, Any, None]]:
        async def call(stream: AnyStream) -> None:
            try:
                if self._headers:
                    await stream.send_initial_metadata(metadata=self._headers)
                context = self._context(stream)
                faults = self._service.faults.take(name)
                if faults and await strike(stream, faults, 0):
                    return
                if kind in (Kind.UNARY, Kind.SERVER_STREAM):
                    argument = await stream.recv_message()
                else:
                    argument = _Requests(stream)
                if kind in (Kind.UNARY, Kind.CLIENT_STREAM):
                    await stream.send_message(await handler(argument, context))
                else:
                    await _send_all(stream, handler(argument, context), faults)
            except EmulatorError as error:
                raise GRPCError(Status(error.code.value), error.message) from error

        return call

    def _context(self, stream: AnyStream) -> Context:
        metadata = {key: value for key, value in (stream.metadata or {}).items() if isinstance(value, str)}
        claims = self._tokens.check(metadata.get("authorization"))
        return Context(metadata, claims["sub"])


def _refuse(name: str) -> Callable[[AnyStream], Coroutine[Any, Any, None]]:
    """A handler for an RPC that this server does not have.

    grpclib's own answer to an unknown method has no content-type, which clients may take amiss.
    """

    async def call(stream: AnyStream) -> None:
        raise GRPCError(Status.UNIMPLEMENTED, f"this server has no {name}")

    return call


async def _send_all(stream: AnyStream, responses: Any, faults: list[Fault]) -> None:
    sent = 0
    try:
        async for response in responses:
            await stream.send_message(response)
            if faults:
                sent += 1
                if await strike(stream, faults, sent):
                    return
    finally:
        await responses.aclose()


async def strike(stream: AnyStream, faults: list[Fault], sent: int) -> bool:
    """Let happen what is due after `sent` responses; True when the call is over. A status is raised."""
    for fault in faults:
        if fault.after != sent:
            continue
        inner = stream._stream
        if fault.kind == LATENCY:
            await asyncio.sleep(fault.seconds)
        elif fault.kind == RESET:
            reset(inner._transport)
            return True
        elif fault.kind == STREAM_RESET:
            await stream.cancel()
            return True
        elif fault.kind == GOAWAY:
            protocol: Any = inner._transport.get_protocol()
            number = inner.id or 0
            protocol.refuse_after(number if sent else max(0, number - 2))
            if not sent:
                await stream.cancel()
                return True
        elif fault.code is not None:
            raise EmulatorError(fault.code, fault.message or f"a fault on demand: {fault.kind}")
    return False


class _Protocol(H2Protocol):
    """A connection that allows more calls at once than grpclib's hundred."""

    last_stream_id: int | None = None
    """The last stream that a GOAWAY frame left alone."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.connection._connection.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: _MOST_STREAMS})
        self.connection.flush()

    def refuse_after(self, last_stream_id: int) -> None:
        """Send a GOAWAY frame that leaves the streams up to `last_stream_id` alone, and keep the connection."""
        if self.last_stream_id is None or last_stream_id < self.last_stream_id:
            # A later GOAWAY must not name a higher stream (RFC 9113, section 6.8).
            self.last_stream_id = last_stream_id
        frame = struct.pack("!IBII", 8 << 8 | _GOAWAY, 0, 0, self.last_stream_id) + struct.pack("!I", 0)
        self.connection._transport.write(frame)

    def go_away(self) -> None:
        """Close the connection with a GOAWAY frame (RFC 9113, section 6.8)."""
        if not self.connection.is_closing():
            self.connection._connection.close_connection(last_stream_id=self.last_stream_id)
            self.connection.flush()
            self.connection.close()


class BoxdServer(Server):
    """A grpclib server whose connections end with it."""

    def __init__(self, adapter: Adapter) -> None:
        super().__init__([adapter], codec=_Codec(), config=_CONFIGURATION)
        self._protocols: weakref.WeakSet[_Protocol] = weakref.WeakSet()

    def _protocol_factory(self) -> H2Protocol:
        made = super()._protocol_factory()
        protocol = _Protocol(made.handler, made.config, made.h2_config)
        self._protocols.add(protocol)
        return protocol

    @property
    def port(self) -> int:
        """The port that it listens on."""
        listening = self._server
        assert listening is not None
        # uvloop's server does not derive from asyncio's.
        port: int = cast(asyncio.Server, listening).sockets[0].getsockname()[1]
        return port

    async def shut_down(self) -> None:
        """Stop listening, cancel the calls and close the connections, in this order."""
        if self._server is None:
            return
        self.close()
        # Handlers first: they end their calls with a status while their connections are open.
        await asyncio.gather(*(handler.wait_closed() for handler in self._handlers))
        for protocol in list(self._protocols):
            protocol.go_away()
        await self.wait_closed()


def make_server(service: Service, tokens: Tokens, options: Options) -> BoxdServer:
    """A server that is not listening yet. Needs a running loop."""
    return BoxdServer(Adapter(service, tokens, options))
