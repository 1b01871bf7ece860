"""Where a channel leads to."""

from __future__ import annotations

import re
from dataclasses import dataclass

_HOST_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_.])?", re.ASCII)
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Target:
    """A server's address. `host` is a name or an IP address without brackets; with the scheme `unix` it is the path
    of a socket, spoken to in plaintext. A name in another script than ASCII is kept as DNS, TLS and `:authority` want
    it (IDNA, RFC 5891)."""

    scheme: str
    """`https`, `http` (plaintext HTTP/2 with prior knowledge, RFC 9113 section 3.3) or `unix`."""
    host: str
    port: int = 0

    def __post_init__(self) -> None:
        if self.scheme not in ("http", "https", "unix"):
            raise ValueError(f"scheme {self.scheme!r}: use 'http', 'https' or 'unix'")
        if not self.host:
            raise ValueError("the host is empty")
        if self.scheme == "unix":
            return
        object.__setattr__(self, "host", ascii_host(self.host))
        if not 0 < self.port < 65536:
            raise ValueError(f"port {self.port}: use 1 to 65535")

    @classmethod
    def parse(cls, url: str) -> Target:
        """The server that a URL means: `http://host:port` (plaintext HTTP/2), `https://host:port`, without a port 80
        and 443, an IPv6 address in brackets; or a Unix socket, `unix:path` or `unix:///absolute/path`. Raises
        `ValueError`, which names the URL, for everything else, also for one with a path, a query or a user name."""
        try:
            path = unix_path(url)
            if path is not None:
                return cls("unix", path)
            scheme, separator, authority = url.partition("://")
            if not separator:
                raise ValueError("it has no scheme")
            host, port = split_authority(authority)
            return cls(scheme.lower(), host, _DEFAULT_PORTS.get(scheme.lower(), 0) if port is None else port)
        except ValueError as exc:
            kinds = "'http://host:port', 'https://host:port' or 'unix:///path'"
            raise ValueError(f"target {url!r}: {exc}. Use {kinds}") from exc

    @property
    def authority(self) -> str:
        """The `:authority` of requests (RFC 9113 section 8.3.1)."""
        if self.scheme == "unix":
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def http_scheme(self) -> str:
        """The `:scheme` of requests."""
        return "https" if self.scheme == "https" else "http"

    def __str__(self) -> str:
        return f"unix:{self.host}" if self.scheme == "unix" else f"{self.scheme}://{self.authority}"


def ascii_host(host: str) -> str:
    """A host name as DNS and TLS know it. Raises `ValueError` for one that cannot be written so."""
    if host.isascii():
        return host
    import idna

    try:
        return idna.encode(host, uts46=True).decode()
    except idna.IDNAError as exc:
        raise ValueError(f"{host!r} is not a host name: {exc}") from exc


def unix_path(url: str) -> str | None:
    """The path of the socket that a `unix:` URL names; None for another URL. Raises `ValueError` where the path is
    missing or not absolute after `//`."""
    scheme, colon, path = url.partition(":")
    if not colon or scheme.lower() != "unix":
        return None
    if path.startswith("//"):
        path = path[2:]
        if not path.startswith("/"):
            raise ValueError("after 'unix://' an absolute path must come")
        path = "/" + path.lstrip("/")
    from urllib.parse import unquote

    path = unquote(path)
    if not path or "\0" in path:
        raise ValueError("it names no socket")
    return path


def split_authority(text: str) -> tuple[str, int | None]:
    """The host, in ASCII and without brackets, and the port of `host:port`. Raises `ValueError` for what is wrong with
    it."""
    authority = text.removesuffix("/")  # The root path is the same resource as no path (RFC 3986 section 6.2.3).
    for character, name in (("/", "path"), ("?", "query"), ("#", "fragment"), ("@", "user name")):
        if character in authority:
            raise ValueError(f"it has a {name}")
    if authority.startswith("["):
        import ipaddress

        host, bracket, rest = authority[1:].partition("]")
        try:
            ipaddress.IPv6Address(host)
        except ValueError as exc:
            raise ValueError(f"{host!r} is not an IPv6 address") from exc
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError("the address in brackets is not followed by a port")
        colon, digits = rest[:1], rest[1:]
    else:
        host, colon, digits = authority.partition(":")
        if not host:
            raise ValueError("the host is empty")
        host = ascii_host(host)
        if not _HOST_NAME.fullmatch(host):
            raise ValueError(f"{host!r} is not a host name")
    if not colon:
        return host, None
    if not re.fullmatch(r"[0-9]{1,5}", digits, re.ASCII) or not 0 < int(digits) < 65536:
        raise ValueError(f"{digits!r} is not a port")
    return host, int(digits)
