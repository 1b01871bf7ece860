"""One emulator from start to end: sandbox, boxes, gRPC server and token exchange on one asyncio loop."""

from __future__ import annotations

import contextlib
import os
import shutil
import ssl
from dataclasses import dataclass, field

from .exchange import INVITES, PATH, Exchange, RateLimit
from .faults import Faults
from .machines import Boxes
from .options import Options
from .plane import DataPlane
from .sandbox import Sandbox, open_sandbox
from .server import make_server
from .service import Service
from .state import open_state
from .store import Store
from .timers import Timers
from .tokens import Tokens

_TOKEN_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Local:
    """Where a running emulator is, and the credentials that it accepts."""

    api_url: str
    """The gRPC endpoint: `http://127.0.0.1:PORT`."""
    tls_url: str
    """The same over TLS, `https://127.0.0.1:PORT`; empty without a certificate."""
    exchange_url: str
    """Where an API key is exchanged for a token."""
    api_key: str = field(repr=False)
    """The key that the exchange accepts."""
    token: str = field(repr=False)
    """A token that is good for 24 hours."""
    proxy_port: int
    """The port of `http://NAME.localhost:PORT`, the page of the box NAME."""
    faults: Faults
    """What goes wrong on demand: `faults.add("unavailable", "Exec", times=2)`."""
    sandbox: str
    """`namespaces` or `plain`."""
    limits: tuple[str, ...]
    """What the sandbox does not guarantee, one sentence each."""
    _boxes: Boxes = field(repr=False)

    def box_ids(self) -> list[str]:
        """The ids of the boxes that are not destroyed, without a call. From any thread."""
        return [box.id for box in self._boxes.all()]

    def box_url(self, name: str, proxy: str = "") -> str:
        """Where the page of the box `name` is, or of one of its named proxies.

        The emulator forwards it to the box's port. Names below `localhost` are this machine without a DNS server in
        browsers and curl; others connect to `127.0.0.1` and send the name as the Host header.
        """
        return f"http://{proxy + '.' if proxy else ''}{name}.localhost:{self.proxy_port}"


class Emulator:
    """An emulator on the running loop. `async with Emulator(options) as local:`."""

    def __init__(self, options: Options | None = None) -> None:
        self.options = Options() if options is None else options
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Local:
        async with contextlib.AsyncExitStack() as stack:
            local = await self._start(stack)
            self._stack = stack.pop_all()
        return local

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def _start(self, stack: contextlib.AsyncExitStack) -> Local:
        options, host = self.options, _host(self.options)
        state, sandbox = await _open_sandbox(options, stack)
        store = Store(os.path.join(state, "state.sqlite3"))
        stack.callback(store.close)
        tokens = Tokens(options.api_key, options.user_id, store=store)
        boxes = Boxes(sandbox, options, store)
        plane = DataPlane(boxes, options, store)
        stack.push_async_callback(plane.close)
        await plane.start()
        service = Service(boxes, options, store, tokens, plane)
        stack.push_async_callback(service.drain)
        # Before `drain`: commands that ignore SIGTERM then end with their box instead of after their grace.
        stack.push_async_callback(boxes.close)
        timers = Timers(boxes)
        stack.push_async_callback(timers.close)
        await service.remove_unknown(state)
        await boxes.power_on()
        timers.start()
        limit = RateLimit(options.exchange_requests, options.exchange_window)
        exchange = Exchange(tokens, options.token_seconds, limit, service.accept_invite)
        stack.push_async_callback(exchange.close)
        exchange_port = await exchange.start(options.host, options.exchange_port)
        service.accept_at = f"http://{host}:{exchange_port}{INVITES}"
        server = make_server(service, tokens, options)
        stack.push_async_callback(server.shut_down)
        await server.start(options.host, options.port)
        tls_url = ""
        if options.tls_cert:
            secure = make_server(service, tokens, options)
            stack.push_async_callback(secure.shut_down)
            await secure.start(options.host, options.tls_port, ssl=_tls(options))
            tls_url = f"https://{host}:{secure.port}"
        return Local(
            api_url=f"http://{host}:{server.port}",
            tls_url=tls_url,
            exchange_url=f"http://{host}:{exchange_port}{PATH}",
            api_key=options.api_key,
            token=tokens.issue(_TOKEN_SECONDS)[0],
            proxy_port=plane.port,
            faults=plane.faults,
            sandbox=sandbox.name,
            limits=sandbox.limits,
            _boxes=boxes,
        )


async def _open_sandbox(options: Options, stack: contextlib.AsyncExitStack) -> tuple[str, Sandbox]:
    """The state directory, and the sandbox over it."""
    state, lock = await open_state(options.state)
    temporary = options.state is None
    stack.callback(os.close, lock)
    if temporary:
        stack.callback(shutil.rmtree, state, True)
    sandbox = await open_sandbox(
        state, remove_at_end=temporary, kind=options.sandbox, sudo=options.sudo, network=options.network, lock=lock
    )
    stack.push_async_callback(sandbox.close)
    return state, sandbox


def _host(options: Options) -> str:
    """The host in URLs."""
    return f"[{options.host}]" if ":" in options.host else options.host


def _tls(options: Options) -> ssl.SSLContext:
    """TLS 1.2 or newer with HTTP/2 (RFC 9113, section 9.2). Raises `OSError` for files that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(options.tls_cert, options.tls_key or None)
    context.set_alpn_protocols(["h2"])
    return context
