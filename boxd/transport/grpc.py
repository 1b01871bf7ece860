"""gRPC over HTTP/2 (`PROTOCOL-HTTP2.md`), without I/O: request headers, messages, and the status of a response."""

from __future__ import annotations

import re
from typing import NoReturn

from boxd.transport.compression import ACCEPTED, message_content
from boxd.transport.deadline import grpc_timeout
from boxd.transport.details import parse_details
from boxd.transport.envelope import EnvelopeReader
from boxd.transport.errors import DecodeFailed, ProtocolViolation, RpcError
from boxd.transport.formats import EnvelopeFormat, envelope_encoder, pseudo_headers
from boxd.transport.http2.stream import Headers
from boxd.transport.metadata import Metadata, decode_metadata
from boxd.transport.protocol import CallFormat, Content, RequestHead, ResponseReader, RpcProtocol
from boxd.transport.status import StatusCode, from_http

#: How much of a foreign body (a proxy's error page, say) goes into an error message.
MAX_BODY_QUOTE = 1_024

_PERCENT = rb"%([0-9a-fA-F]{2})"


class GrpcProtocol(RpcProtocol):
    """gRPC, over HTTP/2 only."""

    name = "grpc"

    def __init__(self, content: Content) -> None:
        self._content = content
        self._encode = envelope_encoder(content)

    def format(self, head: RequestHead) -> CallFormat:
        codec = self._content.codec.encode()
        after = [
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc+" + codec),
            (b"user-agent", head.user_agent.encode()),
            (b"grpc-accept-encoding", ACCEPTED),
        ]
        if self._content.compression is not None:
            after.append((b"grpc-encoding", self._content.compression.encode()))
        return EnvelopeFormat(pseudo_headers(head), after, self._encode, lambda limit: GrpcReader(limit, codec))

    def timeout_header(self, seconds: float) -> tuple[bytes, bytes]:
        return b"grpc-timeout", grpc_timeout(seconds)

    def attempts_header(self, attempts: int) -> Headers:
        return [(b"grpc-previous-rpc-attempts", b"%d" % attempts)]


class GrpcReader(ResponseReader):
    """One gRPC response. The status is in the trailers, or in the headers of a response that is nothing else
    ("Trailers-Only"); it counts for more than the HTTP status."""

    #: The media type without the codec, and what the protocol is called in messages.
    media = b"application/grpc"
    title = "gRPC"

    def __init__(self, limit: int | None, codec: bytes = b"proto") -> None:
        self.headers = []
        self.trailers = []
        self._codec = codec
        self._limit = limit
        self._envelopes = EnvelopeReader(limit)
        self._encoding = b"identity"
        self._http_status = 200
        self._content_type = b""
        self._only = False
        # Set where the response is not gRPC: the status it gets unless the trailers have one.
        self._fault: StatusCode | None = None
        self._quote = b""

    def on_headers(self, status: int, headers: Headers, end_stream: bool) -> None:
        self._http_status = status
        if end_stream:
            self._only = True
            self.trailers = headers
            return
        self.headers = headers
        for name, value in headers:
            if name == b"content-type":
                self._content_type = value
            elif name == b"grpc-encoding":
                self._encoding = value
        if status != 200:
            self._fault = from_http(status)
        else:
            self._fault = content_type_fault(self._content_type, self.media, self._codec)
        if self._fault is None and self._encoding not in (b"identity", b"gzip"):
            encoding = self._encoding[:64].decode("latin-1")
            raise DecodeFailed(f"the server compresses with {encoding!r}, which this client did not offer")

    def on_data(self, data: bytes, messages: list[tuple[int, bytes]]) -> None:
        if self._fault is None:
            self._envelopes.feed(data, messages)
            return
        self._quote += data[: MAX_BODY_QUOTE - len(self._quote)]
        if len(self._quote) >= MAX_BODY_QUOTE:
            self._raise_foreign(self._fault)

    def decode(self, flags: int, payload: bytes) -> bytes:
        return message_content(flags, payload, self._encoding, self._limit)

    def on_end(self, trailers: Headers, messages: list[tuple[int, bytes]]) -> None:
        if not self._only:
            self.trailers = trailers
        status = message = None
        for name, value in self.trailers:
            if name == b"grpc-status" and status is None:
                status = value
            elif name == b"grpc-message" and message is None:
                message = value
        if status == b"0" and self._fault is None and not self._envelopes.inside:
            return
        self._fail(status, message)

    def _fail(self, status: bytes | None, message: bytes | None) -> None:
        if status is None:
            self._raise_missing()
        text = decode_message(message or b"")
        code = parse_status(status)
        if code is None:
            self._raise(StatusCode.UNKNOWN, f"{text} (grpc-status {status[:32].decode('latin-1')!r})", "server")
        if code != StatusCode.OK:
            self._raise(code, text, "server")
        if self._fault is not None:
            self._raise_foreign(self._fault)
        if self._envelopes.inside:
            raise ProtocolViolation("the response ended in the middle of a message", headers=self._metadata())

    def _raise_missing(self) -> NoReturn:
        """The response ended without a status of its own."""
        if self._fault is not None:
            self._raise_foreign(self._fault)
        if self._http_status != 200:
            self._raise_foreign(from_http(self._http_status))
        if self._envelopes.inside:
            raise ProtocolViolation("the response ended in the middle of a message, without a status")
        self._raise(StatusCode.UNKNOWN, "the response ended without a grpc-status", "client")

    def _raise_foreign(self, code: StatusCode) -> NoReturn:
        """What answered is not a gRPC server, or not one for this call."""
        fields = self.trailers if self._only else self.headers
        content_type = next((v for n, v in fields if n == b"content-type"), b"no content type")[:64].decode("latin-1")
        text = f"the server answered with HTTP status {self._http_status} and {content_type}, not with {self.title}"
        if self._quote:
            text += f": {self._quote.decode('utf-8', 'replace')}"
        self._raise(code, text, "server")

    def _raise(self, code: StatusCode, text: str, origin: str) -> NoReturn:
        trailers = decode_metadata(self.trailers)
        details = _details(trailers)
        raise RpcError(text, code, details=details, headers=self._metadata(), trailers=trailers, origin=origin)

    def _metadata(self) -> list[tuple[str, str | bytes]]:
        return decode_metadata(self.headers)


def content_type_fault(content_type: bytes, media: bytes, codec: bytes) -> StatusCode | None:
    """None for the expected type; INTERNAL for the protocol's with other messages, UNKNOWN for anything else. Without
    a codec, it is protobuf's."""
    if content_type == b"%s+%s" % (media, codec):
        return None
    kind = content_type.split(b";", 1)[0].strip().lower()
    if kind == media:
        kind = media + b"+proto"
    if kind == b"%s+%s" % (media, codec):
        return None
    return StatusCode.INTERNAL if kind.startswith(media + b"+") else StatusCode.UNKNOWN


def _details(trailers: Metadata) -> list[tuple[str, bytes]]:
    """The details of an error; what cannot be read stays in the trailers only."""
    for name, value in trailers:
        if name == "grpc-status-details-bin" and isinstance(value, bytes):
            try:
                return parse_details(value)
            except ValueError:
                return []
    return []


def parse_status(value: bytes) -> StatusCode | None:
    """A `grpc-status`; None where it is not one of the known numbers."""
    if not value.isdigit() or len(value) > 2 or int(value) > 16:
        return None
    return StatusCode(int(value))


def decode_message(value: bytes) -> str:
    """A percent-encoded `grpc-message` as text. Broken escapes stay as they are; never fails."""
    return re.sub(_PERCENT, lambda match: bytes((int(match[1], 16),)), value).decode("utf-8", "replace")
