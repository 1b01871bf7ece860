"""One POST over HTTP/1.1, on a connection of its own: what the exchange of a key needs. httpx would do it as well, but
to load it takes a third of the time to a program's first answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import h11

from boxd.transport.dial import dial
from boxd.transport.dial_options import DialOptions
from boxd.transport.errors import ConnectionLost, MessageTooLarge
from boxd.transport.runtime import shielded
from boxd.transport.target import Target
from boxd.transport.wire import Wire

#: The longest response head that is read, in bytes.
MAX_HEAD = 1 << 16
_ALPN = ("http/1.1",)


class Answer(NamedTuple):
    """A response. Names of header fields are in lower case; of a field that is repeated the first counts."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    """Empty unless the status is 200 and the content is not encoded."""


async def post(
    target: Target, options: DialOptions, path: str, headers: Mapping[str, str], body: bytes, limit: int
) -> Answer:
    """Send a request with the content `body`, and read the response up to `limit` bytes. Raises `ConnectFailed` and its
    like, `ConnectionLost` where the connection breaks or what comes is no HTTP/1.1 (RFC 9112), `MessageTooLarge`."""
    wire = await dial(target, options, alpn=_ALPN)
    try:
        answer = await _Exchange(wire, limit).run(target.authority, path, headers, body)
    except BaseException:
        async with shielded():
            await wire.aclose()
        raise
    await wire.aclose()
    return answer


def is_wanted(status: int, headers: Mapping[str, str]) -> bool:
    """Whether the body of a response is read; see `Answer.body`."""
    return status == 200 and headers.get("content-encoding", "identity") == "identity"


class _Exchange:
    def __init__(self, wire: Wire, limit: int) -> None:
        self._wire = wire
        self._limit = limit
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)

    async def run(self, authority: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        fields = [("host", authority), *headers.items(), ("content-length", str(len(body))), ("connection", "close")]
        try:
            await self._wire.send(self._request(path, fields, body))
            head = await self._head()
            received = {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(head.headers)}
            content = await self._body() if is_wanted(head.status_code, received) else b""
            return Answer(head.status_code, received, content)
        except OSError as exc:
            raise ConnectionLost(f"the connection broke: {exc}") from exc
        except h11.RemoteProtocolError as exc:
            raise ConnectionLost(f"the answer is no HTTP/1.1: {exc}") from exc

    def _request(self, path: str, fields: list[tuple[str, str]], body: bytes) -> bytes:
        events = (h11.Request(method="POST", target=path, headers=fields), h11.Data(data=body), h11.EndOfMessage())
        return b"".join(self._http.send(event) or b"" for event in events)

    async def _head(self) -> h11.Response:
        while not isinstance(event := await self._event(), h11.Response):
            if not isinstance(event, h11.InformationalResponse):
                raise ConnectionLost("the server closed the connection without an answer")
        return event

    async def _body(self) -> bytes:
        body = bytearray()
        while isinstance(event := await self._event(), h11.Data):
            body += event.data
            if len(body) > self._limit:
                raise MessageTooLarge(f"the response has more than {self._limit} bytes")
        return bytes(body)

    async def _event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._wire.receive())
        return event
