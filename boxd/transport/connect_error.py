"""Connect's errors and the end of its streams, which are JSON (the Connect protocol, "Error end-stream")."""

from __future__ import annotations

import json
from base64 import b64decode
from binascii import Error as Base64Error
from dataclasses import dataclass, field
from typing import Any

from boxd.transport.http2.stream import Headers
from boxd.transport.status import StatusCode

#: Connect names codes in lower case, and spells one differently.
_CODES = {code.name.lower(): code for code in StatusCode if code != StatusCode.OK}
_CODES["canceled"] = _CODES.pop("cancelled")


@dataclass
class ConnectError:
    """An error as the server tells it."""

    code: StatusCode | None
    """None where it is missing or unknown."""
    message: str = ""
    details: list[tuple[str, bytes]] = field(default_factory=list)


def parse_error(body: bytes) -> ConnectError | None:
    """The error that is the body of a unary response; None where the body is no JSON object."""
    try:
        return _error(load_object(body))
    except ValueError:
        return None


def parse_end(payload: bytes) -> tuple[ConnectError | None, Headers]:
    """The error (None: the call ended with OK) and the trailers in the last envelope of a stream. Raises `ValueError`
    for what is no JSON object."""
    end = load_object(payload)
    error = end.get("error")
    if error is not None:
        error = _error(error) if isinstance(error, dict) else ConnectError(None)
    return error, _metadata(end.get("metadata"))


def load_object(data: bytes) -> dict[str, Any]:
    """A JSON object. Raises `ValueError` for anything else, however deep."""
    try:
        value = json.loads(data)
    except RecursionError as exc:
        raise ValueError("nested too deep") from exc
    if not isinstance(value, dict):
        raise ValueError(f"a JSON {type(value).__name__}, not an object")
    return value


def _error(value: dict[str, Any]) -> ConnectError:
    code, message, details = value.get("code"), value.get("message"), value.get("details")
    return ConnectError(
        _CODES.get(code) if isinstance(code, str) else None,
        message if isinstance(message, str) else "",
        [detail for one in details if (detail := _detail(one)) is not None] if isinstance(details, list) else [],
    )


def _detail(value: Any) -> tuple[str, bytes] | None:
    """One detail; None for what cannot be read. `debug` only says the same for people."""
    if not isinstance(value, dict):
        return None
    kind, data = value.get("type"), value.get("value")
    if not isinstance(kind, str) or not isinstance(data, str):
        return None
    try:
        return kind.rpartition("/")[2], b64decode(data + "=" * (-len(data) % 4), validate=True)
    except (Base64Error, ValueError):
        return None


def _metadata(value: Any) -> Headers:
    """Trailers: each name with the list of its values. What does not look like that is left out."""
    if not isinstance(value, dict):
        return []
    return [
        (name.lower().encode("utf-8", "replace"), one.strip().encode("utf-8", "replace"))
        for name, values in value.items()
        if isinstance(values, list)
        for one in values
        if isinstance(one, str)
    ]
