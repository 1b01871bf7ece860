"""TLS over a wire. The records of both directions pass through memory, so that the one writer of a connection sends
them all, and one read yields every record that has arrived."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from boxd.transport.wire import READ_SIZE, TlsBroken, Wire


class TlsWire:
    """A TLS client on another wire. Call `handshake` first."""

    def __init__(self, raw: Wire, context: ssl.SSLContext, server_hostname: str) -> None:
        self._raw = raw
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
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
        return self._outgoing.pending > 0

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
            raise TlsBroken(exc.reason or str(exc)) from exc
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

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._raw.send(self._outgoing.read())

    async def aclose(self) -> None:
        await self._raw.aclose()
