"""What all tests share: a bound on the time of each, and the servers to test against."""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import inspect
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import anyio
import pytest

from tests.fixtures import servers
from tests.fixtures.servers import Server
from tests.transport.matrix.report import MatrixReport

SECONDS = 60
"""How long a test may take. Most take a fraction of a second; the bound ends what hangs."""
GRACE = 15
"""Seconds in which an async test that took too long may end in order."""
SLOW_SECONDS = 300 + float(os.environ.get("BOXD_TEST_IDLE_SECONDS", "0"))


class Hung(Exception):
    """A test took too long."""


def pytest_configure(config: pytest.Config) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]  # The servers of the tests are here, whatever this machine needs to reach others.
    config.pluginmanager.register(MatrixReport())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    with _bounded(SECONDS):
        return (yield)  # type: ignore[misc]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    with _bounded(_seconds(item) + GRACE):
        return (yield)  # type: ignore[misc]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    with _bounded(SECONDS):
        return (yield)  # type: ignore[misc]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """An async test is cancelled in its loop: an exception from outside would leave the loop unusable."""
    test = pyfuncitem.obj
    if inspect.iscoroutinefunction(test):

        @functools.wraps(test)
        async def bounded(*args: Any, **options: Any) -> None:
            with anyio.fail_after(_seconds(pyfuncitem)):
                await test(*args, **options)

        pyfuncitem.obj = bounded


def _seconds(item: pytest.Item) -> float:
    return SLOW_SECONDS if item.get_closest_marker("slow") else SECONDS


@contextlib.contextmanager
def _bounded(seconds: float) -> Iterator[None]:
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def late(number: int, frame: object) -> None:
        faulthandler.dump_traceback(sys.__stderr__)
        raise Hung(f"the test did not end within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True, scope="session")
def _no_settings_from_outside() -> Iterator[None]:
    """The developer's own variables must not reach the tests, or the tests the real service."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("API_KEY", "TOKEN", "API_URL", "EXCHANGE_URL", "ORG", "PROTOCOL", "TRACE"):
            patch.delenv(f"BOXD_{name}", raising=False)
        yield


StartServer = Callable[..., AbstractContextManager[Server]]


@pytest.fixture(scope="session")
def start_server() -> StartServer:
    """Runs one more server, with options: `with start_server("emulator", max_boxes=1) as server:`."""
    return servers.running


@pytest.fixture(scope="session")
def emulator() -> Iterator[Server]:
    """The emulator."""
    with servers.running("emulator", max_boxes=64) as server:
        yield server


@pytest.fixture(scope="session")
def grpcio() -> Iterator[Server]:
    """The emulator's service behind grpcio."""
    with servers.running("grpcio", max_boxes=64) as server:
        yield server


@pytest.fixture(scope="session", params=["emulator", "grpcio"])
def server(request: pytest.FixtureRequest) -> Any:
    """Each of the two servers in turn."""
    return request.getfixturevalue(request.param)
