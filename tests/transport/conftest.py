"""Fixtures of the transport's tests: both event loops, channels that are checked for leaks, servers."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import pytest
import trustme

from boxd.transport import Channel, Target
from tests.fixtures import echo_server
from tests.transport.leaks import assert_gone


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def connect(anyio_backend: str) -> AsyncIterator[Callable[..., Channel]]:
    """Makes channels; after the test they are closed, and nothing of them may be left."""
    channels: list[Channel] = []

    def make(target: Target, **options: Any) -> Channel:
        channels.append(Channel(target, **options))
        return channels[-1]

    yield make
    await assert_gone(*channels)


@pytest.fixture(scope="session")
def echo() -> Iterator[echo_server.Running]:
    """A grpcio server for tests that leave it as it was."""
    with echo_server.running() as server:
        yield server


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    """Client settings that trust the tests' authority, and offer h2."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.set_alpn_protocols(["h2"])
    return context


@pytest.fixture(scope="session")
def server_tls(authority: trustme.CA) -> Callable[..., ssl.SSLContext]:
    """Makes server settings with a certificate of the tests' authority."""

    def make(name: str = "localhost", alpn: tuple[str, ...] = ("h2",)) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(name).configure_cert(context)
        if alpn:
            context.set_alpn_protocols(alpn)
        return context

    return make


@pytest.fixture(scope="session")
def secure_echo(authority: trustme.CA) -> Iterator[echo_server.Running]:
    """A grpcio server behind TLS."""
    certificate = authority.issue_cert("localhost")
    pair = (certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes())
    with contextlib.ExitStack() as stack:
        yield stack.enter_context(echo_server.running(credentials=grpc.ssl_server_credentials([pair])))
