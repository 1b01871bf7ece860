"""Generates `boxd/methods.py`: one transport method per RPC of the service, built when it is first asked for."""

from __future__ import annotations

from pathlib import Path

from codegen.output import WIDTH, header
from codegen.schema import Rpc, Schema, SchemaError, load

FILE = "boxd/methods.py"
SOURCE = "proto/boxd/api/v1/service.proto"

KINDS = {
    "unary": "UNARY",
    "client-stream": "CLIENT_STREAM",
    "server-stream": "SERVER_STREAM",
    "bidi": "BIDI_STREAM",
}
"""Member of `boxd.transport.method.Kind` for each kind."""


def generate(root: Path) -> dict[str, str]:
    """The text of `boxd/methods.py`, by its path relative to the root."""
    schema = load(root)
    rpcs = sorted(schema.rpcs, key=lambda rpc: rpc.name)
    services = {rpc.path.rpartition("/")[0] for rpc in rpcs}
    if len(services) != 1:
        raise SchemaError(f"expected one service in {SOURCE}, found {sorted(services)}")
    text = _TEMPLATE.format(
        service=services.pop(),
        hints="".join(_hint(rpc) for rpc in rpcs),
        rows="".join(_row(schema, rpc) for rpc in rpcs),
    )
    return {FILE: header(SOURCE) + text}


def _hint(rpc: Rpc) -> str:
    """What a type checker knows the method as."""
    types = f"messages.{rpc.request}, messages.{rpc.response}"
    line = f"    {rpc.name}: Method[{types}]\n"
    return line if len(line) <= WIDTH else f"    {rpc.name}: Method[\n        {types}\n    ]\n"


def _row(schema: Schema, rpc: Rpc) -> str:
    """What the method is built from."""
    for name in (rpc.request, rpc.response):
        if name not in schema.messages:
            raise SchemaError(f"{rpc.name}: no message {name} in the contract")
    parts = (
        f"Kind.{KINDS[rpc.kind]}",
        str(rpc.idempotent),
        str(rpc.no_side_effects),
        f'"{rpc.request} {rpc.response}"',
    )
    line = f'    "{rpc.name}": ({", ".join(parts)}),\n'
    if len(line) <= WIDTH:
        return line
    return f'    "{rpc.name}": (\n' + "".join(f"        {part},\n" for part in parts) + "    ),\n"


_TEMPLATE = '''\
"""The RPCs of the service: `boxd.methods.CreateVm` is the transport's method for it.

Each is built when it is first asked for, and imports no more messages than its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from boxd import messages
from boxd.transport.method import Kind, Method

if TYPE_CHECKING:
{hints}
SERVICE = "{service}"
"""What the path of every RPC starts with."""

_TABLE: dict[str, tuple[Kind, bool, bool, str]] = {{
    # name: kind, whether it may be repeated after it may have run, whether it changes nothing, request and response
{rows}}}


if not TYPE_CHECKING:  # A type checker would take it for a promise that any name exists.

    def __getattr__(name: str) -> Any:
        if name not in _TABLE:
            raise AttributeError(f"module {{__name__!r}} has no attribute {{name!r}}")
        kind, idempotent, no_side_effects, types = _TABLE[name]
        request, response = (getattr(messages, message) for message in types.split())
        method = Method(
            path=f"{{SERVICE}}/{{name}}",
            kind=kind,
            request=request,
            response=response,
            encode=_encoder(request),
            decode=_decoder(response),
            idempotent=idempotent,
            no_side_effects=no_side_effects,
        )
        globals()[name] = method
        return method


def __dir__() -> list[str]:
    return sorted({{*globals(), *_TABLE}})


def names() -> tuple[str, ...]:
    """The name of every RPC, sorted."""
    return tuple(_TABLE)


def _encoder(request: Any) -> Callable[[Any], bytes]:
    """How a request becomes bytes: `bytes(request)`, without the way through the built-in."""
    encode: Callable[[Any], bytes] = request.__bytes__
    return encode


def _decoder(response: Any) -> Callable[[bytes], Any]:
    """How bytes become a response."""
    decode: Callable[[bytes], Any] = response.parse
    return decode
'''
