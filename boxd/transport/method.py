"""What a transport needs to know about an RPC method."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Req = TypeVar("Req")
Res = TypeVar("Res")


class Kind(enum.Enum):
    """How many messages go each way."""

    UNARY = "unary"
    CLIENT_STREAM = "client-stream"
    SERVER_STREAM = "server-stream"
    BIDI_STREAM = "bidi"


# Only what is used: each of the methods that `dataclass` could add costs 0.1 ms of every import.
@dataclass(eq=False, repr=False, slots=True)
class Method(Generic[Req, Res]):
    """One RPC method of a service."""

    path: str
    """The request's `:path`: `/package.Service/Method`."""
    kind: Kind
    request: type[Req]
    response: type[Res]
    encode: Callable[[Req], bytes]
    """A request message as bytes."""
    decode: Callable[[bytes], Res]
    """Bytes as a response message. Raises for bytes that are not one."""
    idempotent: bool = False
    """True where a call may be repeated even if the first may have run."""
    no_side_effects: bool = False
    """True where a call changes nothing, so that it may also be answered from a cache; such methods are idempotent."""

    def __post_init__(self) -> None:
        if self.no_side_effects and not self.idempotent:
            raise ValueError(f"{self.path} has no side effects, so it is idempotent too: say so")

    @property
    def name(self) -> str:
        """The method's own name: `CreateVm`."""
        return self.path.rpartition("/")[2]
