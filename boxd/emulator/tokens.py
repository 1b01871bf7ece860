"""Tokens: JSON Web Tokens signed with HMAC-SHA256 (RFC 7515, RFC 7519), and the API keys they come from."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from typing import Any

from .errors import Code, EmulatorError

_HEADER = {"alg": "HS256", "typ": "JWT"}


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


class Tokens:
    """Issues and checks the tokens of one emulator. `clock` gives the time in Unix seconds."""

    def __init__(self, api_key: str, user_id: str, clock: Callable[[], float] = time.time) -> None:
        self._api_key = api_key
        self.user_id = user_id
        self._clock = clock
        self._secret = secrets.token_bytes(32)

    def __repr__(self) -> str:
        return f"Tokens(user_id={self.user_id!r})"

    def key_is_valid(self, key: str) -> bool:
        """Whether `key` is the API key, in constant time."""
        return hmac.compare_digest(key.encode("utf-8", "surrogatepass"), self._api_key.encode())

    def issue(self, seconds: int) -> tuple[str, int]:
        """A new token and the Unix second at which it expires."""
        now = int(self._clock())
        expires_at = now + seconds
        claims = {"sub": self.user_id, "iat": now, "exp": expires_at, "jti": secrets.token_hex(8)}
        parts = ".".join(_encode(json.dumps(part, separators=(",", ":")).encode()) for part in (_HEADER, claims))
        return f"{parts}.{_encode(self._sign(parts))}", expires_at

    def _sign(self, parts: str) -> bytes:
        return hmac.new(self._secret, parts.encode(), hashlib.sha256).digest()

    def check(self, authorization: str | None) -> dict[str, Any]:
        """The claims of the token in an `authorization` header; UNAUTHENTICATED when it is not good."""
        if not authorization:
            raise _refusal("the call has no `authorization` header")
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or token.count(".") != 2:
            raise _refusal("the `authorization` header is not `Bearer TOKEN`")
        parts, _, signature = token.rpartition(".")
        try:
            if not hmac.compare_digest(_decode(signature), self._sign(parts)):
                raise _refusal("the token is not one of this server")
            claims: dict[str, Any] = json.loads(_decode(parts.partition(".")[2]))
        except ValueError as error:
            raise _refusal("the token is malformed") from error
        if claims["exp"] <= self._clock():
            raise _refusal("the token has expired")
        return claims


def _refusal(why: str) -> EmulatorError:
    return EmulatorError(Code.UNAUTHENTICATED, why)
