"""Tokens: JSON Web Tokens signed with HMAC-SHA256 (RFC 7515, RFC 7519), and the API keys they come from."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .errors import Code, EmulatorError
from .store import Record, Store, Table

_HEADER = {"alg": "HS256", "typ": "JWT"}


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


@dataclass
class TokenRecord(Record):
    """A token that was made by CreateToken; its id is the `jti` claim."""

    created_at: int = 0
    expires_at: int = 0
    revoked: bool = False


@dataclass
class ApiKey(Record):
    """An API key that was made by CreateApiKey. The key itself is not kept."""

    name: str = ""
    org: str = ""
    prefix: str = ""
    digest: str = field(default="", repr=False)
    created_at: int = 0
    last_used_at: int = 0
    expires_at: int = 0


@dataclass
class SigningKey(Record):
    """What tokens are signed with, so that they are good after a restart too."""

    secret: str = field(default="", repr=False)


class Tokens:
    """Issues and checks the tokens of one emulator. `clock` gives the time in Unix seconds."""

    def __init__(
        self,
        api_key: str,
        user_id: str,
        clock: Callable[[], float] = time.time,
        store: Store | None = None,
    ) -> None:
        store = Store() if store is None else store
        self._api_key = api_key
        self.user_id = user_id
        self._clock = clock
        self._records = Table(store, "token", TokenRecord)
        #: The keys beside the emulator's own.
        self.keys = Table(store, "api-key", ApiKey)
        signing = Table(store, "signing-key", SigningKey)
        kept = signing.get("hs256") or signing.put(SigningKey("hs256", secrets.token_hex(32)))
        self._secret = bytes.fromhex(kept.secret)

    def __repr__(self) -> str:
        return f"Tokens(user_id={self.user_id!r})"

    def key_is_valid(self, key: str) -> bool:
        """Whether `key` is the API key, in constant time, or one that was made later."""
        raw = key.encode("utf-8", "surrogatepass")
        if hmac.compare_digest(raw, self._api_key.encode()):
            return True
        digest, now = hashlib.sha256(raw).hexdigest(), int(self._clock())
        for one in self.keys:
            if hmac.compare_digest(one.digest, digest) and not (one.expires_at and one.expires_at <= now):
                one.last_used_at = now
                self.keys.put(one)
                return True
        return False

    def add_key(self, key: str, name: str, seconds: int, org: str) -> ApiKey:
        """Accept another key, for so many seconds (0: without end)."""
        now = int(self._clock())
        digest = hashlib.sha256(key.encode()).hexdigest()
        expires_at = now + seconds if seconds else 0
        return self.keys.put(ApiKey(f"key-{secrets.token_hex(6)}", name, org, key[:8], digest, now, 0, expires_at))

    def listed(self) -> list[TokenRecord]:
        """The tokens that were made by CreateToken and are still good."""
        now = self._clock()
        return [one for one in self._records if not one.revoked and one.expires_at > now]

    def revoke(self, jti: str) -> bool:
        """Make a token void. False where there is none that is good."""
        found = next((one for one in self.listed() if one.id == jti), None)
        if found is None:
            return False
        found.revoked = True
        self._records.put(found)
        return True

    def issue(self, seconds: int, *, listed: bool = False) -> tuple[str, int]:
        """A new token and the Unix second at which it expires."""
        now = int(self._clock())
        expires_at = now + seconds
        claims = {"sub": self.user_id, "iat": now, "exp": expires_at, "jti": secrets.token_hex(8)}
        if listed:
            self._records.put(TokenRecord(str(claims["jti"]), now, expires_at))
        parts = ".".join(_encode(json.dumps(part, separators=(",", ":")).encode()) for part in (_HEADER, claims))
        return f"{parts}.{_encode(self._sign(parts))}", expires_at

    def _sign(self, parts: str) -> bytes:
        return hmac.new(self._secret, parts.encode(), hashlib.sha256).digest()

    def check(self, authorization: str | None) -> dict[str, Any]:
        """The claims of the token in an `authorization` header; UNAUTHENTICATED when it is not good."""
        if not authorization:
            raise _refusal("the call has no `authorization` header")
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise _refusal("the `authorization` header is not `Bearer TOKEN`")
        if token.count(".") != 2:
            raise _refusal("the token is no JWT; an API key (BOXD_API_KEY) is exchanged for one, and is none itself")
        parts, _, signature = token.rpartition(".")
        try:
            if not hmac.compare_digest(_decode(signature), self._sign(parts)):
                raise _refusal("the token is not one of this server")
            claims: dict[str, Any] = json.loads(_decode(parts.partition(".")[2]))
        except ValueError as error:
            raise _refusal("the token is malformed") from error
        if claims["exp"] <= self._clock():
            raise _refusal("the token has expired")
        record = self._records.get(str(claims.get("jti")))
        if record is not None and record.revoked:
            raise _refusal("the token has been revoked")
        return claims


def _refusal(why: str) -> EmulatorError:
    return EmulatorError(Code.UNAUTHENTICATED, why)
