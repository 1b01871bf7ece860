"""One RPC: messages out, messages in, a status at the end."""

from __future__ import annotations

import warnings
from typing import Generic, TypeVar

from boxd.transport.exchange import Exchange
from boxd.transport.metadata import Metadata, decode_metadata

Req = TypeVar("Req")
Res = TypeVar("Res")


class Call(Generic[Req, Res]):
    """A call in progress. It opens with the first `send`, `end` or `receive`; use it as an async context manager, or
    end it with `aclose`, so that a call that is left early is cancelled on the server too. One that is dropped while
    it runs is cancelled with a `ResourceWarning`.

    One task may receive while others send. Every method raises the call's own error (`RpcError`) once it has ended
    with one, after the messages that came before it.
    """

    def __init__(self, exchange: Exchange[Req, Res]) -> None:
        """Made by `Channel.call`."""
        self._exchange = exchange

    def __del__(self) -> None:
        # The connection keeps an exchange that runs: without this it would stay for as long as the connection.
        if self._exchange.running:
            name = self._exchange.method.name
            warnings.warn(f"{name} was left open and is cancelled now: close it", ResourceWarning, stacklevel=2)
            self._exchange.abandon()

    async def send(self, message: Req, *, end: bool = False) -> None:
        """Send a message, and with `end` half-close after it. Returns when the message has left for the socket, so
        that a slow server slows the caller. When the server has already ended the call with OK, the message is
        dropped: nobody wants it. A message is sent as a whole or not at all: cancelling the wait takes it back, unless
        its first bytes have left; then the rest follows. Raises `RuntimeError` after a half-close."""
        await self._exchange.send(message, end)

    async def end(self) -> None:
        """Half-close: no more messages from this side. Idempotent."""
        await self._exchange.send(None, True)

    async def receive(self) -> Res | None:
        """The next message; None when the call ended with OK. Cancelling the wait loses nothing. The one message of a
        call without a response stream comes only when the call has ended with OK."""
        return await self._exchange.receive()

    async def receive_batch(self) -> list[Res]:
        """Every message that is at hand, at least one; an empty list when the call ended with OK."""
        return await self._exchange.receive_batch()

    @property
    def headers(self) -> Metadata:
        """The response's leading metadata; empty before it came."""
        return decode_metadata(self._exchange.reader.headers)

    @property
    def trailers(self) -> Metadata:
        """The response's trailing metadata; empty before the end."""
        return decode_metadata(self._exchange.reader.trailers)

    @property
    def running(self) -> bool:
        """True from the opening of the call to its end; messages may still wait to be taken after it."""
        return self._exchange.running

    def cancel(self) -> None:
        """End the call from this side, on the server too (RST_STREAM with CANCEL). Messages not taken yet are dropped,
        and waiting tasks get `Cancelled`. Idempotent."""
        self._exchange.cancel()

    def abandon(self) -> None:
        """`cancel`, for finalizers: from any thread, and whether or not the event loop still runs."""
        self._exchange.abandon()

    async def aclose(self) -> None:
        """Like `cancel`; for `async with`."""
        self._exchange.cancel()

    def __aiter__(self) -> Call[Req, Res]:
        return self

    async def __anext__(self) -> Res:
        message = await self._exchange.receive()
        if message is None:
            raise StopAsyncIteration
        return message

    async def __aenter__(self) -> Call[Req, Res]:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._exchange.cancel()

    def __repr__(self) -> str:
        exchange = self._exchange
        state = "ended" if exchange.ended else "open" if exchange.stream else "not started"
        return f"<Call {exchange.method.name} {state}>"
