"""The protocols by name. Each is imported when it is first asked for."""

from __future__ import annotations

from boxd.transport.protocol import Content, RpcProtocol


def make_protocol(name: str, content: Content, *, use_get: bool = False) -> RpcProtocol:
    """A protocol: `grpc`, `grpc-web`, `grpc-web-text` (base64) or `connect`. Raises `ValueError` for another name.
    `use_get` concerns Connect alone."""
    if name == "grpc":
        from boxd.transport.grpc import GrpcProtocol

        return GrpcProtocol(content)
    if name in ("grpc-web", "grpc-web-text"):
        from boxd.transport.grpc_web import GrpcWebProtocol

        return GrpcWebProtocol(content, text=name == "grpc-web-text")
    if name == "connect":
        from boxd.transport.connect import ConnectProtocol

        return ConnectProtocol(content, use_get=use_get)
    raise ValueError(f"protocol {name!r}: use 'grpc', 'grpc-web' or 'connect'")
