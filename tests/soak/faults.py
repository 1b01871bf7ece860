"""What a call of the soak asks its server to do to it. Its first message says so, so that each call's fate is known."""

from __future__ import annotations

import struct
from enum import IntEnum

_HEAD = struct.Struct(">IBH")


class Fault(IntEnum):
    """The faults. A stream's fault comes after so many of its messages as its `argument` says, unless it has to come
    before the response."""

    NONE = 0
    STATUS = 1
    """The server's own status: its number is the argument."""
    RESET = 2
    """RST_STREAM; the error code is the argument."""
    REFUSED = 3
    """RST_STREAM with REFUSED_STREAM, the first time."""
    REFUSED_ALWAYS = 4
    """The same, every time."""
    GOAWAY = 5
    """A graceful GOAWAY in two phases; the call itself is answered."""
    GOAWAY_BELOW = 6
    """GOAWAY that leaves the call out, the first time."""
    CUT = 7
    """The connection is reset."""
    GOAWAY_CUT = 8
    """GOAWAY with an error, and the end of the connection in the same segment."""
    LATENCY = 9
    """The answer comes so many milliseconds later."""
    SILENCE = 10
    """No answer: the call has a short deadline."""
    PIECES = 11
    """The answer comes in frames of a few bytes."""
    STALL = 12
    """The client gets its window back only after so many milliseconds, with its window for all streams lowered."""
    CANCEL = 13
    """The client cancels the call."""


#: How many kinds of faults end a connection with everything on it.
CUTS = (Fault.CUT, Fault.GOAWAY_CUT)


def pack(number: int, fault: Fault, argument: int, payload: bytes) -> bytes:
    """A first message."""
    return _HEAD.pack(number, fault, argument) + payload


def unpack(message: bytes) -> tuple[int, Fault, int]:
    """Number, fault and argument of a call."""
    number, fault, argument = _HEAD.unpack_from(message)
    return number, Fault(fault), argument
