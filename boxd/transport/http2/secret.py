"""Which header fields are secret, and how they are shown where people look at frames."""

from __future__ import annotations

import re

import hpack

#: Names that say that a value gives access to something. `authority` and `www-authenticate` do not.
_SECRET = re.compile(rb"auth(?!enticate|ority)|cookie|token|secret|passw|key|credential|session|signature|jwt")
#: What a secret is shown as.
HIDDEN = "[hidden]"
#: Characters of a value that are shown.
SHOWN = 1_024


def is_secret(name: bytes) -> bool:
    """True for a field that is secret by its lower-case name, such as `authorization`, `cookie` or `x-api-key`."""
    return _SECRET.search(name) is not None


def shown(field: tuple[bytes, bytes]) -> tuple[str, str]:
    """A field for a log: without its value where that is secret, by its name or because it is marked as one that may
    not be indexed (RFC 7541 section 7.1.3); of a path, the query is left out: it may hold a whole message."""
    name, value = field
    text = value.decode("latin-1")
    if is_secret(name) or isinstance(field, hpack.NeverIndexedHeaderTuple):
        text = HIDDEN
    elif name == b":path" and "?" in text:
        text = f"{text.partition('?')[0]}?{HIDDEN}"
    elif len(text) > SHOWN:
        text = f"{text[:SHOWN]}... ({len(text)} characters)"
    return name.decode("latin-1"), text
