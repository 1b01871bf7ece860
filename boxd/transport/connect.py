"""The Connect protocol, without I/O: a unary call is a plain HTTP request, a stream is envelopes of which the last says
how it ended."""

from __future__ import annotations

import math
from base64 import urlsafe_b64encode

from boxd.transport.compression import gzip_compress
from boxd.transport.connect_reader import StreamReader, UnaryReader
from boxd.transport.formats import EnvelopeFormat, envelope_encoder, pseudo_headers
from boxd.transport.http2.stream import Headers
from boxd.transport.method import Kind
from boxd.transport.protocol import CallFormat, Content, RequestHead, ResponseReader, RpcProtocol

#: A call whose URL would be longer, in bytes, is sent as POST: servers and proxies limit them.
MAX_GET_URL = 8_192
#: The header has ten digits at most.
_MAX_TIMEOUT_MS = 9_999_999_999

_VERSION = (b"connect-protocol-version", b"1")


class ConnectProtocol(RpcProtocol):
    """Connect."""

    name = "connect"
    http1 = True

    def __init__(self, content: Content, *, use_get: bool = False) -> None:
        """`use_get` sends unary calls of methods without side effects as GET."""
        self._content = content
        self._encode = envelope_encoder(content)
        self._use_get = use_get

    def format(self, head: RequestHead) -> CallFormat:
        if head.kind is Kind.UNARY:
            return UnaryFormat(head, self._content, use_get=self._use_get and head.no_side_effects)
        codec = self._content.codec.encode()
        after = [
            (b"content-type", b"application/connect+" + codec),
            _VERSION,
            (b"user-agent", head.user_agent.encode()),
            (b"connect-accept-encoding", b"gzip"),
        ]
        if self._content.compression is not None:
            after.append((b"connect-content-encoding", self._content.compression.encode()))
        return EnvelopeFormat(pseudo_headers(head), after, self._encode, lambda limit: StreamReader(limit, codec))

    def timeout_header(self, seconds: float) -> tuple[bytes, bytes]:
        return b"connect-timeout-ms", timeout_ms(seconds)


def timeout_ms(seconds: float) -> bytes:
    """A positive time as the `connect-timeout-ms` header gives it: rounded up, at least 1."""
    if seconds * 1_000 >= _MAX_TIMEOUT_MS:
        return b"%d" % _MAX_TIMEOUT_MS
    return b"%d" % max(math.ceil(seconds * 1_000), 1)


class UnaryFormat(CallFormat):
    """Unary calls: the body is the message and nothing else, or the message is in the URL."""

    def __init__(self, head: RequestHead, content: Content, *, use_get: bool) -> None:
        self._before = pseudo_headers(head)
        self._codec = content.codec.encode()
        self._common = [(b"user-agent", head.user_agent.encode()), (b"accept-encoding", b"gzip")]
        self._plain = [(b"content-type", b"application/" + self._codec), _VERSION, *self._common]
        self._packed = [*self._plain, (b"content-encoding", b"gzip")]
        self._path = head.path.encode()
        self._use_get = use_get
        self._smallest = math.inf if content.compression is None else content.compress_from

    def open(self, message: bytes | None) -> tuple[Headers, Headers, bytes]:
        if message is None:
            return self._before, self._plain, b""
        packed = len(message) >= self._smallest
        if packed:
            message = gzip_compress(message)
        if self._use_get:
            path = self._get_path(message, packed)
            if len(path) <= MAX_GET_URL:
                return [(b":method", b"GET"), self._before[1], (b":path", path), self._before[3]], self._common, b""
        return self._before, self._packed if packed else self._plain, message

    def encode(self, message: bytes) -> bytes:
        return message

    def reader(self, limit: int | None) -> ResponseReader:
        return UnaryReader(limit, self._codec)

    def _get_path(self, message: bytes, packed: bool) -> bytes:
        """The path with the query, its parts in the order of the specification."""
        compression = b"&compression=gzip" if packed else b""
        encoded = urlsafe_b64encode(message).rstrip(b"=")
        return b"%s?connect=v1&base64=1%s&encoding=%s&message=%s" % (self._path, compression, self._codec, encoded)
