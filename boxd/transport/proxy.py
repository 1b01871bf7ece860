"""Which proxy leads to a server: an explicit one, or what the usual environment variables say. No I/O.

The variables are `HTTPS_PROXY` for `https` targets, `HTTP_PROXY` for `http` targets, `ALL_PROXY` for both, and
`NO_PROXY` for the hosts that are reached without one; each also in lower case, which wins. Every connection is a tunnel
made with CONNECT, plaintext HTTP/2 too, so that `HTTPS_PROXY` also serves `http` targets where nothing else is set, as
in gRPC (proposal A1)."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from boxd.transport.dial_options import CGI
from boxd.transport.target import Target, ascii_host, split_authority

if TYPE_CHECKING:
    import ipaddress

    _Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

#: The variables that are looked up for a target's scheme, in this order.
_VARIABLES = {
    "https": ("https_proxy", "all_proxy"),
    "http": ("http_proxy", "all_proxy", "https_proxy"),
}


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy that takes CONNECT. Neither `repr` nor `str` has the credentials."""

    scheme: str
    """`http`, or `https` for TLS to the proxy itself."""
    host: str
    port: int
    username: str | None = field(default=None, repr=False)
    password: str = field(default="", repr=False)

    @classmethod
    def parse(cls, url: str, origin: str = "proxy") -> Proxy:
        """The proxy that `http://user:password@host:port` means; the scheme is `http` where it is missing, the port
        80 or 443. Raises `ValueError`, which names `origin` and not the password."""
        text = url.strip()
        scheme, separator, rest = text.partition("://")
        if not separator:
            scheme, rest = "http", text
        scheme = scheme.lower()
        credentials, _, authority = rest.rpartition("@")
        if scheme not in ("http", "https"):
            raise ValueError(
                f"{origin} {_shown(text)!r}: the scheme {scheme!r} is not supported. Use an HTTP proxy that allows "
                "CONNECT, 'http://host:port' or 'https://host:port', or list the server's host in NO_PROXY"
            )
        try:
            host, port = split_authority(authority)
        except ValueError as exc:
            raise ValueError(
                f"{origin} {_shown(text)!r}: {exc}. Use 'http://host:port' or 'http://user:password@host:port'"
            ) from None
        if not credentials:
            return cls(scheme, host, port or {"http": 80, "https": 443}[scheme])
        from urllib.parse import unquote

        username, _, password = credentials.partition(":")
        return cls(scheme, host, port or {"http": 80, "https": 443}[scheme], unquote(username), unquote(password))

    @property
    def target(self) -> Target:
        """Where the proxy itself is."""
        return Target(self.scheme, self.host, self.port)

    @property
    def authorization(self) -> bytes | None:
        """The value of `proxy-authorization`: basic authentication in UTF-8 (RFC 7617)."""
        if self.username is None:
            return None
        return b"Basic " + base64.b64encode(f"{self.username}:{self.password}".encode())

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def environment_proxy(target: Target, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy for a target, if the environment names one. Raises `ValueError`, which names the variable, for one
    that cannot be used."""
    for variable in _VARIABLES.get(target.scheme, ()):
        name, value = _lookup(variable, environ)
        if value:
            exempt = _lookup("no_proxy", environ)[1]
            return None if is_exempt(target.host, target.port, exempt) else Proxy.parse(value, name)
    return None


def is_exempt(host: str, port: int, no_proxy: str) -> bool:
    """True if `NO_PROXY` has the host. Entries, between commas or spaces: `*` for all; a name, for itself and the
    names below it, with or without a leading dot; an IP address or a network such as `10.0.0.0/8`, for hosts given as
    addresses; each of them but networks also with a port, which then must be the same."""
    import ipaddress

    name = host.lower().rstrip(".")
    try:
        address: _Address | None = ipaddress.ip_address(name)
    except ValueError:
        address = None
    return any(_matches(entry, name, address, port) for entry in re.split(r"[\s,]+", no_proxy) if entry)


def _matches(entry: str, name: str, address: _Address | None, port: int) -> bool:
    import ipaddress

    if entry == "*":
        return True
    if "/" in entry:
        try:
            network = ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
        return address is not None and address in network
    found = re.fullmatch(r"\[([^\]]*)\](?::([0-9]+))?|([^:]*)(?::([0-9]+))?", entry)
    # An IPv6 address without brackets has colons of its own, and no port.
    host, digits = (entry, None) if found is None else (found[1] or found[3] or "", found[2] or found[4])
    if digits is not None and int(digits) != port:
        return False
    if address is not None:
        try:
            return ipaddress.ip_address(host) == address
        except ValueError:
            return False
    try:
        domain = ascii_host(host.removeprefix("*").strip(".")).lower()
    except ValueError:
        return False
    return bool(domain) and (name == domain or name.endswith(f".{domain}"))


def _lookup(variable: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """The name and the value of a variable; empty where it is unset. An empty one in lower case switches off the other.
    A web server hands a request's `Proxy` header to CGI programs as `HTTP_PROXY`, which therefore is not trusted
    there."""
    if variable in environ:
        return variable, environ[variable].strip()
    name = variable.upper()
    if name == "HTTP_PROXY" and CGI in environ:
        return name, ""
    return name, environ.get(name, "").strip()


def _shown(url: str) -> str:
    """A proxy's URL without its credentials."""
    before, separator, after = url.rpartition("@")
    scheme, colon, _ = before.partition("://")
    return f"{scheme}://***@{after}" if separator and colon else f"***@{after}" if separator else url
