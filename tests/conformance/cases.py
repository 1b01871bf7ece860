"""One conformance case: a call as the runner describes it, and what came of it."""

from __future__ import annotations

import ssl
import tempfile
import threading
from base64 import b64encode
from collections.abc import Coroutine, Iterable
from typing import Any

from connectrpc.conformance.v1 import client_compat_pb2, config_pb2, service_pb2
from google.protobuf import json_format

from boxd.transport import Channel, Kind, Metadata, Method, RpcError, Target
from boxd.transport.codec import Codec, JsonCodec, ProtoCodec
from boxd.transport.dial import DialOptions
from boxd.transport.metadata import decode_binary
from tests.conformance.calls import Driver

Case = client_compat_pb2.ClientCompatRequest
Result = client_compat_pb2.ClientResponseResult

_SERVICE = "connectrpc.conformance.v1.ConformanceService"
_KINDS = {
    "Unary": Kind.UNARY,
    "IdempotentUnary": Kind.UNARY,
    "Unimplemented": Kind.UNARY,
    "ClientStream": Kind.CLIENT_STREAM,
    "ServerStream": Kind.SERVER_STREAM,
    "BidiStream": Kind.BIDI_STREAM,
}
_PROTOCOLS = {
    config_pb2.PROTOCOL_GRPC: "grpc",
    config_pb2.PROTOCOL_GRPC_WEB: "grpc-web",
    config_pb2.PROTOCOL_CONNECT: "connect",
}
_JSON = JsonCodec(
    json_format.MessageToJson, lambda kind, text: json_format.Parse(text, kind(), ignore_unknown_fields=True)
)


def _method(name: str) -> Method[Any, Any]:
    request = getattr(service_pb2, f"{name}Request")
    response = getattr(service_pb2, f"{name}Response")
    return Method(
        f"/{_SERVICE}/{name}",
        _KINDS[name],
        request,
        response,
        request.SerializeToString,
        response.FromString,
        idempotent=name == "IdempotentUnary",
        no_side_effects=name == "IdempotentUnary",
    )


_METHODS = {name: _method(name) for name in _KINDS}


class Channels:
    """One channel for each way to reach a server, shared by the cases."""

    def __init__(self) -> None:
        self._channels: dict[tuple[Any, ...], Channel] = {}
        self._lock = threading.Lock()

    def get(self, case: Case) -> Channel:
        """The channel for a case."""
        key = (
            case.host,
            case.port,
            case.http_version,
            case.protocol,
            case.codec,
            case.compression,
            case.server_tls_cert,
            case.client_tls_creds.SerializeToString(),
            case.message_receive_limit,
            case.use_get_http_method,
        )
        with self._lock:
            channel = self._channels.get(key)
            if channel is None:
                channel = self._channels[key] = _open(case)
            return channel

    async def aclose(self) -> None:
        """Close them all."""
        for channel in self._channels.values():
            await channel.aclose()


def _open(case: Case) -> Channel:
    context = _ssl_context(case) if case.server_tls_cert else None
    codec: Codec = _JSON if case.codec == config_pb2.CODEC_JSON else ProtoCodec()
    return Channel(
        Target("https" if context else "http", case.host, case.port),
        protocol=_PROTOCOLS[case.protocol],
        codec=codec,
        compression="gzip" if case.compression == config_pb2.COMPRESSION_GZIP else None,
        compress_from=0,
        http_version=describe(case)[1],
        use_get=case.use_get_http_method,
        max_receive_bytes=case.message_receive_limit or None,
        dial_options=DialOptions(ssl_context=context),
    )


def _ssl_context(case: Case) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=case.server_tls_cert.decode())
    if case.http_version == config_pb2.HTTP_VERSION_2:
        context.set_alpn_protocols(["h2"])
    if case.HasField("client_tls_creds"):
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            file.write(case.client_tls_creds.cert + b"\n" + case.client_tls_creds.key)
            file.flush()
            context.load_cert_chain(file.name)
    return context


def describe(case: Case) -> tuple[str, str, str, str]:
    """Protocol, HTTP version, codec and TLS of a case."""
    tls = "client cert" if case.HasField("client_tls_creds") else "TLS" if case.server_tls_cert else "clear"
    codec = "json" if case.codec == config_pb2.CODEC_JSON else "proto"
    return _PROTOCOLS[case.protocol], "1.1" if case.http_version == config_pb2.HTTP_VERSION_1 else "2", codec, tls


async def run_case(case: Case, channel: Channel, driver: Driver) -> Result:
    """Make a case's call and tell its outcome."""
    method = _METHODS[case.method]
    requests = []
    for packed in case.request_messages:
        request = method.request()
        if not packed.Unpack(request):
            raise ValueError(f"the case has a {packed.type_url} where {method.name} takes another message")
        requests.append(request)
    timeout = case.timeout_ms / 1000 if case.HasField("timeout_ms") else None
    run = _Run(case, driver)
    run.call = await driver.open(channel, method, timeout, _metadata(case.request_headers))
    try:
        await _SHAPES[method.kind](run, requests)
    except RpcError as error:
        run.error = error
    return run.result()


class _Run:
    """A call under way."""

    def __init__(self, case: Case, driver: Driver) -> None:
        self.case = case
        self.driver = driver
        self.call: Any = None
        self.payloads: list[Any] = []
        self.unsent = 0
        self.error: RpcError | None = None

    async def unary(self, requests: list[Any]) -> None:
        (request,) = requests
        await self.pause()
        if self.cancels("after_close_send_ms"):
            await self.driver.cancel_later(self.call, self.case.cancel.after_close_send_ms / 1000)
        self.take(await self.driver.step(self.call._exchange.unary(request)))

    async def server_stream(self, requests: list[Any]) -> None:
        (request,) = requests
        await self.pause()
        await self.step(self.call.send(request, end=True))
        await self.cancel_after_send()
        await self.drain()

    async def client_stream(self, requests: list[Any]) -> None:
        await self.send_all(requests)
        if self.cancels("before_close_send"):
            await self.driver.cancel(self.call)
        elif not self.unsent:
            await self.end()
        if self.cancels("after_close_send_ms"):
            await self.driver.cancel_later(self.call, self.case.cancel.after_close_send_ms / 1000)
        await self.drain()

    async def bidi(self, requests: list[Any]) -> None:
        duplex = self.case.stream_type == config_pb2.STREAM_TYPE_FULL_DUPLEX_BIDI_STREAM
        await self.send_all(requests, answered=duplex)
        if self.cancels("before_close_send"):
            await self.driver.cancel(self.call)
        await self.end()
        await self.cancel_after_send()
        await self.drain()

    async def send_all(self, requests: list[Any], *, answered: bool = False) -> None:
        """Send every request, with `answered` each after the answer to the one before."""
        for index, request in enumerate(requests):
            await self.pause()
            try:
                await self.step(self.call.send(request))
            except RpcError:
                # What the receiving side has to say comes later: it has the messages before the error too.
                self.unsent = len(requests) - index
                return
            if answered and not await self.receive():
                return

    async def drain(self) -> None:
        while await self.receive():
            pass

    async def receive(self) -> bool:
        message = await self.step(self.call.receive())
        if message is None:
            return False
        self.take(message)
        if self.cancels("after_num_responses") and len(self.payloads) == self.case.cancel.after_num_responses:
            await self.driver.cancel(self.call)
        return True

    async def end(self) -> None:
        try:
            await self.step(self.call.end())
        except RpcError:
            return  # As in `send_all`.

    async def cancel_after_send(self) -> None:
        if self.cancels("after_close_send_ms"):
            await self.driver.sleep(self.case.cancel.after_close_send_ms / 1000)
            await self.driver.cancel(self.call)

    async def pause(self) -> None:
        if self.case.request_delay_ms:
            await self.driver.sleep(self.case.request_delay_ms / 1000)

    async def step(self, step: Coroutine[Any, Any, Any]) -> Any:
        return await self.driver.step(step)

    def cancels(self, timing: str) -> bool:
        return bool(self.case.cancel.WhichOneof("cancel_timing") == timing)

    def take(self, message: Any) -> None:
        self.payloads.append(message.payload if hasattr(message, "payload") else service_pb2.ConformancePayload())

    def result(self) -> Result:
        result = Result(
            payloads=self.payloads,
            num_unsent_requests=self.unsent,
            response_headers=_headers(self.call.headers),
            response_trailers=_headers(self.call.trailers),
        )
        error = self.error
        if error is not None:
            result.error.code = int(error.code)
            result.error.message = error.message
            for name, value in error.details:
                result.error.details.add(type_url=f"type.googleapis.com/{name}", value=value)
        return result


_SHAPES = {
    Kind.UNARY: _Run.unary,
    Kind.SERVER_STREAM: _Run.server_stream,
    Kind.CLIENT_STREAM: _Run.client_stream,
    Kind.BIDI_STREAM: _Run.bidi,
}


def _metadata(headers: Iterable[Any]) -> Metadata:
    return [
        (header.name, decode_binary(value.encode()) if header.name.lower().endswith("-bin") else value)
        for header in headers
        for value in header.value
    ]


def _headers(metadata: Metadata) -> list[Any]:
    found: dict[str, list[str]] = {}
    for name, value in metadata:
        text = value if isinstance(value, str) else b64encode(value).rstrip(b"=").decode()
        found.setdefault(name, []).append(text)
    return [service_pb2.Header(name=name, value=values) for name, values in found.items()]
