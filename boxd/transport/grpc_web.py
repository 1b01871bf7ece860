"""gRPC-Web (`PROTOCOL-WEB.md`), without I/O: gRPC whose trailers are the last part of the body, so that any HTTP will
do. The text form is base64 on top, for proxies that take nothing else."""

from __future__ import annotations

from base64 import b64encode
from binascii import Error as Base64Error
from binascii import a2b_base64
from typing import NoReturn

from boxd.transport.compression import ACCEPTED
from boxd.transport.deadline import grpc_timeout
from boxd.transport.envelope import EnvelopeReader
from boxd.transport.errors import ProtocolViolation
from boxd.transport.formats import EnvelopeFormat, envelope_encoder, pseudo_headers
from boxd.transport.grpc import GrpcReader
from boxd.transport.http2.stream import Headers
from boxd.transport.protocol import CallFormat, Content, RequestHead, RpcProtocol

#: The flag of the envelope that holds the trailers.
TRAILERS_FLAG = 0x80
#: The largest block of trailers to accept, in bytes.
MAX_TRAILERS = 1 << 16

_BINARY = b"application/grpc-web"
_TEXT = b"application/grpc-web-text"


class GrpcWebProtocol(RpcProtocol):
    """gRPC-Web, binary or as text."""

    http1 = True

    def __init__(self, content: Content, *, text: bool = False) -> None:
        self.name = "grpc-web-text" if text else "grpc-web"
        self._content = content
        self._media = _TEXT if text else _BINARY
        encode = envelope_encoder(content)
        self._encode = (lambda message: b64encode(encode(message))) if text else encode

    def format(self, head: RequestHead) -> CallFormat:
        codec = self._content.codec.encode()
        media = b"%s+%s" % (self._media, codec)
        after = [
            (b"content-type", media),
            (b"accept", media),
            (b"x-grpc-web", b"1"),
            (b"user-agent", head.user_agent.encode()),
            (b"grpc-accept-encoding", ACCEPTED),
        ]
        if self._content.compression is not None:
            after.append((b"grpc-encoding", self._content.compression.encode()))
        return EnvelopeFormat(pseudo_headers(head), after, self._encode, lambda limit: GrpcWebReader(limit, codec))

    def timeout_header(self, seconds: float) -> tuple[bytes, bytes]:
        return b"grpc-timeout", grpc_timeout(seconds)


class GrpcWebReader(GrpcReader):
    """One gRPC-Web response. Its status is in the trailers at the end of the body, or in the headers of a response
    that has no body."""

    media = _BINARY
    title = "gRPC-Web"

    def __init__(self, limit: int | None, codec: bytes = b"proto") -> None:
        super().__init__(limit, codec)
        self._envelopes = EnvelopeReader(limit, TRAILERS_FLAG, MAX_TRAILERS)
        self._text: Base64Reader | None = None
        self._tail: Headers | None = None
        self._empty = True

    def on_headers(self, status: int, headers: Headers, end_stream: bool) -> None:
        kind = next((value for name, value in headers if name == b"content-type"), b"").lower()
        if kind.startswith(_TEXT):
            self.media = _TEXT
            self._text = Base64Reader()
        # Whether the headers are all there is shows at the end alone: HTTP/1.1 has no flag for it.
        super().on_headers(status, headers, False)

    def on_data(self, data: bytes, messages: list[tuple[int, bytes]]) -> None:
        self._empty = self._empty and not data
        if self._fault is None and self._text is not None:
            data = self._text.feed(data)
        if self._tail is not None and data:
            self._raise_after_trailers()
        known = len(messages)
        super().on_data(data, messages)
        for index in range(known, len(messages)):
            flags, payload = messages[index]
            if flags & TRAILERS_FLAG:
                more = index + 1 < len(messages) or self._envelopes.inside
                del messages[index:]
                self._tail = parse_trailers(self.decode(flags & ~TRAILERS_FLAG, payload))
                if more:
                    self._raise_after_trailers()
                return

    def on_end(self, trailers: Headers, messages: list[tuple[int, bytes]]) -> None:
        if self._text is not None and self._fault is None:
            self._text.end()
        if self._tail is None and self._empty and any(name == b"grpc-status" for name, _ in self.headers):
            # Proxies put both kinds of metadata there, and nothing tells them apart: so it counts as either.
            self._tail = self.headers
        super().on_end(self._tail or [], messages)

    def _raise_missing(self) -> NoReturn:
        if self._tail is None and self._fault is None and not self._envelopes.inside:
            raise ProtocolViolation("the response ended without trailers", headers=self._metadata())
        super()._raise_missing()

    def _raise_after_trailers(self) -> NoReturn:
        raise ProtocolViolation("the server sent data after the trailers", headers=self._metadata())


def parse_trailers(block: bytes) -> Headers:
    """Trailers as HTTP/1.1 writes header fields. Names in any case, and lines that end with LF alone, are taken too."""
    out: Headers = []
    for line in block.split(b"\n"):
        line = line.strip()
        if not line:
            continue
        name, colon, value = line.partition(b":")
        if not colon:
            raise ProtocolViolation(f"the trailers have a line without a colon: {line[:64].decode('latin-1')!r}")
        out.append((name.strip().lower(), value.strip()))
    return out


class Base64Reader:
    """Decodes a body in base64 however it is split. Padding may occur anywhere: each piece that the server wrote has
    its own."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """The bytes that are whole by now."""
        data = self._rest + data
        whole = len(data) - len(data) % 4
        self._rest = data[whole:]
        view = data[:whole]
        parts = []
        while view:
            padding = view.find(b"=")
            stop = len(view) if padding < 0 else padding + 4 - padding % 4
            parts.append(self._decode(view[:stop]))
            view = view[stop:]
        return b"".join(parts)

    def end(self) -> None:
        """The body is over."""
        if self._rest:
            raise ProtocolViolation("the response ended in the middle of a base64 quantum")

    def _decode(self, quanta: bytes) -> bytes:
        try:
            out = a2b_base64(quanta)
        except Base64Error as exc:
            raise ProtocolViolation(f"the response is not base64: {exc}") from exc
        # The decoder skips what is not of the alphabet; here nothing may be.
        if b64encode(out) != quanta:
            raise ProtocolViolation("the response is not base64: it has other characters")
        return out
