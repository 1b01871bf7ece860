"""The CONNECT method of HTTP/1.1 (RFC 9110 section 9.3.6), without I/O: the request to a proxy and its answer."""

from __future__ import annotations

import re

#: The longest answer, in bytes, that is read.
MAX_HEAD = 16 << 10
#: How much of a proxy's own words goes into an error message.
_MAX_QUOTE = 200

_END = re.compile(rb"\r?\n\r?\n")
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: ([^\r\n]*))?")


class NotAProxy(Exception):
    """What answers is no HTTP proxy; the message says why, as the end of a sentence."""


def connect_request(host: str, port: int, authorization: bytes | None = None) -> bytes:
    """The request for a tunnel to `host`, whose name the proxy resolves."""
    authority = (f"[{host}]" if ":" in host else host).encode("ascii") + b":%d" % port
    lines = [b"CONNECT %s HTTP/1.1" % authority, b"Host: " + authority]
    if authorization is not None:
        lines.append(b"Proxy-Authorization: " + authorization)
    return b"\r\n".join([*lines, b"", b""])


class ConnectReply:
    """The proxy's answer. Feed it what comes until it is complete."""

    def __init__(self) -> None:
        self.status = 0
        """The HTTP status; 0 until the answer is complete."""
        self.reason = ""
        """What the status line says after it."""
        self.schemes: list[str] = []
        """The kinds of authentication that the proxy offers."""
        self.rest = b""
        """Bytes after the header: they are the tunnel's."""
        self._buffer = b""

    def feed(self, data: bytes) -> bool:
        """Take what came; True when the answer is complete. Raises `NotAProxy`."""
        self._buffer += data
        while (found := _END.search(self._buffer)) is not None and found.end() <= MAX_HEAD:
            head, self._buffer = self._buffer[: found.start()], self._buffer[found.end() :]
            self._read(head)
            if self.status >= 200:
                self.rest, self._buffer = self._buffer, b""
                return True
            self.status = 0  # 1xx: the final answer follows.
        if not (self._buffer.startswith(b"HTTP/1.") or b"HTTP/1.".startswith(self._buffer)):
            raise NotAProxy(f"it does not answer in HTTP/1.1 but with {self._buffer[:20]!r}")
        if len(self._buffer) > MAX_HEAD:
            raise NotAProxy(f"the header of its answer is longer than {MAX_HEAD} bytes")
        return False

    def _read(self, head: bytes) -> None:
        status_line, *lines = re.split(rb"\r?\n", head)
        found = _STATUS.fullmatch(status_line.rstrip())
        if found is None:
            raise NotAProxy(f"its status line is {status_line[:_MAX_QUOTE]!r}")
        self.status = int(found[1])
        reason = (found[2] or b"").decode("latin-1")[:_MAX_QUOTE]
        self.reason = "".join(character if character.isprintable() else "?" for character in reason)
        for line in lines:
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"proxy-authenticate":
                self.schemes += re.findall(r"[A-Za-z][A-Za-z0-9-]*", value.decode("latin-1").strip())[:1]

    @property
    def accepted(self) -> bool:
        """True when the tunnel is there."""
        return 200 <= self.status < 300

    def refusal(self, authorized: bool) -> str:
        """Why there is no tunnel and what to do; `authorized` says whether credentials were sent."""
        text = f"HTTP status {self.status}" + (f" {self.reason}" if self.reason else "")
        if self.status != 407:
            return text
        if self.schemes and "basic" not in [scheme.lower() for scheme in self.schemes]:
            offered = ", ".join(dict.fromkeys(self.schemes))
            return f"{text}: it wants authentication by {offered}, and only Basic is supported"
        if authorized:
            return f"{text}: it does not accept the user name and password in its URL"
        return f"{text}: put the user name and password into its URL, http://user:password@host:port"
