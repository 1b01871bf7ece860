"""`c.token`: tokens to hand on."""

from __future__ import annotations

import builtins

from boxd import methods
from boxd.messages import token as pb
from boxd.resources._config import check_duration
from boxd.resources._service import Service
from boxd.types.account import Token, TokenInfo


class TokenService(Service):
    """Short-lived tokens, for those who shall act for the caller for a while."""

    async def create(self, expires_in: int = 0) -> Token:
        """Make a token that expires in `expires_in` seconds (0: the service's default). This is the only time that the
        service gives the token itself. Raises `ValueError` for a negative time. RPC: CreateToken."""
        check_duration("expires_in", expires_in)
        made = await self._session.unary(methods.CreateToken, pb.CreateTokenRequest(expires_in_secs=expires_in))
        return Token(token=made.token, expires_at=made.expires_at)

    async def list(self) -> builtins.list[TokenInfo]:
        """The caller's tokens, without the tokens themselves. RPC: ListTokens."""
        response = await self._session.unary(methods.ListTokens, pb.ListTokensRequest())
        return [
            TokenInfo(jti=info.jti, created_at=info.created_at, expires_at=info.expires_at) for info in response.tokens
        ]

    async def revoke(self, jti: str) -> None:
        """Make a token void, by its id. Raises `NotFoundError`. RPC: RevokeToken."""
        await self._session.unary(methods.RevokeToken, pb.RevokeTokenRequest(jti=jti))
