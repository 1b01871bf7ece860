"""Where a channel leads to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A server's address. `host` is a name or an IP address without brackets; with the scheme `unix` it is the path
    of a socket, spoken to in plaintext."""

    scheme: str
    """`https`, `http` (plaintext HTTP/2 with prior knowledge, RFC 9113 section 3.3) or `unix`."""
    host: str
    port: int = 0

    def __post_init__(self) -> None:
        if self.scheme not in ("http", "https", "unix"):
            raise ValueError(f"scheme {self.scheme!r}: use 'http', 'https' or 'unix'")
        if not self.host:
            raise ValueError("the host is empty")
        if self.scheme != "unix" and not 0 < self.port < 65536:
            raise ValueError(f"port {self.port}: use 1 to 65535")

    @property
    def authority(self) -> str:
        """The `:authority` of requests (RFC 9113 section 8.3.1)."""
        if self.scheme == "unix":
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == {"http": 80, "https": 443}[self.scheme] else f"{host}:{self.port}"

    @property
    def http_scheme(self) -> str:
        """The `:scheme` of requests."""
        return "https" if self.scheme == "https" else "http"

    def __str__(self) -> str:
        return f"unix:{self.host}" if self.scheme == "unix" else f"{self.scheme}://{self.authority}"
