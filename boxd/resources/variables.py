"""`c.env` and `c.secret`: environment variables that all machines get."""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from typing import TYPE_CHECKING

from boxd import methods
from boxd.messages import var as pb
from boxd.resources._service import Service
from boxd.types.account import EnvVariable, Secret

if TYPE_CHECKING:
    from boxd.resources._base import Session

_ENV = "env"
_SECRET = "secret"


class EnvService(Service):
    """Environment variables that the machines of an account or an organization get. They are kept in clear text: for
    passwords and keys there is `c.secret`.

    In an organization, `scope` says which of its machines: `shared` (the default), `private` or `all`.
    """

    async def set(self, name: str, value: str, scope: str = "", org: str | None = None) -> None:
        """Create a variable, or change it. Raises `InvalidArgumentError` for a bad name. RPC: SetVar."""
        request = pb.SetVarRequest(org=self._session.scope(org), kind=_ENV, name=name, value=value, scope=scope)
        await self._session.unary(methods.SetVar, request)

    async def list(self, org: str | None = None) -> builtins.list[EnvVariable]:
        """The variables of an organization (None: the client's; empty: personal). RPC: ListVars."""
        items = await _list(self._session, org, _ENV)
        return [EnvVariable(name=item.name, value=item.value, scope=item.scope) for item in items]

    async def remove(self, name: str, scope: str = "", org: str | None = None) -> None:
        """Remove a variable. Raises `NotFoundError`. RPC: RemoveVar."""
        await _remove(self._session, org, _ENV, name, scope)


class SecretService(Service):
    """Secrets that the machines of an account or an organization get as environment variables. Their values can be set
    and not read.

    In an organization, `scope` says which of its machines: `shared` (the default), `private` or `all`.
    """

    async def set(
        self, name: str, value: str, scope: str = "", domains: Iterable[str] = (), org: str | None = None
    ) -> None:
        """Create a secret, or change it. `domains`, on newer servers, are the hosts that it is for. Raises
        `InvalidArgumentError` for a bad name. RPC: SetVar."""
        if isinstance(domains, str):
            raise TypeError("`domains` is one string: give a list of host names")
        request = pb.SetVarRequest(
            org=self._session.scope(org), kind=_SECRET, name=name, value=value, scope=scope, domains=[*domains]
        )
        await self._session.unary(methods.SetVar, request)

    async def list(self, org: str | None = None) -> builtins.list[Secret]:
        """The secrets of an organization (None: the client's; empty: personal), without their values.
        RPC: ListVars."""
        items = await _list(self._session, org, _SECRET)
        return [Secret(name=item.name, scope=item.scope, domains=[*item.domains]) for item in items]

    async def set_scope(self, name: str, scope: str, old_scope: str = "", org: str | None = None) -> None:
        """Give a secret to the machines of another scope, its value unchanged. `old_scope` tells which is meant where
        several have that name. Raises `NotFoundError`. RPC: SetSecretScope."""
        request = pb.SetSecretScopeRequest(org=self._session.scope(org), name=name, from_=old_scope, to=scope)
        await self._session.unary(methods.SetSecretScope, request)

    async def remove(self, name: str, scope: str = "", org: str | None = None) -> None:
        """Remove a secret. Raises `NotFoundError`. RPC: RemoveVar."""
        await _remove(self._session, org, _SECRET, name, scope)


async def _list(session: Session, org: str | None, kind: str) -> builtins.list[pb.VarItem]:
    response = await session.unary(methods.ListVars, pb.ListVarsRequest(org=session.scope(org), kind=kind))
    # The kind of an item is told, so that a server which lists all of them is no harm.
    return [item for item in response.vars if item.kind in ("", kind)]


async def _remove(session: Session, org: str | None, kind: str, name: str, scope: str) -> None:
    request = pb.RemoveVarRequest(org=session.scope(org), kind=kind, name=name, scope=scope)
    await session.unary(methods.RemoveVar, request)
