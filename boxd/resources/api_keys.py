"""`c.api_key`: long-lived keys."""

from __future__ import annotations

import builtins

from boxd import methods
from boxd.messages import api_key as pb
from boxd.resources._config import check_duration
from boxd.resources._service import Service
from boxd.types.account import ApiKey, ApiKeyInfo


class ApiKeyService(Service):
    """API keys: what `Compute(api_key=...)` takes."""

    async def create(self, name: str, expires_in: int = 0, org: str | None = None) -> ApiKey:
        """Make a key. `name` is for people. It expires in `expires_in` seconds (0: never). `org` is the organization
        it is for, on newer servers (None: the client's; empty: personal). This is the only time that the service gives
        the key itself. Raises `QuotaExceededError`, and `ValueError` for a negative time. RPC: CreateApiKey."""
        check_duration("expires_in", expires_in)
        request = pb.CreateApiKeyRequest(name=name, expires_in_secs=expires_in, org=self._session.scope(org))
        made = await self._session.unary(methods.CreateApiKey, request)
        return ApiKey(id=made.id, key=made.api_key, expires_at=made.expires_at)

    async def list(self) -> builtins.list[ApiKeyInfo]:
        """The caller's keys, without the keys themselves. RPC: ListApiKeys."""
        response = await self._session.unary(methods.ListApiKeys, pb.ListApiKeysRequest())
        return [
            ApiKeyInfo(
                id=info.id,
                name=info.name,
                key_prefix=info.key_prefix,
                created_at=info.created_at,
                last_used_at=info.last_used_at,
                expires_at=info.expires_at,
            )
            for info in response.keys
        ]

    async def delete(self, id: str) -> None:
        """Make a key void, by its id. Raises `NotFoundError`. RPC: DeleteApiKey."""
        await self._session.unary(methods.DeleteApiKey, pb.DeleteApiKeyRequest(id=id))
