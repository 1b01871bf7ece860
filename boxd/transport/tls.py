"""TLS over a wire. The records of both directions pass through memory, so that the one writer of a connection sends
them all, and one read yields every record that has arrived."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Sequence

from boxd.transport.wire import READ_SIZE, TlsBroken, Wire

# What a server's alert says where a client's certificate is at fault (RFC 8446 section 6.2).
_CLIENT_CERTIFICATE = {
    "ALERT_CERTIFICATE_REQUIRED": "it asks for a client certificate: give client_cert",
    "ALERT_HANDSHAKE_FAILURE": "it finds no common ground: a client certificate may be missing",
    "ALERT_UNKNOWN_CA": "it does not know the authority of the client certificate",
    "ALERT_BAD_CERTIFICATE": "it does not accept the client certificate",
    "ALERT_CERTIFICATE_EXPIRED": "the client certificate has expired",
    "ALERT_CERTIFICATE_REVOKED": "the client certificate is revoked",
    "ALERT_UNSUPPORTED_CERTIFICATE": "it does not accept this kind of client certificate",
    "ALERT_CERTIFICATE_UNKNOWN": "it does not accept the client certificate",
    "ALERT_ACCESS_DENIED": "it does not let the client certificate in",
}
# A context may be shared by clients in several threads, and its ALPN protocols are a connection's own.
_ALPN = threading.Lock()


def tls_reason(exc: BaseException) -> str:
    """OpenSSL's name for what went wrong, such as `TLSV1_ALERT_UNKNOWN_CA`; not every version of Python knows it."""
    known = getattr(exc, "reason", None)
    return known or str(exc).partition("] ")[2].partition(" (")[0].upper().replace(" ", "_")


def tls_failure(exc: OSError) -> str:
    """Why TLS failed, for a person."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {exc.verify_message}"
    reason = tls_reason(exc)
    for alert, meaning in _CLIENT_CERTIFICATE.items():
        if reason.endswith(alert):
            return f"it refused the TLS handshake ({reason}): {meaning}"
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"):
        return f"TLS handshake failed: {exc}: it does not speak TLS on this port"
    return f"TLS handshake failed: {exc}"


class TlsWire:
    """A TLS client on another wire. Call `handshake` first."""

    def __init__(self, raw: Wire, context: ssl.SSLContext, server_hostname: str, alpn: Sequence[str] = ("h2",)) -> None:
        self._raw = raw
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        with _ALPN:
            context.set_alpn_protocols(list(alpn))
            self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)

    async def handshake(self) -> None:
        """Agree on keys and check the certificate. Raises `ssl.SSLError` (an `OSError`) or another `OSError`."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                data = await self._raw.receive()
                if not data:
                    raise ConnectionResetError("the server closed the connection during the TLS handshake") from None
                self._incoming.write(data)
            except ssl.SSLError:
                await self._flush()  # The alert tells the server why.
                raise
            else:
                await self._flush()
                return

    @property
    def alpn(self) -> str | None:
        """The application protocol agreed on (RFC 7301)."""
        return self._tls.selected_alpn_protocol()

    @property
    def wants_write(self) -> bool:
        return self._outgoing.pending > 0 or self._raw.wants_write

    async def receive(self) -> bytes:
        while True:
            data = self._decrypt()
            if data is not None:
                return data
            cipher = await self._raw.receive()
            if cipher:
                self._incoming.write(cipher)
            else:
                self._incoming.write_eof()

    async def pump(self, sink: Callable[[bytes], bool]) -> None:
        def decrypt(cipher: bytes) -> bool:
            if cipher:
                self._incoming.write(cipher)
            data = self._decrypt()
            return data is None or (bool(data) and sink(data))

        # The handshake may have brought more than its own records.
        if decrypt(b""):
            await self._raw.pump(decrypt)

    def _decrypt(self) -> bytes | None:
        """All that can be decrypted now; None when more must come first, empty at the end."""
        parts: list[bytes] = []
        try:
            while True:
                part = self._tls.read(READ_SIZE)
                if not part:
                    break
                parts.append(part)
        except ssl.SSLWantReadError:
            return b"".join(parts) if parts else None
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            # HTTP/2 frames say themselves whether they are whole, so a missing close_notify adds nothing.
            return b"".join(parts)
        except ssl.SSLError as exc:
            raise TlsBroken(tls_failure(exc)) from exc
        return b"".join(parts)

    async def send(self, data: bytes) -> None:
        if data:
            self._tls.write(data)
        await self._flush()

    @property
    def ready(self) -> bool:
        return self._raw.ready

    def send_now(self, data: bytes) -> None:
        self._tls.write(data)
        self._raw.send_now(self._outgoing.read())

    @property
    def stirs(self) -> bool:
        return bool(self._tls.pending()) or self._raw.stirs

    async def _flush(self) -> None:
        if self._outgoing.pending or self._raw.wants_write:
            await self._raw.send(self._outgoing.read())

    async def aclose(self) -> None:
        await self._raw.aclose()
