"""What every RPC protocol over HTTP does: the one interface behind which gRPC and its siblings stand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from boxd.transport.http2.stream import Headers


@dataclass(frozen=True)
class RequestHead:
    """What a protocol needs to write a call's request headers; made once for each method of a channel."""

    scheme: str
    authority: str
    path: str
    user_agent: str


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
    def on_end(self, trailers: Headers) -> None:
        """The response is complete. Returns for the status OK and raises for any other."""


class RpcProtocol(ABC):
    """How calls look on the wire."""

    name: str

    @abstractmethod
    def request_headers(self, head: RequestHead) -> tuple[Headers, Headers]:
        """The constant header fields of a method's calls: those before the timeout, and those after it."""

    @abstractmethod
    def timeout_header(self, seconds: float) -> tuple[bytes, bytes]:
        """The header field that tells the server how long the caller waits."""

    @abstractmethod
    def encode(self, message: bytes) -> bytes:
        """A message as it stands in the request's body."""

    @abstractmethod
    def reader(self, limit: int | None) -> ResponseReader:
        """A reader for one response, which takes messages of `limit` bytes at most."""
