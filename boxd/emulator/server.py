"""The gRPC server: grpclib around the handlers of `Service`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from grpclib import GRPCError, Status
from grpclib.config import Configuration
from grpclib.const import Cardinality, Handler
from grpclib.encoding.base import CodecBase
from grpclib.server import Server, Stream

from boxd import methods
from boxd.transport.method import Kind, Method

from .errors import EmulatorError
from .options import MIB, Options
from .service import Context, Service, snake_case
from .tokens import Tokens

_CARDINALITIES = {
    Kind.UNARY: Cardinality.UNARY_UNARY,
    Kind.CLIENT_STREAM: Cardinality.STREAM_UNARY,
    Kind.SERVER_STREAM: Cardinality.UNARY_STREAM,
    Kind.BIDI_STREAM: Cardinality.STREAM_STREAM,
}

_CONFIGURATION = Configuration(
    http2_connection_window_size=64 * MIB,
    http2_stream_window_size=8 * MIB,
)

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
            if self._service.implements(name):
                method: Method[Any, Any] = getattr(methods, name)
                call = self._wrap(getattr(self._service, snake_case(name)), method.kind)
                table[method.path] = Handler(
                    call, _CARDINALITIES[method.kind], method.request, method.response
                )
        return table

    def _wrap(self, handler: Any, kind: Kind) -> Callable[[AnyStream], Coroutine[Any, Any, None]]:
        async def call(stream: AnyStream) -> None:
            try:
                if self._headers:
                    await stream.send_initial_metadata(metadata=self._headers)
                context = self._context(stream)
                if kind in (Kind.UNARY, Kind.SERVER_STREAM):
                    argument = await stream.recv_message()
                else:
                    argument = _Requests(stream)
                if kind in (Kind.UNARY, Kind.CLIENT_STREAM):
                    await stream.send_message(await handler(argument, context))
                else:
                    await _send_all(stream, handler(argument, context))
            except EmulatorError as error:
                raise GRPCError(Status(error.code.value), error.message) from error

        return call

    def _context(self, stream: AnyStream) -> Context:
        metadata = {key: value for key, value in (stream.metadata or {}).items() if isinstance(value, str)}
        claims = self._tokens.check(metadata.get("authorization"))
        return Context(metadata, claims["sub"])


async def _send_all(stream: AnyStream, responses: Any) -> None:
    try:
        async for response in responses:
            await stream.send_message(response)
    finally:
        await responses.aclose()


def make_server(service: Service, tokens: Tokens, options: Options) -> Server:
    """A grpclib server that is not listening yet. Needs a running loop."""
    return Server([Adapter(service, tokens, options)], codec=_Codec(), config=_CONFIGURATION)
