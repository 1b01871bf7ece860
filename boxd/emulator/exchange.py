"""`POST /api/v1/auth/token`: an API key for a token, over a small HTTP/1.1 server (RFC 9112). And the links of
invitations, which somebody opens in a browser."""

from __future__ import annotations

import asyncio
import collections
import json
import time
from collections.abc import Callable
from typing import Any

import h11

from .listener import Listener
from .tokens import Tokens

PATH = "/api/v1/auth/token"
INVITES = "/invites/"

_LARGEST_BODY = 16 * 1024
_IDLE_SECONDS = 30.0


class RateLimit:
    """At most `requests` per `window` seconds for one source address."""

    def __init__(self, requests: int, window: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._requests = requests
        self._window = window
        self._clock = clock
        self._seen: dict[str, collections.deque[float]] = {}

    def wait(self, source: str) -> float:
        """0 when a request of `source` may pass now (it is counted), else the seconds to wait."""
        now = self._clock()
        seen = self._seen.setdefault(source, collections.deque())
        while seen and seen[0] <= now - self._window:
            seen.popleft()
        if len(seen) >= self._requests:
            return seen[0] + self._window - now
        seen.append(now)
        return 0.0


class Answer(Exception):
    """The response to a request: a status, a JSON body and more headers."""

    def __init__(self, status: int, body: dict[str, Any], headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.headers = headers


def _refuse(status: int, text: str, *headers: tuple[str, str]) -> Answer:
    return Answer(status, {"error": text}, headers)


class Exchange:
    """The server of the token exchange."""

    def __init__(
        self, tokens: Tokens, seconds: int, limit: RateLimit, accept_invite: Callable[[str], str | None]
    ) -> None:
        self._tokens = tokens
        self._accept_invite = accept_invite
        self._seconds = seconds
        self._limit = limit
        self._listener = Listener(self._serve, (h11.RemoteProtocolError,))
        self.start = self._listener.start
        self.close = self._listener.close

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        source = str(writer.get_extra_info("peername")[0])
        while True:
            try:
                request, body = await self._request(connection, reader)
                if request is None:
                    return
                answer = self._answer(request, body, source)
            except Answer as refusal:
                answer = refusal
            except h11.RemoteProtocolError:
                answer = _refuse(400, "this is not an HTTP/1.1 request")
            await self._respond(connection, writer, answer)
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return
            connection.start_next_cycle()

    async def _request(
        self, connection: h11.Connection, reader: asyncio.StreamReader
    ) -> tuple[h11.Request | None, bytes]:
        request: h11.Request | None = None
        body = bytearray()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                data = await asyncio.wait_for(reader.read(65536), _IDLE_SECONDS)
                connection.receive_data(data)
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > _LARGEST_BODY:
                    raise _refuse(413, f"the body is larger than {_LARGEST_BODY} bytes")
            elif isinstance(event, h11.EndOfMessage):
                return request, bytes(body)
            else:
                return None, b""

    def _answer(self, request: h11.Request, body: bytes, source: str) -> Answer:
        path = request.target.partition(b"?")[0]
        if path.startswith(INVITES.encode()):
            member = self._accept_invite(path[len(INVITES) :].decode("latin-1"))
            if member is None:
                raise _refuse(404, "there is no such invitation, or no longer")
            return Answer(200, {"accepted": member})
        if path != PATH.encode():
            raise _refuse(404, f"there is nothing here; tokens are at {PATH}")
        if request.method != b"POST":
            raise _refuse(405, "use POST", ("allow", "POST"))
        wait = self._limit.wait(source)
        if wait > 0:
            raise _refuse(429, "too many exchanges from this address", ("retry-after", str(int(wait) + 1)))
        try:
            key = json.loads(body)["api_key"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise _refuse(400, 'the body must be {"api_key": KEY} as JSON') from None
        if not isinstance(key, str):
            raise _refuse(400, "`api_key` must be a string")
        if not self._tokens.key_is_valid(key):
            raise _refuse(401, "invalid or expired API key")
        token, expires_at = self._tokens.issue(self._seconds)
        return Answer(200, {"token": token, "expires_at": expires_at, "user_id": self._tokens.user_id})

    async def _respond(self, connection: h11.Connection, writer: asyncio.StreamWriter, answer: Answer) -> None:
        content = json.dumps(answer.body).encode()
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(content))),
            *answer.headers,
        ]
        if connection.their_state not in (h11.DONE, h11.MUST_CLOSE):
            # The rest of the request is not read, so the connection cannot be used again.
            headers.append(("connection", "close"))
        events = (
            h11.Response(status_code=answer.status, headers=headers),
            h11.Data(data=content),
            h11.EndOfMessage(),
        )
        for event in events:
            writer.write(connection.send(event) or b"")
        await asyncio.wait_for(writer.drain(), _IDLE_SECONDS)
