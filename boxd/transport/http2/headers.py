"""Header blocks: assembling, HPACK decoding within limits, and the checks of RFC 9113 section 8.2."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

import hpack
from hpack.exceptions import OversizedHeaderListError

from boxd.transport.http2.codes import ErrorCode
from boxd.transport.http2.errors import ConnectionFault, HeaderListFault, StreamFault
from boxd.transport.http2.secret import is_secret
from boxd.transport.http2.stream import Headers

#: More pieces than this in one header block is an attack, not a response.
MAX_CONTINUATIONS = 64

_K = TypeVar("_K")
_V = TypeVar("_V")

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_BAD_VALUE = re.compile(rb"[\x00\r\n]")
_CONNECTION_HEADERS = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))
# Names seen and found good. A server uses few of them, so that the check is one look-up; bounded all the same.
_KNOWN_NAMES: set[bytes] = set()
_KNOWN_NAMES_LIMIT = 512
#: What a literal that is never indexed begins with for a name of the static table: its number there, with a 4-bit
#: prefix (RFC 7541 section 6.2.3 and appendix A).
_STATIC = {b"authorization": b"\x1f\x08", b"cookie": b"\x1f\x11", b"proxy-authorization": b"\x1f\x22"}

#: Blocks that a cache keeps; calls to one server need a handful.
_CACHE_LIMIT = 128
#: Bytes of the largest block that is kept: those of calls are far smaller, and 128 of a hostile server's are not much.
_CACHED_BLOCK_SIZE = 1_024


class HeaderEncoder:
    """HPACK encoding (RFC 7541). A header list that is in the dynamic table from end to end gives the same bytes until
    the table changes, so these are kept: encoding a call's headers costs a look-up instead of some 15 microseconds."""

    def __init__(self) -> None:
        self._encoder = hpack.Encoder()
        self._blocks: dict[tuple[tuple[bytes, bytes], ...], bytes] = {}

    def encode(self, headers: Headers) -> bytes:
        """The block of a header list. Secret fields, and those that are `hpack.NeverIndexedHeaderTuple`, stay out of
        the table and come last. hpack does not get to see them: it logs what it encodes."""
        key = tuple(headers)
        block = self._blocks.get(key)
        if block is None:
            before = _TableState(self._encoder)
            secret = [field for field in headers if _is_hidden(field)]
            block = self._encoder.encode([field for field in headers if not _is_hidden(field)] if secret else headers)
            block += b"".join(_secret_field(*field) for field in secret)
            _keep(self._blocks, key, block, block=block, changed=before.changed() or _resizes(block))
        return block

    def set_table_size(self, size: int) -> None:
        """The peer's SETTINGS_HEADER_TABLE_SIZE; the next block announces it."""
        if size == self._encoder.header_table_size:
            return  # hpack would forget that an earlier change is still to be announced.
        self._encoder.header_table_size = size
        changes = self._encoder.table_size_changes
        if len(changes) > 1:
            # hpack would announce them all, some of them above what the peer allows by now. The smallest and the last
            # are due (RFC 7541 section 4.2).
            changes[:] = [min(changes), size] if min(changes) < size else [size]
        self._blocks.clear()


class ShowingEncoder(HeaderEncoder):
    """Shows the header lists too, to somebody who cannot read blocks."""

    def __init__(self, see: Callable[[Headers], object]) -> None:
        super().__init__()
        self._see = see

    def encode(self, headers: Headers) -> bytes:
        self._see(headers)
        return super().encode(headers)


def _is_hidden(field: tuple[bytes, bytes]) -> bool:
    return is_secret(field[0]) or isinstance(field, hpack.NeverIndexedHeaderTuple)


def _secret_field(name: bytes, value: bytes) -> bytes:
    """A field as a literal that is never indexed, its value as it is (RFC 7541 sections 5.2 and 6.2.3)."""
    start = _STATIC.get(name) or b"\x10" + _plain_string(name)
    return start + _plain_string(value)


def _plain_string(text: bytes) -> bytes:
    """A string without Huffman coding: its length with a 7-bit prefix before it."""
    rest = len(text)
    if rest < 127:
        return b"%c%b" % (rest, text)
    size = bytearray((127,))
    rest -= 127
    while rest >= 128:
        size.append(rest & 127 | 128)
        rest >>= 7
    size.append(rest)
    return bytes(size) + text


class _TableState:
    """A dynamic table at one moment, told from the next by its newest entry and how many there are. The entry itself
    is kept, not its `id`: once it is evicted, that of a later one may be the same."""

    __slots__ = ("_entries", "_length", "_newest")

    def __init__(self, coder: hpack.Encoder | hpack.Decoder) -> None:
        self._entries = coder.header_table.dynamic_entries
        self._length = len(self._entries)
        self._newest = self._entries[0] if self._entries else None

    def changed(self) -> bool:
        """Whether the table is another by now."""
        entries = self._entries
        return len(entries) != self._length or (entries[0] if entries else None) is not self._newest


def _resizes(block: bytes) -> bool:
    """True for a block that begins with a dynamic table size update (RFC 7541 section 6.3)."""
    return bool(block) and block[0] & 0xE0 == 0x20


def _keep(cache: dict[_K, _V], key: _K, value: _V, *, block: bytes, changed: bool) -> None:
    """Keep what was made with an unchanged table; what came before a change is void."""
    if changed or len(cache) >= _CACHE_LIMIT:
        cache.clear()
    if not changed and len(block) <= _CACHED_BLOCK_SIZE:
        cache[key] = value


class HeaderBlockReader:
    """Collects the fragments of one header block at a time and decodes it (RFC 9113 section 4.3)."""

    def __init__(self, *, max_list_size: int, max_block_size: int) -> None:
        self._decoder = hpack.Decoder(max_header_list_size=max_list_size)
        # As in `HeaderEncoder`: a block that does not change the table means the same until another does.
        self._decoded: dict[bytes, Headers] = {}
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
        headers = self._decoded.get(block)
        if headers is None:
            before = _TableState(self._decoder)
            headers = self._decode(block)
            _keep(self._decoded, block, headers, block=block, changed=before.changed() or _resizes(block))
        return headers.copy()

    def _decode(self, block: bytes) -> Headers:
        try:
            return [(name, value) for name, value in self._decoder.decode(block, raw=True)]
        except OversizedHeaderListError as exc:
            raise HeaderListFault("the server's header list is larger than this client takes") from exc
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


def body_length(request: Headers, status: int, headers: Headers) -> int | None:
    """How many bytes the body of a response must have, if it says so. In the answer to HEAD, and in a 304, the length
    is that of a body which is not sent (RFC 9110 section 8.6)."""
    length = content_length(headers)
    if length is None or status == 304 or request[:1] == [(b":method", b"HEAD")]:
        return None
    return length
