"""Tokens, API keys and SSH keys."""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets

from boxd import messages as pb

from ..account import SshKey
from ..errors import Code, EmulatorError
from ..tokens import ApiKey
from .base import Context, Handlers

_TOKEN_SECONDS = 24 * 3600
_LONGEST = 10 * 365 * 24 * 3600


class Credentials(Handlers):
    """What the caller can be known by."""

    async def create_token(self, request: pb.CreateTokenRequest, context: Context) -> pb.CreateTokenResponse:
        seconds = _seconds(request.expires_in_secs) or _TOKEN_SECONDS
        token, expires_at = self._tokens.issue(seconds, listed=True)
        return pb.CreateTokenResponse(token=token, expires_at=expires_at)

    async def list_tokens(self, request: pb.ListTokensRequest, context: Context) -> pb.ListTokensResponse:
        tokens = [
            pb.TokenInfo(jti=one.id, created_at=one.created_at, expires_at=one.expires_at)
            for one in self._tokens.listed()
        ]
        return pb.ListTokensResponse(tokens=tokens)

    async def revoke_token(self, request: pb.RevokeTokenRequest, context: Context) -> pb.RevokeTokenResponse:
        if not self._tokens.revoke(request.jti):
            raise EmulatorError(Code.NOT_FOUND, f"there is no token {request.jti!r}")
        return pb.RevokeTokenResponse()

    async def create_api_key(self, request: pb.CreateApiKeyRequest, context: Context) -> pb.CreateApiKeyResponse:
        if not request.name:
            raise EmulatorError(Code.INVALID_ARGUMENT, "an API key needs a name")
        key = "bxd_" + secrets.token_hex(20)
        made = self._tokens.add_key(key, request.name, _seconds(request.expires_in_secs), self._org(request.org))
        return pb.CreateApiKeyResponse(id=made.id, api_key=key, expires_at=made.expires_at)

    async def list_api_keys(self, request: pb.ListApiKeysRequest, context: Context) -> pb.ListApiKeysResponse:
        return pb.ListApiKeysResponse(keys=[self._key(one) for one in self._tokens.keys])

    def _key(self, key: ApiKey) -> pb.ApiKeyInfo:
        info = pb.ApiKeyInfo(
            id=key.id,
            name=key.name,
            key_prefix=key.prefix,
            created_at=key.created_at,
            last_used_at=key.last_used_at,
            expires_at=key.expires_at,
        )
        if self._options.generation >= 2:
            info.org, info.created_by, info.mine = key.org, self._options.user_id, True
        return info

    async def delete_api_key(self, request: pb.DeleteApiKeyRequest, context: Context) -> pb.DeleteApiKeyResponse:
        if self._tokens.keys.get(request.id) is None:
            raise EmulatorError(Code.NOT_FOUND, f"there is no API key {request.id!r}")
        self._tokens.keys.remove(request.id)
        return pb.DeleteApiKeyResponse()

    async def link_ssh_key(self, request: pb.LinkSshKeyRequest, context: Context) -> pb.LinkSshKeyResponse:
        self._account.ssh_keys.put(SshKey(_fingerprint(request.pubkey), request.label))
        return pb.LinkSshKeyResponse()


def _seconds(value: int) -> int:
    if value > _LONGEST:
        raise EmulatorError(Code.INVALID_ARGUMENT, f"{value} seconds are more than the limit of {_LONGEST}")
    return value


def _fingerprint(line: str) -> str:
    """The fingerprint of an `authorized_keys` line, as ssh-keygen(1) shows it."""
    words = line.split()
    try:
        blob = base64.b64decode(words[1], validate=True)
        kind = blob[4 : 4 + int.from_bytes(blob[:4], "big")].decode()
    except (IndexError, binascii.Error, UnicodeDecodeError):
        kind = ""
    if not kind or kind != words[0]:
        raise EmulatorError(Code.INVALID_ARGUMENT, "this is no public SSH key in the form 'ssh-ed25519 AAAA... name'")
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).rstrip(b"=").decode()
