"""One POST through a transport of httpx that somebody else owns."""

from __future__ import annotations

from collections.abc import Mapping

import anyio
import httpx

from boxd.transport.errors import ConnectionLost, MessageTooLarge
from boxd.transport.post import Answer, is_wanted


async def post_through(
    transport: httpx.AsyncBaseTransport, url: str, headers: Mapping[str, str], body: bytes, limit: int, timeout: float
) -> Answer:
    """`post` through `transport`, which stays open. Besides what that raises, `TimeoutError` where one of httpx's
    time-outs, of `timeout` seconds each, was over."""
    try:
        async with (
            httpx.AsyncClient(timeout=timeout, transport=_Lent(transport), trust_env=False) as client,
            client.stream("POST", url, content=body, headers=headers, follow_redirects=False) as response,
        ):
            content = await _read(response, limit) if is_wanted(response.status_code, response.headers) else b""
            return Answer(response.status_code, dict(response.headers), content)
    except httpx.TimeoutException as error:
        raise TimeoutError(str(error)) from error
    except httpx.HTTPError as error:
        raise ConnectionLost(f"{type(error).__name__}: {error}") from error


async def _read(response: httpx.Response, limit: int) -> bytes:
    body = bytearray()
    with anyio.CancelScope() as scope:
        async for piece in response.aiter_bytes():
            body += piece
            if len(body) > limit:
                # Cancelled rather than left: only so are the generators inside httpx ended in order.
                scope.cancel()
    if len(body) > limit:
        raise MessageTooLarge(f"the response has more than {limit} bytes")
    return bytes(body)


class _Lent(httpx.AsyncBaseTransport):
    """A transport that the client does not close."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass it on."""
        return await self._transport.handle_async_request(request)

    async def aclose(self) -> None:
        """Nothing: see the class."""
