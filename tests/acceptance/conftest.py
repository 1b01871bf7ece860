"""One suite, written in the async way, that runs on each surface: async on asyncio, async on trio, and blocking.

Each test gets a client on `surface` and has a box to itself only if it makes one: `box` is shared by the tests of a
server, which leave it as it was.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import pytest

import boxd
import boxd.aio
from tests.acceptance.record import Record
from tests.fixtures.bridge import Bridge
from tests.fixtures.servers import Server

SHARED = "shared"

Connect = Callable[..., Any]


@pytest.fixture(scope="session")
def _seen(pytestconfig: pytest.Config) -> Iterator[Record]:
    record = Record()
    yield record
    option = pytestconfig.option
    record.end(whole=not (option.keyword or option.markexpr or pytestconfig.args != ["tests"]))


@pytest.fixture(scope="package")
def _watched(_seen: Record) -> Iterator[None]:
    """Only here: other tests look at the same classes."""
    with pytest.MonkeyPatch.context() as patch:
        _seen.watch(patch)
        yield


@pytest.fixture(autouse=True)
def _record(_seen: Record, _watched: None, request: pytest.FixtureRequest) -> Iterator[None]:
    _seen.begin(request)
    yield
    _seen.pause()


SERVICES = ("test_account", "test_disks", "test_networking", "test_services_errors", "test_templates")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """One of the two event loops is enough behind grpcio, and for the services, whose calls are all alike: the tests of
    the transport and of commands have both."""
    dropped = [
        item
        for item in items
        if "acceptance" in item.nodeid
        and ("[grpcio-trio" in item.name or ("-trio" in item.name and item.path.stem in SERVICES))
    ]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if item not in set(dropped)]


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
        # A timer may have destroyed it.
        with anyio.CancelScope(shield=True), contextlib.suppress(boxd.NotFoundError):
            await made.destroy()
