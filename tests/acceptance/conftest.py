"""One suite, written in the async way, that runs on each surface: async on asyncio, async on trio, and blocking.

Each test gets a client on `surface` and has a box to itself only if it makes one: `box` is shared by the tests of a
server, which leave it as it was.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import pytest

import boxd
import boxd.aio
from tests.fixtures.bridge import Bridge
from tests.fixtures.servers import Server

SHARED = "shared"

Connect = Callable[..., Any]


@pytest.fixture(params=["asyncio", "trio", "blocking"])
def surface(request: pytest.FixtureRequest) -> str:
    """`asyncio`, `trio` or `blocking`."""
    name: str = request.param
    return name


@pytest.fixture
def anyio_backend(surface: str) -> str:
    """The event loop that the test runs on."""
    return "trio" if surface == "trio" else "asyncio"


@pytest.fixture
def compute(surface: str) -> Connect:
    """`Compute` of the surface, without settings."""
    if surface == "blocking":
        return lambda **settings: Bridge(boxd.Compute(**settings))
    return boxd.aio.Compute


@pytest.fixture
async def client(compute: Connect, server: Server) -> AsyncIterator[Any]:
    """A client of the server, closed at the end."""
    async with compute(**server.settings) as made:
        yield made


@pytest.fixture(scope="session")
def shared_box(server: Server) -> Iterator[str]:
    """The id of a box that lives as long as the server."""
    with boxd.Compute(**server.settings) as admin:
        box = admin.box.create(name=SHARED)
        yield box.id
        box.destroy()


@pytest.fixture
async def box(client: Any, shared_box: str) -> Any:
    """The shared box, through the test's own client."""
    return await client.box.get(shared_box)


@pytest.fixture
async def new_box(client: Any) -> AsyncIterator[Any]:
    """A box of the test's own."""
    made = await client.box.create()
    yield made
    if made.status != "destroyed":
        with anyio.CancelScope(shield=True):
            await made.destroy()
