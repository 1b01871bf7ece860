"""`python -m tests.interop.asgi [CERTIFICATE]`: an ASGI application behind hypercorn, HTTP/2 only. Prints its port, and
serves until its standard input ends."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs

from hypercorn.asyncio import serve
from hypercorn.config import Config

SIMPLE: dict[str, tuple[int, list[tuple[bytes, bytes]], bytes]] = {
    "/hello": (200, [(b"content-length", b"5"), (b"x-many", b"a"), (b"x-many", b"b")], b"hello"),
    "/gzip": (200, [(b"content-encoding", b"gzip")], gzip.compress(b"packed " * 100)),
    "/redirect": (302, [(b"location", b"/hello")], b""),
    "/teapot": (418, [], b"short and stout"),
    "/nothing": (204, [], b""),
    "/refuse-body": (413, [], b"too much"),
}


class Exchange:
    """One request and its answer."""

    cancelled = 0

    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope, self.receive, self.send = scope, receive, send

    async def head(self, status: int = 200, headers: Any = (), **more: Any) -> None:
        await self.send({"type": "http.response.start", "status": status, "headers": list(headers), **more})

    async def piece(self, data: bytes, *, more: bool = True) -> None:
        await self.send({"type": "http.response.body", "body": data, "more_body": more})

    async def body(self) -> AsyncIterator[bytes]:
        while True:
            event = await self.receive()
            if event["type"] == "http.disconnect":
                return
            yield event["body"]
            if not event.get("more_body"):
                return

    async def answer(self, data: bytes, status: int = 200, headers: Any = ()) -> None:
        await self.head(status, headers)
        await self.piece(data, more=False)

    # -- the routes that are not simple

    async def on_headers(self) -> None:
        await self.answer(json.dumps({k.decode(): v.decode() for k, v in self.scope["headers"]}).encode())

    async def on_cancelled(self) -> None:
        await self.answer(str(Exchange.cancelled).encode())

    async def on_big(self) -> None:
        left = int(parse_qs(self.scope["query_string"])[b"size"][0])
        await self.head()
        while left:
            size = min(left, 1 << 16)
            left -= size
            await self.piece(b"x" * size)
        await self.piece(b"", more=False)

    async def on_echo(self) -> None:
        await self.head()
        async for data in self.body():
            await self.piece(data)
        await self.piece(b"", more=False)

    async def on_sum(self) -> None:
        digest = hashlib.sha256()
        async for data in self.body():
            digest.update(data)
        await self.answer(digest.hexdigest().encode())

    async def on_trailers(self) -> None:
        await self.head(trailers=True)
        await self.piece(b"body", more=False)
        await self.send(
            {"type": "http.response.trailers", "headers": [(b"x-checksum", b"abc")], "more_trailers": False}
        )

    async def on_early(self) -> None:
        await self.send({"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload"]})
        await self.answer(b"after hints")

    async def on_silent(self) -> None:
        event: Any = {}
        while event.get("type") != "http.disconnect":
            event = await self.receive()
        Exchange.cancelled += 1


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":  # hypercorn logs it, and goes on without start-up and shutdown.
        raise NotImplementedError(scope["type"])
    exchange = Exchange(scope, receive, send)
    path = scope["path"]
    if path in SIMPLE:
        status, headers, data = SIMPLE[path]
        await exchange.answer(data, status, headers)
    elif route := getattr(exchange, "on_" + path[1:], None):
        await route()
    else:
        await exchange.answer(b"not here", 404)


async def main(certificate: str = "") -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    if certificate:
        config.certfile = config.keyfile = certificate
    config.alpn_protocols = ["h2"]
    config.loglevel = "CRITICAL"
    print(listener.getsockname()[1], flush=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, stop.set)
    await serve(application, config, shutdown_trigger=stop.wait)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
