"""Environment variables and secrets of an organization, which its machines' commands get."""

from __future__ import annotations

import re

from boxd import messages as pb

from ..account import ENV, SECRET, Variable, variable_id
from ..errors import Code, EmulatorError
from .base import Context, Handlers

_SCOPES = ("shared", "private", "all")


class Variables(Handlers):
    """SetVar, ListVars, RemoveVar and SetSecretScope."""

    async def set_var(self, request: pb.SetVarRequest, context: Context) -> pb.VarReply:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", request.name) or request.name.startswith("BOXD_"):
            raise EmulatorError(Code.INVALID_ARGUMENT, f"{request.name!r} is no name for a variable")
        if "\0" in request.value:
            raise EmulatorError(Code.INVALID_ARGUMENT, f"the value of {request.name!r} has a NUL in it")
        org, kind, scope = self._org(request.org), _kind(request.kind), _scope(request.scope)
        key = variable_id(org, kind, request.name, scope)
        self._account.variables.put(Variable(key, org, kind, request.name, scope, request.value, [*request.domains]))
        return pb.VarReply(message=f"{request.name} is set")

    async def list_vars(self, request: pb.ListVarsRequest, context: Context) -> pb.VarListReply:
        org = self._org(request.org)
        items = [
            pb.VarItem(
                name=one.name,
                kind=one.kind,
                scope=one.scope,
                value=one.value if one.kind == ENV else "",
                domains=one.domains,
            )
            for one in self._account.variables
            if one.org == org and request.kind in ("", one.kind)
        ]
        return pb.VarListReply(vars=items)

    async def remove_var(self, request: pb.RemoveVarRequest, context: Context) -> pb.VarReply:
        found = self._variable(self._org(request.org), _kind(request.kind), request.name, request.scope)
        self._account.variables.remove(found.id)
        return pb.VarReply(message=f"{request.name} is removed")

    async def set_secret_scope(self, request: pb.SetSecretScopeRequest, context: Context) -> pb.VarReply:
        org, scope = self._org(request.org), _scope(request.to)
        found = self._variable(org, SECRET, request.name, request.from_)
        key = variable_id(org, SECRET, found.name, scope)
        if scope != found.scope and self._account.variables.get(key) is not None:
            raise EmulatorError(Code.ALREADY_EXISTS, f"there is another secret {found.name!r} that is {scope}")
        self._account.variables.remove(found.id)
        found.id, found.scope = key, scope
        self._account.variables.put(found)
        return pb.VarReply(message=f"{request.name} is {scope}")

    def _variable(self, org: str, kind: str, name: str, scope: str) -> Variable:
        for one in self._account.variables:
            if (one.org, one.kind, one.name) == (org, kind, name) and scope in ("", one.scope):
                return one
        raise EmulatorError(Code.NOT_FOUND, f"there is no {kind} variable {name!r}")


def _kind(kind: str) -> str:
    if kind not in ("", ENV, SECRET):
        raise EmulatorError(Code.INVALID_ARGUMENT, f"{kind!r} is neither 'env' nor 'secret'")
    return kind or ENV


def _scope(scope: str) -> str:
    if scope not in ("", *_SCOPES):
        raise EmulatorError(Code.INVALID_ARGUMENT, f"{scope!r} is not 'shared', 'private' or 'all'")
    return scope or "all"
