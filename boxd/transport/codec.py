"""How messages become bytes and back: protobuf, or its JSON mapping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from boxd.transport.method import Method

Req = TypeVar("Req")
Res = TypeVar("Res")


class Codec(Protocol):
    """A codec chooses, once for each method of a channel, what encodes its requests and decodes its responses."""

    @property
    def name(self) -> str:
        """The codec's name in content types, such as `application/grpc+proto`."""

    def encoder(self, method: Method[Req, Any]) -> Callable[[Req], bytes]:
        """What makes bytes of a method's requests."""

    def decoder(self, method: Method[Any, Res]) -> Callable[[bytes], Res]:
        """What makes a method's responses of bytes. It raises for bytes that are none."""


class ProtoCodec:
    """Protobuf's binary format, by what the method itself brings along."""

    name = "proto"

    def encoder(self, method: Method[Req, Any]) -> Callable[[Req], bytes]:
        return method.encode

    def decoder(self, method: Method[Any, Res]) -> Callable[[bytes], Res]:
        return method.decode


class JsonCodec:
    """The JSON mapping of protobuf messages."""

    name = "json"

    def __init__(
        self, dump: Callable[[Any], str] | None = None, load: Callable[[type[Any], str], Any] | None = None
    ) -> None:
        """`dump` makes JSON text of a message, and `load` a message of a class and a text. By default the messages do
        so themselves: with `to_json` and `from_json`, as betterproto2's have."""
        self._dump = _dump if dump is None else dump
        self._load = _load if load is None else load

    def encoder(self, method: Method[Req, Any]) -> Callable[[Req], bytes]:
        dump = self._dump
        return lambda message: dump(message).encode()

    def decoder(self, method: Method[Any, Res]) -> Callable[[bytes], Res]:
        load, response = self._load, method.response

        def decode(data: bytes) -> Res:
            message: Res = load(response, data.decode())
            return message

        return decode


def _dump(message: Any) -> str:
    text: str = message.to_json()
    return text


def _load(response: type[Any], text: str) -> Any:
    # A field that is new on the server must not break the client that does not know it.
    return response.from_json(text, ignore_unknown_fields=True)


def get_codec(codec: str | Codec) -> Codec:
    """A codec by its name; another one as it is."""
    if not isinstance(codec, str):
        return codec
    if codec == "proto":
        return ProtoCodec()
    if codec == "json":
        return JsonCodec()
    raise ValueError(f"codec {codec!r}: use 'proto' or 'json'")
