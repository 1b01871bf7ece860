"""Credentials of calls: a token as it is, or one that an API key is exchanged for, kept and renewed.

Both kinds are what the transport knows as `CallCredentials`: `current` answers at once where it can, `refresh` asks.
"""

from __future__ import annotations

import builtins
import copy
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio

from boxd.config import Secret, is_credential
from boxd.errors import AuthenticationError, BoxdError, ConnectionError, InternalError, TimeoutError
from boxd.options import HTTP, HTTPOptions, dial_options
from boxd.transport import MessageTooLarge, NotHttp2, RpcError, Target, TlsFailed
from boxd.transport.runtime import Event, Handle, Runtime, current_runtime, fail_after

if TYPE_CHECKING:
    from boxd.transport.post import Answer

MARGIN = 300.0
"""Seconds before its end at which a token is renewed."""
MAX_WAIT = 60.0
"""The longest wait, in seconds, that a rate-limited exchange accepts before its second try: the window of the
limit."""
ATTEMPT_TIMEOUT = 30.0
"""Seconds that one request of an exchange may take, from connecting to the last byte."""
MAX_BODY = 1 << 20
"""The largest response, in bytes, that is read."""
ATTEMPTS = 3
"""How often an exchange is tried where the server fails or the connection breaks."""
HOLD_OFF = 10.0
"""Seconds before a token that is still good is renewed again after an attempt that failed."""
# Longer lifetimes say more about the server's arithmetic than about the token.
_MAX_LIFETIME = 30 * 24 * 3600.0


class TokenSource:
    """A token that is sent as it is and never renewed."""

    def __init__(self, token: Secret) -> None:
        self._token = token

    def current(self) -> str | None:
        """The value of the `authorization` header."""
        return f"Bearer {self._token.reveal()}"

    async def refresh(self) -> str:
        """The same: there is no other."""
        return f"Bearer {self._token.reveal()}"

    def reject(self, header: str) -> bool:
        """False: the server refused the token, and there is no way to get another."""
        return False

    async def aclose(self) -> None:
        """Nothing is held."""


class _Grant(NamedTuple):
    """A token and its time, in seconds of the monotonic clock, which no change of the wall clock moves."""

    header: Secret
    renew_at: float
    expires_at: float


class _Flight:
    """One exchange under way, and the calls that wait for it. It runs in a task of its own: a caller that is
    cancelled leaves the others what they wait for."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.over = Event(runtime)
        self.task: Handle | None = None
        self.grant: _Grant | None = None
        self.error: Exception | None = None


class KeyExchange:
    """Exchanges an API key for a short-lived token: `POST url` with `{"api_key": KEY}`, answered by `{"token":
    TOKEN, "expires_at": UNIX_SECONDS}`.

    The token is kept, and renewed `MARGIN` seconds before it expires. However many calls need one at a time, there
    is one exchange. Where a renewal fails and the old token is still good, the calls go on with that.

    `http` says how to connect, as for calls. Raises `ValueError` where it, or the environment, names a proxy that
    cannot be used.
    """

    def __init__(
        self,
        key: Secret,
        url: str,
        *,
        http: HTTP | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._key = key
        self._url = url
        self._http = HTTPOptions() if http is None else http
        self._target, self._path = _split(url)
        dial_options(self._http).proxy_for(self._target)
        self._clock = clock
        self._grant: _Grant | None = None
        self._flight: _Flight | None = None

    def __repr__(self) -> str:
        state = "with a token" if self.current() is not None else "without a token"
        return f"<KeyExchange {self._url} {state}>"

    def current(self) -> str | None:
        """The value of the `authorization` header, or None when a token is to be fetched first."""
        grant = self._grant
        if grant is None or self._clock() >= grant.renew_at:
            return None
        return grant.header.reveal()

    def reject(self, header: str) -> bool:
        """The server refused the credential `header`. Returns True if another may be had: the token was an old one,
        or has been replaced meanwhile."""
        if self._grant is not None and self._grant.header.reveal() == header:
            self._grant = None
        return True

    async def refresh(self) -> str:
        """Fetch a token, or wait for the exchange that is under way, and return the `authorization` header's value.

        Raises `AuthenticationError` (wrong key, or rate limit), `TimeoutError`, `ConnectionError` or
        `InternalError`; all of them name the URL and none the key.
        """
        flight = self._flight
        if flight is None or not flight.runtime.is_current():
            # Also where another event loop left an exchange behind: nothing of it will finish here.
            flight = self._depart(current_runtime())
        try:
            await flight.over.wait()
        finally:
            if not flight.over.awaited and not flight.over.is_set:
                self._abandon(flight)
        if flight.grant is None:
            raise _copy(flight.error)
        return flight.grant.header.reveal()

    async def aclose(self) -> None:
        """End an exchange that is under way; the calls that wait for it fail. Forget the token."""
        self._grant = None
        flight = self._flight
        if flight is not None and flight.runtime.is_current():
            flight.error = BoxdError("the client was closed")
            self._abandon(flight)
            flight.over.set()

    def _depart(self, runtime: Runtime) -> _Flight:
        flight = self._flight = _Flight(runtime)

        async def run() -> None:
            try:
                flight.grant = self._grant = await self._renew()
            except Exception as error:
                flight.error = error
            finally:
                if self._flight is flight:
                    self._flight = None
                flight.over.set()

        flight.task = runtime.spawn(run, "boxd token exchange")
        return flight

    def _abandon(self, flight: _Flight) -> None:
        if self._flight is flight:
            self._flight = None
        if flight.task is not None:
            flight.task.cancel()

    async def _renew(self) -> _Grant:
        """A new token, or the old one for a little longer where a new one is not to be had."""
        try:
            return await self._exchange()
        except BoxdError as error:
            old, now = self._grant, self._clock()
            if old is None or now >= old.expires_at or _refuses_key(error):
                raise
            return old._replace(renew_at=min(now + HOLD_OFF, old.expires_at))

    async def _exchange(self) -> _Grant:
        """Ask until there is a clear answer: once more after a rate limit, a few times where the server fails."""
        import random

        may_wait = self._grant is None or self._clock() >= self._grant.expires_at
        failures = 0
        while True:
            try:
                return await self._ask()
            except _RateLimited as limit:
                pause = limit.pause
                if not may_wait or pause > MAX_WAIT:
                    raise limit.error(self._url) from None
                may_wait = False
            except _Unavailable as error:
                failures += 1
                if failures >= ATTEMPTS:
                    raise ConnectionError(error.message, 14) from None
                pause = 0.1 * 2.0**failures * random.uniform(0.8, 1.2)
            await anyio.sleep(pause)

    async def _ask(self) -> _Grant:
        """One request, and what its answer means."""
        asked = self._clock()
        failure: Exception
        try:
            async with fail_after(ATTEMPT_TIMEOUT):
                answer = await self._post()
        except builtins.TimeoutError:
            failure = TimeoutError(f"{self._url} did not answer within {ATTEMPT_TIMEOUT:g} s", 4)
        except (TlsFailed, NotHttp2) as error:  # Trying again would not help.
            failure = ConnectionError(f"cannot reach {self._url}: {error.message}", 14)
        except MessageTooLarge:
            failure = InternalError(f"{self._url} answered with more than {MAX_BODY} bytes: check exchange_url", 13)
        except RpcError as error:
            failure = _Unavailable(f"cannot reach {self._url}: {error.message}")
        else:
            return self._judge(asked, answer)
        # Raised out here, so that an error of httpx, which holds the request with the key in it, is not kept with ours.
        raise failure

    def _judge(self, asked: float, answer: Answer) -> _Grant:
        """The token in a response to a request sent at `asked`, or the error that the response means."""
        status, headers, body = answer
        if status == 200:
            return self._read_grant(asked, headers.get("date"), body)
        if status == 401:
            raise AuthenticationError("invalid or expired API key", 16)
        if status in (400, 403):
            raise AuthenticationError(
                f"{self._url} refuses the API key with HTTP status {status}", 16 if status == 400 else 7
            )
        if status == 429:
            raise _RateLimited(_retry_after(headers.get("retry-after")))
        if status >= 500:
            raise _Unavailable(f"{self._url} failed with HTTP status {status}")
        raise InternalError(f"{self._url} answered with HTTP status {status}: check exchange_url", 13)

    async def _post(self) -> Answer:
        """Send the request."""
        import json

        # Without compression the limit on what is read is a limit on memory too. A server that compresses all the same
        # is not read.
        headers = {"accept": "application/json", "accept-encoding": "identity", "content-type": "application/json"}
        body = json.dumps({"api_key": self._key.reveal()}).encode()
        if isinstance(self._http, HTTPOptions):
            from boxd.transport.post import post

            return await post(self._target, self._http, self._path, headers, body, MAX_BODY)
        from boxd.transport.httpx_post import post_through

        return await post_through(self._http, self._url, headers, body, MAX_BODY, ATTEMPT_TIMEOUT)

    def _read_grant(self, asked: float, date: str | None, body: bytes) -> _Grant:
        """The token in the body of a response.

        Its lifetime is counted from the server's own clock, the `Date` header, so that a wrong clock on this
        machine does not make every token look expired.
        """
        import json

        try:
            answer: Any = json.loads(body)
        except (ValueError, RecursionError):
            answer = None
        fields = answer if isinstance(answer, dict) else {}
        token, end = fields.get("token"), fields.get("expires_at")
        if not isinstance(token, str) or not is_credential(token):
            raise self._bad_answer("a token")
        if isinstance(end, bool) or not isinstance(end, (int, float)) or not math.isfinite(min(end, 1e15)) or end <= 0:
            raise self._bad_answer("an expires_at in seconds since 1970")
        sent = _parse_date(date)
        lifetime = min(end, 1e15) - (time.time() if sent is None else sent)
        if lifetime <= 0:
            raise self._bad_answer("a token that has not expired yet (is the clock right?)")
        lifetime = min(lifetime, _MAX_LIFETIME)
        return _Grant(Secret(f"Bearer {token}"), asked + lifetime - MARGIN, asked + lifetime)

    def _bad_answer(self, missing: str) -> InternalError:
        return InternalError(f"{self._url} answered without {missing}: check exchange_url", 13)


def _refuses_key(error: BoxdError) -> bool:
    """True if the exchange was answered, and the answer is that the key is not good."""
    return isinstance(error, AuthenticationError) and error.grpc_code != 8


class _Unavailable(Exception):
    """The exchange may work when tried again."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class _RateLimited(Exception):
    """Too many exchanges; `pause` is how long to wait, in seconds."""

    def __init__(self, pause: float) -> None:
        super().__init__(pause)
        self.pause = pause

    def error(self, url: str) -> AuthenticationError:
        """What the caller is told when waiting does not help."""
        # RESOURCE_EXHAUSTED tells it from a key that is refused.
        return AuthenticationError(
            f"{url}: too many token exchanges. The rate limit is 30 a minute for one source address; next try in "
            f"{self.pause:g} s. Share one client, or one token, between the processes of this host",
            8,
        )


def _retry_after(value: str | None) -> float:
    """The seconds that a `Retry-After` header asks for, as a number or a date (RFC 9110 section 10.2.3); 1 where
    there is none or it means nothing."""
    text = "" if value is None else value.strip()
    if text.isascii() and text.isdigit():
        # Beyond nine digits the number no longer matters.
        return float(text[:9])
    date = _parse_date(text)
    return 1.0 if date is None else max(0.0, date - time.time())


def _parse_date(text: str | None) -> float | None:
    """An HTTP date in seconds since 1970, or None."""
    try:
        from email.utils import parsedate_to_datetime

        return parsedate_to_datetime(text or "").timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def _split(url: str) -> tuple[Target, str]:
    """The server of a URL, and what to ask it for."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    target = Target(parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    return target, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _copy(error: Exception | None) -> Exception:
    """An error of its own for each waiting call: one object raised in many tasks would gather all their
    tracebacks."""
    if error is None:
        return ConnectionError("the token exchange was cut off", 14)
    return copy.copy(error) if isinstance(error, BoxdError) else error
