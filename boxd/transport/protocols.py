"""The protocols by name. Each is imported when it is first asked for."""

from __future__ import annotations

from boxd.transport.protocol import Content, RpcProtocol


def make_protocol(name: str, content: Content) -> RpcProtocol:
    """A protocol: `grpc`. Raises `ValueError` for another name."""
    if name == "grpc":
        from boxd.transport.grpc import GrpcProtocol

        return GrpcProtocol(content)
    raise ValueError(f"protocol {name!r}: use 'grpc', 'grpc-web' or 'connect'")
