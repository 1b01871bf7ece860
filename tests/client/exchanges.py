"""What the tests of the token exchange share."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from boxd.auth import KeyExchange
from boxd.config import Secret
from boxd.errors import BoxdError

KEY = "bxk_hush0123456789"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def exchange_at(url: str, **options: Any) -> KeyExchange:
    return KeyExchange(Secret(KEY), url, **options)


def mocked(handler: Callable[[httpx.Request], Any], **options: Any) -> KeyExchange:
    transport = httpx.MockTransport(handler)
    return exchange_at("https://boxd.test/token", http=transport, **options)


async def failure_of(exchange: KeyExchange) -> BoxdError:
    with pytest.raises(BoxdError) as caught:
        await exchange.refresh()
    error = caught.value
    rendered = "".join(traceback.TracebackException.from_exception(error, capture_locals=False).format())
    assert KEY not in rendered + repr(error) + str(error) + repr(error.__dict__) + repr(exchange)
    assert exchange.current() is None
    return error
