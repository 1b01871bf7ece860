"""How connections are made: TLS and proxies, in one place for calls, for the token exchange, and for HTTP/1.1."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from boxd.transport.target import Target, ascii_host

if TYPE_CHECKING:
    import ssl

    from boxd.transport.proxy import Proxy

#: Every variable that has a say in the choice of a proxy, in both cases, and the sign of a CGI program.
PROXY_VARIABLES = frozenset(
    ("https_proxy", "http_proxy", "all_proxy", "no_proxy", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
)
CGI = "REQUEST_METHOD"
_CERTIFICATE_VARIABLES = {"SSL_CERT_FILE": os.path.isfile, "SSL_CERT_DIR": os.path.isdir}
_KEY_LOG = "SSLKEYLOGFILE"
_READ = frozenset((*PROXY_VARIABLES, CGI, *_CERTIFICATE_VARIABLES, _KEY_LOG))


@dataclass(frozen=True, kw_only=True)
class DialOptions:
    """How to connect. The environment is read when the options are made, certificates when TLS is first needed; both
    only once. Raises `ValueError`, which names the setting, for values that cannot be used."""

    connect_timeout: float = 20.0
    """Seconds for everything until a connection can be used: name resolution, TCP, the proxy, TLS."""
    ca: str | os.PathLike[str] | bytes | None = field(default=None, repr=False)
    """The certificate authorities to trust, instead of the system's: the path of a PEM file or of a folder as OpenSSL
    wants it, or the certificates themselves, PEM or DER. By default those of `SSL_CERT_FILE` and `SSL_CERT_DIR`, else
    the system's, else, where it has none, certifi's."""
    client_cert: str | os.PathLike[str] | None = None
    """The path of a PEM file with the certificate to show to a server or proxy that asks for one, followed by those
    that link it to an authority."""
    client_key: str | os.PathLike[str] | None = None
    """The path of its private key, where that is not in the same file."""
    client_key_password: str | bytes | None = field(default=None, repr=False)
    """What the private key is encrypted with."""
    server_name: str | None = None
    """The name to ask a server for (SNI) and to find in its certificate, instead of the target's host. It concerns
    calls, not the token exchange, whose server has a name of its own."""
    ssl_context: ssl.SSLContext | None = None
    """TLS settings of your own, instead of `ca` and the client's certificate. Its ALPN protocols are set for each
    connection."""
    proxy: str | None = field(default=None, repr=False)
    """The proxy for all connections, `http://user:password@host:port` or `https://...`. By default the environment
    decides, for each host: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`. A Unix socket needs none."""
    trust_env: bool = True
    """False: none of these variables is read."""

    def __post_init__(self) -> None:
        if not isinstance(self.connect_timeout, (int, float)) or not 0 < self.connect_timeout < float("inf"):
            raise ValueError(f"connect_timeout of {self.connect_timeout!r}: use a number of seconds above 0")
        if self.ssl_context is not None and not (self.ca is None and self.client_cert is None):
            raise ValueError("ssl_context stands for all TLS settings: load ca and client_cert into it instead")
        if self.client_cert is None and not (self.client_key is None and self.client_key_password is None):
            raise ValueError("client_key and client_key_password belong to a client_cert, which is missing")
        for name in ("ca", "client_cert", "client_key"):
            path = getattr(self, name)
            if path is not None and not isinstance(path, bytes) and not os.path.exists(path):
                raise ValueError(f"{name} {os.fspath(path)!r}: there is no such file")
        if self.server_name is not None:
            object.__setattr__(self, "server_name", ascii_host(self.server_name))
        if self.proxy is not None:
            from boxd.transport.proxy import Proxy

            Proxy.parse(self.proxy)
        _ = self.environment  # Read now, so that all that follows from it agrees.

    @cached_property
    def environment(self) -> Mapping[str, str]:
        """The variables that count, as they were when the options were made."""
        if not self.trust_env:
            return {}
        return {name: os.environ[name] for name in _READ if name in os.environ}

    def proxy_for(self, target: Target) -> Proxy | None:
        """The proxy that leads to a target, if any. Raises `ValueError`, which names the variable."""
        if target.scheme == "unix":
            return None
        if self.proxy is None and PROXY_VARIABLES.isdisjoint(self.environment):
            return None
        from boxd.transport.proxy import Proxy, environment_proxy

        if self.proxy is not None:
            return Proxy.parse(self.proxy)
        return environment_proxy(target, self.environment)

    @cached_property
    def context(self) -> ssl.SSLContext:
        """The TLS settings, made when they are first needed: TLS 1.2 or newer (RFC 9113 section 9.2). Raises
        `OSError`, which names the setting that cannot be loaded."""
        if self.ssl_context is not None:
            return self.ssl_context
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.ca is not None:
            _load_authorities(context, self.ca)
        else:
            self._load_default_authorities(context)
        if self.environment.get(_KEY_LOG):  # As `ssl.create_default_context` does, for Wireshark.
            context.keylog_filename = self.environment[_KEY_LOG]
        if self.client_cert is not None:
            try:
                context.load_cert_chain(self.client_cert, self.client_key, self._key_password)
            except (OSError, ValueError) as exc:
                raise OSError(f"client_cert {os.fspath(self.client_cert)!r} cannot be used: {exc}") from exc
        return context

    def _load_default_authorities(self, context: ssl.SSLContext) -> None:
        import ssl

        given = {name: path for name in _CERTIFICATE_VARIABLES if (path := self.environment.get(name))}
        for name, path in given.items():
            # OpenSSL would pass over what is not there without a word. A list of folders is its own to judge.
            if os.pathsep not in path and not _CERTIFICATE_VARIABLES[name](path):
                raise OSError(f"{name} {path!r}: there is no such file or folder")
            _load(context, f"{name} {path!r}", **{"cafile" if name == "SSL_CERT_FILE" else "capath": path})
        if given:
            return
        if self.trust_env:
            context.load_default_certs()
        else:
            paths = ssl.get_default_verify_paths()
            for keyword, path in (("cafile", paths.openssl_cafile), ("capath", paths.openssl_capath)):
                if os.path.exists(path):
                    _load(context, path, **{keyword: path})
        if not _knows_authorities(context):
            import certifi

            context.load_verify_locations(certifi.where())

    def _key_password(self) -> str | bytes:
        # Asked for only where the key is encrypted. Without an answer OpenSSL would ask at the terminal, and wait.
        if self.client_key_password is None:
            raise ValueError("the private key is encrypted: give client_key_password")
        return self.client_key_password


def _load_authorities(context: ssl.SSLContext, ca: str | os.PathLike[str] | bytes) -> None:
    if isinstance(ca, bytes):
        _load(context, "ca", cadata=ca.decode("latin-1") if b"-----BEGIN" in ca else ca)
    else:
        _load(context, f"ca {os.fspath(ca)!r}", **{"capath" if os.path.isdir(ca) else "cafile": ca})


def _load(context: ssl.SSLContext, name: str, **where: Any) -> None:
    try:
        context.load_verify_locations(**where)
    except (OSError, ValueError) as exc:
        raise OSError(f"{name} has no certificates that can be loaded: {exc}") from exc


def _knows_authorities(context: ssl.SSLContext) -> bool:
    """True if the system has certificate authorities: loaded, or in a folder where OpenSSL looks when it needs one."""
    import ssl

    if context.cert_store_stats()["x509_ca"]:
        return True
    folder = ssl.get_default_verify_paths().capath
    try:
        return folder is not None and bool(os.listdir(folder))
    except OSError:  # A folder that is not for this user is of no use to OpenSSL either.
        return False
