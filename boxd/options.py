"""How a client speaks HTTP: the settings behind `Compute(http=...)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from boxd.transport import ConnectionOptions, DialOptions, EngineOptions

if TYPE_CHECKING:
    import httpx

#: The protocols that a client can speak.
PROTOCOLS = ("grpc", "grpc-web", "connect")
_VERSIONS = ("auto", "2", "1.1")


@dataclass(frozen=True, kw_only=True)
class HTTPOptions(DialOptions, ConnectionOptions):
    """How a client connects and speaks HTTP, for its calls and for the exchange of its key: TLS, proxies, time-outs,
    keepalive, windows. Every setting has a default; `docs/configuration.md` has them all in a table.

    ```python
    http = HTTPOptions(proxy="http://user:password@proxy:3128", ca="corporate.pem", keepalive_time=60)
    ```

    Times are seconds, sizes bytes. Raises `ValueError`, which names the setting, for a value that cannot be used.
    """

    version: str = "auto"
    """The version of HTTP for calls: `2`; `1.1`, for the protocols `grpc-web` and `connect`; or `auto`, HTTP/2 unless
    a server of these protocols chooses HTTP/1.1 in the TLS handshake. Over HTTP/1.1 a call is answered only after its
    last message, so that interactive exec does not work."""
    compression: str | None = None
    """`gzip` to compress requests of 1 KiB and more. Responses may be compressed in any case."""
    stream_window: int = EngineOptions.stream_window
    """How much a server may send on one call before it is read. Files have larger windows of their own."""
    connection_window: int = EngineOptions.connection_window
    """The same over all calls of a connection, at least 65,535."""

    def __post_init__(self) -> None:
        DialOptions.__post_init__(self)
        ConnectionOptions.__post_init__(self)
        if self.version not in _VERSIONS:
            raise ValueError(f"version {self.version!r}: use 'auto', '2' or '1.1'")
        if self.compression not in (None, "gzip"):
            raise ValueError(f"compression {self.compression!r}: use 'gzip' or None")
        _ = self.engine

    @property
    def engine(self) -> EngineOptions:
        """What the connections announce in HTTP/2."""
        return EngineOptions(stream_window=self.stream_window, connection_window=self.connection_window)


HTTP: TypeAlias = "HTTPOptions | httpx.AsyncBaseTransport"
"""What `Compute(http=...)` takes: settings, or an httpx transport that makes all requests."""


def check_http(value: object) -> None:
    """Raises `ValueError` for what `Compute(http=...)` does not take."""
    if not isinstance(value, HTTPOptions) and not hasattr(value, "handle_async_request"):
        raise ValueError(f"http of type {type(value).__name__}: use boxd.HTTPOptions or an httpx.AsyncBaseTransport")


def dial_options(http: HTTP) -> HTTPOptions:
    """The settings for connections: those given, or defaults beside a transport, which has its own."""
    return http if isinstance(http, HTTPOptions) else HTTPOptions(trust_env=False)
