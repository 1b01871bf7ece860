"""Where the client connects to and as whom: resolved once, from arguments, then the environment, then defaults."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from boxd.errors import AuthenticationError
from boxd.options import HTTP, PROTOCOLS, HTTPOptions, check_http, dial_options
from boxd.transport import Target
from boxd.transport.target import split_authority, unix_path

DEFAULT_API_URL = "http://boxd.sh:9443"
DEFAULT_EXCHANGE_URL = "https://boxd.sh/api/v1/auth/token"

_LOOPBACK = re.compile(r"127(?:\.[0-9]{1,3}){1,3}", re.ASCII)
# What an HTTP header can carry and a credential consists of: printable ASCII without spaces.
_CREDENTIAL = re.compile(r"[!-~]+", re.ASCII)


def is_credential(text: str) -> bool:
    """True if `text` can be sent as a credential: printable ASCII, without spaces."""
    return _CREDENTIAL.fullmatch(text) is not None


class Secret:
    """A string that does not show itself: neither `repr`, `str` nor a debugger's list of variables has its value."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The string itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    def __reduce__(self) -> str:
        # What a user tries to pickle or to copy is a client, or what holds one: a Box, a running command.
        raise TypeError(
            "a client, and what comes from it, cannot be pickled or copied: it has a credential and connections. Make "
            "a Compute where one is needed, and get machines by their ids"
        )


class Endpoint(NamedTuple):
    """An address of a server, with everything filled in."""

    scheme: str
    """`http` for plaintext, `https` for TLS, `unix` for a Unix socket."""
    host: str
    """A name, an IP address without brackets, or the socket's path."""
    port: int

    def __str__(self) -> str:
        if self.scheme == "unix":
            return f"unix:{self.host}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def parse_api_url(value: str) -> Endpoint:
    """The server that `value` means.

    `http://host:port` is plaintext HTTP/2, `https://host:port` is TLS; without a port they mean 80 and 443. A bare
    `host:port` is TLS, but plaintext for the hosts `localhost` and `127.*`. An IPv6 address stands in brackets, a name
    in another script than ASCII becomes what DNS knows it as. `unix:path` and `unix:///absolute/path` are Unix
    sockets, in plaintext. Raises `ValueError`, which names the value, for everything else: another scheme, no host, a
    path, a query, a user name.
    """
    text = value.strip()
    try:
        path = unix_path(text)
        if path is not None:
            return Endpoint("unix", path, 0)
        scheme, separator, rest = text.partition("://")
        if not separator:
            scheme, rest = "", text
            if rest.endswith("/"):
                raise ValueError("it has a path")
        elif scheme.lower() not in ("http", "https"):
            raise ValueError(f"the scheme {scheme!r} is unknown")
        host, port = split_authority(rest)
        if not separator:
            if port is None:
                raise ValueError("it has neither a scheme nor a port")
            plaintext = host.lower() == "localhost" or _LOOPBACK.fullmatch(host)
            scheme = "http" if plaintext else "https"
    except ValueError as error:
        raise ValueError(
            f"api_url {value!r}: {error}. Use 'http://host:port' for plaintext, 'https://host:port' for TLS, or "
            "'unix:///path' for a Unix socket"
        ) from error
    scheme = scheme.lower()
    if port is None:
        port = 443 if scheme == "https" else 80
    return Endpoint(scheme, host, port)


def check_exchange_url(value: str) -> str:
    """`value` without white space around it, if it is an HTTP URL without a user name. Raises `ValueError`, which
    names the value, if it is not."""
    if value == DEFAULT_EXCHANGE_URL:
        return value
    from urllib.parse import urlsplit

    text = value.strip()
    try:
        parts = urlsplit(text)
        usable = (
            parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
        )
    except ValueError:
        usable = False
    if not usable or parts.fragment or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"exchange_url {value!r}: use a URL such as 'https://host/path'")
    return text


@dataclass(frozen=True)
class Settings:
    """The resolved configuration of a client. Exactly one of `api_key` and `token` is set."""

    endpoint: Endpoint
    """Where the API is served."""
    exchange_url: str
    """Where an API key is exchanged for a token."""
    org: str
    """The organization that calls are about when they name none; empty for the personal one."""
    api_key: Secret | None = None
    """A long-lived key."""
    token: Secret | None = None
    """A token that is sent as it is."""
    trace: str | None = None
    """A file for a record of what is sent and received, without bodies and secrets."""
    protocol: str = "grpc"
    """How calls look on the wire: `grpc`, `grpc-web` or `connect`."""
    http: HTTP = field(default_factory=HTTPOptions)
    """How the client speaks HTTP."""

    @property
    def target(self) -> Target:
        """Where the API is served, as the transport knows it."""
        return Target(*self.endpoint)

    @classmethod
    def resolve(
        cls,
        *,
        api_key: str | None = None,
        token: str | None = None,
        api_url: str | None = None,
        exchange_url: str | None = None,
        org: str | None = None,
        protocol: str | None = None,
        http: HTTP | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Settings:
        """Settings from arguments, then environment variables (an empty one counts as unset), then defaults.

        A credential given as an argument, of either kind, wins over both variables. Where both kinds are given in the
        same way the token is used: it needs no exchange. Raises `AuthenticationError` without any credential and
        `ValueError`, which names the argument or variable, for what cannot be used: a malformed URL, a protocol that is
        none, a proxy of a kind that is not supported; `TypeError` for what is not a string.
        """
        environment = os.environ if environ is None else environ
        given = {"api_key": api_key, "token": token, "api_url": api_url, "exchange_url": exchange_url}
        for name, value in (given | {"org": org, "protocol": protocol}).items():
            if value is not None and not isinstance(value, str):
                # The value may be a credential, so it is not shown.
                raise TypeError(f"{name} is of type {type(value).__name__}: use a str")

        def lookup(argument: str | None, variable: str, default: str) -> str:
            if argument is not None:
                return argument
            return environment.get(variable) or default

        if api_key is None and token is None:
            api_key = environment.get("BOXD_API_KEY") or None
            token = environment.get("BOXD_TOKEN") or None
            origins = "BOXD_API_KEY", "BOXD_TOKEN"
        else:
            origins = "api_key", "token"
        if api_key is None and token is None:
            raise AuthenticationError(
                "no credential: pass api_key or token, or set the environment variable BOXD_API_KEY or BOXD_TOKEN"
            )
        credentials = {"api_key": None, "token": None} | (
            {"api_key": _credential(api_key, origins[0])}
            if token is None
            else {"token": _credential(token, origins[1])}
        )
        settings = cls(
            endpoint=parse_api_url(lookup(api_url, "BOXD_API_URL", DEFAULT_API_URL)),
            exchange_url=check_exchange_url(lookup(exchange_url, "BOXD_EXCHANGE_URL", DEFAULT_EXCHANGE_URL)),
            org=lookup(org, "BOXD_ORG", ""),
            trace=environment.get("BOXD_TRACE") or None,
            protocol=lookup(protocol, "BOXD_PROTOCOL", "grpc").strip(),
            http=HTTPOptions() if http is None else http,
            **credentials,
        )
        settings._check("BOXD_PROTOCOL" if protocol is None else "protocol")
        return settings

    def _check(self, protocol_origin: str) -> None:
        check_http(self.http)
        if self.protocol not in PROTOCOLS:
            raise ValueError(f"{protocol_origin} {self.protocol!r}: use 'grpc', 'grpc-web' or 'connect'")
        options = dial_options(self.http)
        if options.version == "1.1" and self.protocol == "grpc":
            raise ValueError("version '1.1' of HTTP is for the protocols 'grpc-web' and 'connect': gRPC needs HTTP/2")
        options.proxy_for(self.target)


def _credential(value: str | None, origin: str) -> Secret:
    """A credential as it is sent: without the white space that copying leaves around it."""
    text = "" if value is None else value.strip()
    if not text:
        raise AuthenticationError(
            f"{origin} is empty: give a credential as api_key or token, or in BOXD_API_KEY or BOXD_TOKEN"
        )
    if not is_credential(text):
        raise AuthenticationError(f"{origin} has characters that no credential has, such as a space or a line break")
    return Secret(text)
