"""What every RPC protocol over HTTP does: the one interface behind which gRPC and its siblings stand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

from boxd.transport.http2.stream import Headers
from boxd.transport.method import Kind

#: Messages that are shorter, in bytes, are sent as they are: compressing them costs more than it saves.
DEFAULT_COMPRESS_FROM = 1_024


class RequestHead(NamedTuple):
    """What a protocol needs to write a call's request headers; made once for each method of a channel."""

    scheme: str
    authority: str
    path: str
    user_agent: str
    kind: Kind
    no_side_effects: bool = False


@dataclass(frozen=True)
class Content:
    """How the messages of a channel are written, whatever the protocol."""

    codec: str = "proto"
    """The codec's name in content types: `proto` or `json`."""
    compression: str | None = None
    """`gzip` to compress requests. Responses may be compressed in either case."""
    compress_from: int = DEFAULT_COMPRESS_FROM
    """The size in bytes from which a message is compressed."""

    def __post_init__(self) -> None:
        if self.compression not in (None, "gzip"):
            raise ValueError(f"compression {self.compression!r}: use 'gzip' or None")


class ResponseReader(ABC):
    """Reads one response. Sans-io: it is told what came, and raises `RpcError` where the call cannot go on."""

    #: The response's custom metadata, as received.
    headers: Headers
    trailers: Headers

    @abstractmethod
    def on_headers(self, status: int, headers: Headers, end_stream: bool) -> None:
        """The response's head. With `end_stream` nothing follows it."""

    @abstractmethod
    def on_data(self, data: bytes, messages: list[tuple[int, bytes]]) -> None:
        """A piece of the body; the messages it completes are appended as (flags, payload), those before an error too.
        A message with flags has to go through `decode`."""

    @abstractmethod
    def decode(self, flags: int, payload: bytes) -> bytes:
        """A message's own bytes, decompressed. Called when it is taken, so that what waits is no larger than what was
        sent."""

    @abstractmethod
    def on_end(self, trailers: Headers, messages: list[tuple[int, bytes]]) -> None:
        """The response is complete; a message that ends with the body is appended. Returns for the status OK and
        raises for any other."""


class CallFormat(ABC):
    """How the calls of one method look on the wire; made once for each method of a channel."""

    @abstractmethod
    def open(self, message: bytes | None) -> tuple[Headers, Headers, bytes]:
        """The header fields of a call that opens with a message (None: without one), those before the timeout and
        those after it, and the message as it stands in the request's body."""

    @abstractmethod
    def encode(self, message: bytes) -> bytes:
        """A further message as it stands in the request's body."""

    @abstractmethod
    def reader(self, limit: int | None) -> ResponseReader:
        """A reader for one response, which takes messages of `limit` bytes at most."""


class RpcProtocol(ABC):
    """How calls look on the wire."""

    name: str
    #: True where HTTP/1.1 will do.
    http1: bool = False

    @abstractmethod
    def format(self, head: RequestHead) -> CallFormat:
        """The format of a method's calls."""

    @abstractmethod
    def timeout_header(self, seconds: float) -> tuple[bytes, bytes]:
        """The header field that tells the server how long the caller waits."""

    def attempts_header(self, attempts: int) -> Headers:
        """The header field that tells the server how often this call was tried before; none where the protocol has
        none."""
        return []
