"""Fixtures for pytest: an emulator for the session, clients of it, and boxes that end with their test.

pytest finds this module by itself where `boxd` is installed. Neither the emulator nor a client is imported before a
test asks for a fixture. docs/testing.md has examples.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import boxd
    import boxd.aio
    from boxd.emulator import Local

# Settings of the developer's own that would lead calls elsewhere, or that the emulator does not know.
_UNSET = ("BOXD_ORG", "BOXD_PROTOCOL")


class _Cleaner:
    """A plugin that is there while the emulator runs. It removes what a test has left."""

    def __init__(self, local: Local) -> None:
        self._local = local
        # Ids of boxes that fixtures of a wider scope than a test have made.
        self._kept: set[str] = set()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Iterator[None]:
        """Note the boxes that fixtures of a wider scope make: they are not the test's."""
        if fixturedef.scope == "function":
            yield
            return
        before = set(self._local.box_ids())
        yield
        self._kept |= set(self._local.box_ids()) - before

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Iterator[None]:
        """Clean up when the test's own fixtures are gone, also where one of them failed to go."""
        yield
        if not item.config.pluginmanager.is_registered(self):  # After the last test the emulator is gone too.
            return
        self._local.faults.clear()
        if left := set(self._local.box_ids()) - self._kept:
            from boxd import Compute, NotFoundError

            with Compute(token=self._local.token, api_url=self._local.api_url) as client:
                for box in left:
                    # A timer of the box's own, or a thread that the test has left, may be quicker.
                    with contextlib.suppress(NotFoundError):
                        client.box.get(box).destroy()
        self._local.faults.reset()


@pytest.fixture(scope="session")
def boxd_emulator_options() -> dict[str, Any]:
    """Fields of `boxd.emulator.Options` for `boxd_emulator`: none. Meant to be overridden in a conftest.py."""
    return {}


@pytest.fixture(scope="session")
def boxd_emulator(boxd_emulator_options: dict[str, Any], pytestconfig: pytest.Config) -> Iterator[Local]:
    """A boxd emulator on this machine, one for the session: its `Local`, with `faults`, `box_url` and the addresses.

    From its first use to the end of the session the environment's variables lead to it, so that code under test that
    makes a plain `Compute()`, or starts a program that does, reaches it. After each test its boxes are destroyed,
    except those that fixtures of a wider scope made, and its faults are as at the start.
    """
    # Code under test may well make a client for each test; the limit of exchanges is the service's, for one address.
    options = {"exchange_requests": 1_000_000, **boxd_emulator_options}
    with _emulator(options) as local, pytest.MonkeyPatch.context() as patch:
        for name in _UNSET:
            patch.delenv(name, raising=False)
        patch.setenv("BOXD_API_URL", local.api_url)
        patch.setenv("BOXD_EXCHANGE_URL", local.exchange_url)
        patch.setenv("BOXD_API_KEY", local.api_key)
        patch.setenv("BOXD_TOKEN", local.token)
        # A proxy for the internet does not lead back to this machine. The name in lower case wins where both are set.
        for name in ("no_proxy", "NO_PROXY"):
            patch.setenv(name, ",".join(filter(None, (os.environ.get(name), "127.0.0.1", "localhost"))))
        cleaner = _Cleaner(local)
        pytestconfig.pluginmanager.register(cleaner)
        try:
            yield local
        finally:
            pytestconfig.pluginmanager.unregister(cleaner)


@contextlib.contextmanager
def _emulator(options: dict[str, Any]) -> Iterator[Local]:
    """A running emulator; what keeps it from starting is the test's error, in a sentence."""
    with contextlib.ExitStack() as stack:
        try:
            from boxd.emulator import running
            from boxd.emulator.sandbox import SandboxError
        except ModuleNotFoundError as error:
            pytest.fail(f"fixture boxd_emulator: {error}", pytrace=False)
        try:
            local = stack.enter_context(running(**options))
        except (SandboxError, OSError, TypeError, ValueError) as error:
            pytest.fail(f"fixture boxd_emulator: the emulator cannot start: {error}", pytrace=False)
        yield local


@pytest.fixture
def boxd_client(boxd_emulator: Local) -> Iterator[boxd.Compute]:
    """A blocking client of the emulator, closed after the test."""
    from boxd import Compute

    with Compute(token=boxd_emulator.token, api_url=boxd_emulator.api_url) as client:
        yield client


@pytest.fixture
def boxd_box(boxd_client: boxd.Compute) -> boxd.Box:
    """A running box, destroyed after the test."""
    return boxd_client.box.create()


@pytest.fixture
async def boxd_async_client(boxd_emulator: Local) -> AsyncIterator[boxd.aio.Compute]:
    """An async client of the emulator, closed after the test. Needs a plugin that runs async fixtures, such as
    AnyIO's, which `boxd` brings: mark the test with `pytest.mark.anyio`."""
    from boxd.aio import Compute

    async with Compute(token=boxd_emulator.token, api_url=boxd_emulator.api_url) as client:
        yield client


@pytest.fixture
async def boxd_async_box(boxd_async_client: boxd.aio.Compute) -> boxd.aio.Box:
    """A running box with the async methods, destroyed after the test."""
    return await boxd_async_client.box.create()
