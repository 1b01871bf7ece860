"""Responses of the Connect protocol, without I/O."""

from __future__ import annotations

from typing import NoReturn

from boxd.transport.compression import gzip_decompress, message_content
from boxd.transport.connect_error import ConnectError, parse_end, parse_error
from boxd.transport.envelope import EnvelopeReader
from boxd.transport.errors import DecodeFailed, MessageTooLarge, ProtocolViolation, RpcError
from boxd.transport.http2.stream import Headers
from boxd.transport.metadata import Metadata, decode_metadata
from boxd.transport.protocol import ResponseReader
from boxd.transport.status import StatusCode, from_http

#: The flag of the envelope that ends a stream.
END_FLAG = 0x02
#: The largest error to accept, in bytes, decompressed.
MAX_ERROR = 1 << 20
#: How much of a foreign body (a proxy's error page, say) goes into an error message.
MAX_BODY_QUOTE = 1_024

_TRAILER = b"trailer-"


class _Reader(ResponseReader):
    """What both kinds of responses have in common."""

    #: The header that names the compression.
    encoding_header: bytes

    def __init__(self, limit: int | None, codec: bytes) -> None:
        self.headers = []
        self.trailers = []
        self._limit = limit
        self._codec = codec
        self._encoding = b"identity"
        self._content_type = b""
        self._status = 200
        # Set where the response is not Connect: the status it gets.
        self._fault: StatusCode | None = None
        self._quote = b""

    def decode(self, flags: int, payload: bytes) -> bytes:
        return message_content(flags, payload, self._encoding, self._limit)

    def _read_head(self, status: int, headers: Headers) -> None:
        self._status = status
        for name, value in headers:
            if name == b"content-type":
                self._content_type = value.split(b";", 1)[0].strip().lower()
            elif name == self.encoding_header:
                self._encoding = value or b"identity"

    def _check_encoding(self) -> None:
        if self._encoding not in (b"identity", b"gzip"):
            encoding = self._encoding[:64].decode("latin-1")
            message = f"the server compresses with {encoding!r}, which this client did not offer"
            raise DecodeFailed(message, headers=self._metadata(), trailers=decode_metadata(self.trailers))

    def _wrong_type(self, family: bytes) -> StatusCode:
        """The status of a response of another type: of this family, its messages are only written differently."""
        return StatusCode.INTERNAL if self._content_type.startswith(family) else StatusCode.UNKNOWN

    def _keep_quote(self, data: bytes) -> None:
        """A piece of a foreign body. Raises when there is more than an error message takes."""
        self._quote += data[: MAX_BODY_QUOTE - len(self._quote)]
        if len(self._quote) >= MAX_BODY_QUOTE:
            self._raise_foreign()

    def _raise_foreign(self) -> NoReturn:
        """What answered is not a Connect server, or not one for this call."""
        kind = self._content_type[:64].decode("latin-1") or "no content type"
        text = f"the server answered with HTTP status {self._status} and {kind}, not with Connect"
        if self._quote:
            text += f": {self._quote.decode('utf-8', 'replace')}"
        self._raise(StatusCode.UNKNOWN if self._fault is None else self._fault, text)

    def _raise(self, code: StatusCode, text: str, details: list[tuple[str, bytes]] | None = None) -> NoReturn:
        trailers = decode_metadata(self.trailers)
        raise RpcError(text, code, details=details or (), headers=self._metadata(), trailers=trailers, origin="server")

    def _raise_error(self, error: ConnectError, default: StatusCode) -> NoReturn:
        self._raise(default if error.code is None else error.code, error.message, error.details)

    def _metadata(self) -> Metadata:
        return decode_metadata(self.headers)


class UnaryReader(_Reader):
    """The response to a unary call: a message, or an error in JSON with another HTTP status than 200. Its trailers are
    headers with a prefix."""

    encoding_header = b"content-encoding"

    def __init__(self, limit: int | None, codec: bytes = b"proto") -> None:
        super().__init__(limit, codec)
        self._chunks: list[bytes] = []
        self._size = 0

    def on_headers(self, status: int, headers: Headers, end_stream: bool) -> None:
        self._read_head(status, headers)
        cut = len(_TRAILER)
        self.headers = [one for one in headers if not one[0].startswith(_TRAILER)]
        self.trailers = [(name[cut:], value) for name, value in headers if name.startswith(_TRAILER)]
        if status != 200:
            if self._content_type != b"application/json":
                self._fault = from_http(status)
            return
        if self._content_type != b"application/" + self._codec:
            self._fault = self._wrong_type(b"application/")
            return
        self._check_encoding()

    def on_data(self, data: bytes, messages: list[tuple[int, bytes]]) -> None:
        if self._fault is not None:
            self._keep_quote(data)
            return
        self._size += len(data)
        if self._status != 200:
            if self._size > MAX_ERROR:
                self._fault = from_http(self._status)
                self._raise_foreign()
        elif self._limit is not None and self._size > self._limit:
            text = f"the server sent a message of more than the limit of {self._limit} bytes"
            raise MessageTooLarge(text, headers=self._metadata())
        self._chunks.append(data)

    def on_end(self, trailers: Headers, messages: list[tuple[int, bytes]]) -> None:
        if self._fault is not None:
            self._raise_foreign()
        body = b"".join(self._chunks)
        if self._status == 200:
            messages.append((0 if self._encoding == b"identity" or not body else 1, body))
            return
        code = from_http(self._status)
        error = self._error(body)
        if error is None:
            self._fault = code
            self._quote = body[:MAX_BODY_QUOTE]
            self._raise_foreign()
        self._raise_error(error, code)

    def _error(self, body: bytes) -> ConnectError | None:
        """The error in the body; None where it cannot be read."""
        if self._encoding == b"gzip":
            try:
                body = gzip_decompress(body, MAX_ERROR)
            except RpcError:
                return None
        return parse_error(body)


class StreamReader(_Reader):
    """The response to any other call. Its last envelope has the error, if there is one, and the trailers."""

    encoding_header = b"connect-content-encoding"

    def __init__(self, limit: int | None, codec: bytes = b"proto") -> None:
        super().__init__(limit, codec)
        self._envelopes = EnvelopeReader(limit, END_FLAG, MAX_ERROR)
        self._end: bytes | None = None

    def on_headers(self, status: int, headers: Headers, end_stream: bool) -> None:
        self._read_head(status, headers)
        self.headers = headers
        if status != 200:
            self._fault = from_http(status)
        elif self._content_type != b"application/connect+" + self._codec:
            self._fault = self._wrong_type(b"application/connect+")
        else:
            self._check_encoding()

    def on_data(self, data: bytes, messages: list[tuple[int, bytes]]) -> None:
        if self._fault is not None:
            self._keep_quote(data)
            return
        if self._end is not None and data:
            self._raise_after_end()
        known = len(messages)
        self._envelopes.feed(data, messages)
        for index in range(known, len(messages)):
            flags, payload = messages[index]
            if flags & END_FLAG:
                more = index + 1 < len(messages) or self._envelopes.inside
                del messages[index:]
                self._end = self._decode_end(flags & ~END_FLAG, payload)
                if more:
                    self._raise_after_end()
                return

    def on_end(self, trailers: Headers, messages: list[tuple[int, bytes]]) -> None:
        if self._fault is not None:
            self._raise_foreign()
        if self._end is None:
            where = "in the middle of a message" if self._envelopes.inside else "without its last message"
            raise ProtocolViolation(f"the response ended {where}", headers=self._metadata())
        try:
            error, self.trailers = parse_end(self._end)
        except ValueError as exc:
            raise ProtocolViolation(
                f"the end of the stream is not as it must be: {exc}", headers=self._metadata()
            ) from exc
        if error is not None:
            self._raise_error(error, StatusCode.UNKNOWN)

    def _decode_end(self, flags: int, payload: bytes) -> bytes:
        if flags == 1 and self._encoding == b"gzip":
            return gzip_decompress(payload, MAX_ERROR)
        return self.decode(flags, payload)

    def _raise_after_end(self) -> NoReturn:
        raise ProtocolViolation("the server sent data after the end of the stream", headers=self._metadata())
