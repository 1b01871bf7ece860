"""Header blocks: assembling, HPACK decoding within limits, and the checks of RFC 9113 section 8.2."""

from __future__ import annotations

import re

import hpack
from hpack.exceptions import OversizedHeaderListError

from boxd.transport.http2.codes import ErrorCode
from boxd.transport.http2.errors import ConnectionFault, StreamFault
from boxd.transport.http2.stream import Headers

#: More pieces than this in one header block is an attack, not a response.
MAX_CONTINUATIONS = 64

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_BAD_VALUE = re.compile(rb"[\x00\r\n]")
_CONNECTION_HEADERS = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))
# Names seen and found good. A server uses few of them, so that the check is one look-up; bounded all the same.
_KNOWN_NAMES: set[bytes] = set()
_KNOWN_NAMES_LIMIT = 512


class HeaderBlockReader:
    """Collects the fragments of one header block at a time and decodes it (RFC 9113 section 4.3)."""

    def __init__(self, *, max_list_size: int, max_block_size: int) -> None:
        self._decoder = hpack.Decoder(max_header_list_size=max_list_size)
        self._max_block_size = max_block_size
        self._fragments: list[bytes] = []
        self._size = 0
        #: The stream whose block is still open, or 0.
        self.stream_id = 0
        self.end_stream = False

    def begin(self, stream_id: int, fragment: bytes, *, end_stream: bool) -> None:
        """A HEADERS frame."""
        self.stream_id = stream_id
        self.end_stream = end_stream
        self._fragments = []
        self._size = 0
        self.add(fragment)

    def add(self, fragment: bytes) -> None:
        """A fragment, of HEADERS or CONTINUATION. Empty ones count too."""
        self._fragments.append(fragment)
        self._size += len(fragment)
        if self._size > self._max_block_size or len(self._fragments) > MAX_CONTINUATIONS:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "the server sent an endless header block")

    def finish(self) -> Headers:
        """Decode the block. It must be decoded even when nobody wants it: it changes the shared HPACK table."""
        block = self._fragments[0] if len(self._fragments) == 1 else b"".join(self._fragments)
        self._fragments = []
        self.stream_id = 0
        try:
            return self._decoder.decode(block, raw=True)  # type: ignore[return-value]
        except OversizedHeaderListError as exc:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "the server's header list is too large") from exc
        except hpack.HPACKError as exc:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, f"a header block cannot be decoded: {exc}") from exc
        except (IndexError, ValueError, UnicodeDecodeError) as exc:
            # hpack lets these through for some malformed integers and strings.
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, "a header block cannot be decoded") from exc


def split_status(headers: Headers) -> tuple[int, Headers]:
    """The `:status` of a response's header list and its other fields, checked (RFC 9113 section 8.3.2)."""
    if not headers or headers[0][0] != b":status":
        raise StreamFault(ErrorCode.PROTOCOL_ERROR, "response headers without :status in the first place")
    status = headers[0][1]
    if len(status) != 3 or not status.isdigit():
        raise StreamFault(ErrorCode.PROTOCOL_ERROR, f"response with the status {status[:16]!r}")
    rest = headers[1:]
    check_fields(rest)
    return int(status), rest


def check_fields(headers: Headers) -> None:
    """Refuse what makes a message malformed (RFC 9113 sections 8.2.1 and 8.2.2), trailers included."""
    for name, value in headers:
        if name not in _KNOWN_NAMES:
            _check_name(name)
        if _BAD_VALUE.search(value):
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, f"a line break or NUL in the header {name[:64]!r}")


def _check_name(name: bytes) -> None:
    if name.startswith(b":"):
        raise StreamFault(ErrorCode.PROTOCOL_ERROR, f"a misplaced or unknown pseudo-header {name[:64]!r}")
    if not _NAME.fullmatch(name):
        raise StreamFault(ErrorCode.PROTOCOL_ERROR, f"an invalid header name {name[:64]!r}")
    if name in _CONNECTION_HEADERS:
        raise StreamFault(ErrorCode.PROTOCOL_ERROR, f"the connection-specific header {name!r}")
    if len(_KNOWN_NAMES) < _KNOWN_NAMES_LIMIT and len(name) <= 64:
        _KNOWN_NAMES.add(name)


def content_length(headers: Headers) -> int | None:
    """The declared length of the body, if there is one (RFC 9110 section 8.6)."""
    for name, value in headers:
        if name == b"content-length":
            if not value.isdigit() or len(value) > 19:
                raise StreamFault(ErrorCode.PROTOCOL_ERROR, f"the content-length {value[:32]!r}")
            return int(value)
    return None
