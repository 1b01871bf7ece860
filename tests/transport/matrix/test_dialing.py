"""Servers that cannot be reached: rows 1 to 7, 11, 12."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
import trustme

from boxd.transport import (
    Channel,
    ConnectFailed,
    ConnectionLost,
    ConnectionOptions,
    DeadlineExceeded,
    RpcError,
    StatusCode,
    Target,
    TlsFailed,
)
from boxd.transport.dial import DialOptions
from tests.fixtures import echo_server as e
from tests.fixtures import frames as f
from tests.fixtures.fault_server import FaultServer, Peer
from tests.transport.leaks import assert_gone, sockets
from tests.transport.matrix.bench import WITHIN, Bench, wait_until, well_behaved

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).resolve().parents[3]
UNAVAILABLE = StatusCode.UNAVAILABLE
#: The next attempt is not held back by the one that failed.
AT_ONCE = ConnectionOptions(backoff_initial=0, settings_timeout=0.1)


async def fails(
    target: Target,
    kind: type[RpcError],
    code: StatusCode = UNAVAILABLE,
    *,
    match: str | None = None,
    timeout: float | None = None,
    **options: Any,
) -> RpcError:
    """A call to a target, which must fail with this error, as the next must, and leave nothing; returns the first."""
    before = sockets()
    channel = Channel(target, connection_options=AT_ONCE, **options)
    found: list[RpcError] = []
    for _ in range(2):
        with pytest.raises(RpcError, match=match) as caught, anyio.fail_after(WITHIN):
            await channel.unary(e.ECHO, b"", timeout=timeout)
        assert type(caught.value) is kind
        assert caught.value.code == code
        assert caught.value.unprocessed
        found.append(caught.value)
    await assert_gone(channel)
    await wait_until(lambda: sockets() <= before)
    return found[0]


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port on which nobody listens; nobody else gets it in the meantime."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    """Have the name `service.test` stand for these addresses."""
    real = socket.getaddrinfo

    def resolver(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if host not in ("service.test", b"service.test"):
            return real(host, port, *args, **options)
        found = []
        for address, number in addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            tail = (0, 0) if ":" in address else ()
            found.append((family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, number, *tail)))
        return found

    monkeypatch.setattr(socket, "getaddrinfo", resolver)


@pytest.mark.row(1)
async def test_row_1_refused(anyio_backend: str, closed_port: int) -> None:
    error = await fails(Target("http", "127.0.0.1", closed_port), ConnectFailed)
    assert str(closed_port) in error.message
    assert isinstance(error.__cause__, OSError)


@pytest.mark.row(1)
async def test_row_1_every_address_is_told(
    anyio_backend: str, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, ("::1", closed_port), ("127.0.0.1", closed_port), ("127.0.0.2", closed_port))
    error = await fails(Target("http", "service.test", closed_port), ConnectFailed, match="service.test")
    for address in (f"[::1]:{closed_port}", f"127.0.0.1:{closed_port}", f"127.0.0.2:{closed_port}"):
        assert address in error.message


@pytest.mark.row(1)
async def test_row_1_unix_socket_that_is_not_there(anyio_backend: str, tmp_path: Any) -> None:
    await fails(Target("unix", str(tmp_path / "nobody")), ConnectFailed)


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port where SYNs are not answered: the queue of those who wait to be accepted is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
        for one in waiting:
            one.close()


@pytest.mark.row(2)
async def test_row_2_no_answer_to_syn(anyio_backend: str, black_hole: int) -> None:
    target = Target("http", "127.0.0.1", black_hole)
    impatient = DialOptions(connect_timeout=0.1)
    await fails(target, ConnectFailed, match=r"0\.1 s", dial_options=impatient)
    await fails(target, DeadlineExceeded, StatusCode.DEADLINE_EXCEEDED, timeout=0.05)


@pytest.mark.row(3)
@pytest.mark.parametrize("number", [socket.EAI_NONAME, socket.EAI_AGAIN, socket.EAI_FAIL])
async def test_row_3_name_not_found(anyio_backend: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolver(*args: Any, **options: Any) -> Any:
        raise socket.gaierror(number, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    error = await fails(Target("http", "service.test", 80), ConnectFailed, match="no such name")
    assert isinstance(error.__cause__, socket.gaierror)


@pytest.mark.row(3)
async def test_row_3_resolver_that_hangs(anyio_backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def resolver(*args: Any, **options: Any) -> Any:
        # trio asks first, without a thread, whether the name is an address.
        if options.get("flags", (*args, 0, 0, 0, 0, 0, 0)[5]) & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        release.wait(WITHIN)
        raise socket.gaierror(socket.EAI_AGAIN, "too late")

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    try:
        target = Target("http", "service.test", 80)
        await fails(target, DeadlineExceeded, StatusCode.DEADLINE_EXCEEDED, timeout=0.05)
        await fails(target, ConnectFailed, match=r"0\.1 s", dial_options=DialOptions(connect_timeout=0.1))
    finally:
        release.set()


@pytest.mark.row(3)
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_row_3_a_resolver_that_hangs_does_not_hold_up_the_end(backend: str) -> None:
    """Of the event loop, nor of the process."""
    code = f"""if True:
        import socket, time
        real = socket.getaddrinfo
        def resolver(host, *args, **options):
            numeric = options.get("flags", (*args, 0, 0, 0, 0, 0)[4]) & socket.AI_NUMERICHOST
            if host not in ("service.test", b"service.test") or numeric:
                return real(host, *args, **options)
            time.sleep(60)
        socket.getaddrinfo = resolver
        import anyio
        from boxd.transport import Channel, DeadlineExceeded, Target
        from tests.fixtures.echo_server import ECHO
        async def main():
            channel = Channel(Target("http", "service.test", 80))
            try:
                await channel.unary(ECHO, b"", timeout=0.1)
            except DeadlineExceeded:
                print("in time", flush=True)
            await channel.aclose()
        anyio.run(main, backend={backend!r})
        """
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=15)
    assert (done.stdout, done.returncode) == ("in time\n", 0), done.stderr


@pytest.mark.row(4)
@pytest.mark.parametrize("fault", ["refused", "no answer"])
async def test_row_4_ipv6_is_dead(
    anyio_backend: str, fault: str, closed_port: int, black_hole: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FaultServer(well_behaved) as server:
        dead = ("::1", closed_port) if fault == "refused" else ("127.0.0.1", black_hole)
        resolve_to(monkeypatch, dead, ("127.0.0.1", server.target.port or 0))
        channel = Channel(Target("http", "service.test", server.target.port))
        with anyio.fail_after(1):
            assert await channel.unary(e.ECHO, b"x") == b"x"
        await assert_gone(channel)


async def nothing(peer: Peer) -> None:
    await peer.expect_eof()


def trusting(*authorities: trustme.CA) -> DialOptions:
    context = ssl.create_default_context()
    for one in authorities:
        one.configure_trust(context)
    context.set_alpn_protocols(["h2"])
    return DialOptions(ssl_context=context)


@pytest.mark.row(5)
@pytest.mark.parametrize("fault", ["expired", "self-signed", "unknown authority", "another host"])
async def test_row_5_certificate(anyio_backend: str, fault: str, authority: trustme.CA) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["h2"])
    name = "elsewhere.example" if fault == "another host" else "localhost"
    expiry = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc) if fault == "expired" else None
    issuer = trustme.CA() if fault in ("self-signed", "unknown authority") else authority
    certificate = issuer.issue_cert(name, not_after=expiry)
    if fault == "self-signed":
        with certificate.private_key_pem.tempfile() as key, issuer.cert_pem.tempfile() as mine:
            del key
            with issuer.private_key_pem.tempfile() as own:
                context.load_cert_chain(mine, own)
    else:
        certificate.configure_cert(context)
    reason = {
        "expired": "expired",
        "self-signed": "self.signed",
        "unknown authority": "unable to get local issuer|self.signed",
        "another host": "localhost",
    }[fault]
    async with FaultServer(nothing, tls=context, greet=False) as server:
        await fails(server.target, TlsFailed, match=reason, dial_options=trusting(authority))
        assert server.peers == [], "a handshake was completed"


@contextlib.contextmanager
def tls_server(context: ssl.SSLContext) -> Iterator[int]:
    """A server whose handshakes are OpenSSL's own, with the alerts that belong to them."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                raw, _ = listener.accept()
                raw.settimeout(WITHIN)
                with context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False) as tls:
                    with contextlib.suppress(ssl.SSLError):
                        tls.do_handshake()
                    # Unread bytes would make the close a reset, which overtakes the alert.
                    while socket.socket.recv(tls, 1 << 16):
                        pass

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(WITHIN)


@pytest.mark.row(6)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
@pytest.mark.parametrize("fault", ["missing", "refused"])
async def test_row_6_client_certificate(
    anyio_backend: str,
    fault: str,
    version: ssl.TLSVersion,
    authority: trustme.CA,
    server_tls: Callable[..., ssl.SSLContext],
) -> None:
    """In TLS 1.3 the server says so after the client's handshake is over: still not a bare end of the connection."""
    context = server_tls()
    context.minimum_version = context.maximum_version = version
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    options = trusting(authority)
    if fault == "refused":
        assert options.ssl_context is not None
        trustme.CA().issue_cert("client@example.org").configure_cert(options.ssl_context)
    with tls_server(context) as port:
        before = sockets()
        channel = Channel(Target("https", "localhost", port), dial_options=options, connection_options=AT_ONCE)
        for _ in range(2):
            with (
                pytest.raises(TlsFailed, match=r"(?i)certificate|unknown.ca|handshake.failure") as caught,
                anyio.fail_after(WITHIN),
            ):
                await channel.unary(e.ECHO, b"")
            assert caught.value.code == UNAVAILABLE
        await assert_gone(channel)
        await wait_until(lambda: sockets() <= before)


@pytest.mark.row(7)
@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x16\x03\x03\x40\x01" + bytes(100), b"\x15\x03\x03\x00\x02\x02\x28", b"\0"],
    ids=["plain text", "garbage", "alert", "end"],
)
async def test_row_7_no_handshake(anyio_backend: str, answer: bytes, authority: trustme.CA) -> None:
    async def script(peer: Peer) -> None:
        await peer.stream.receive()
        if answer != b"\0":
            await peer.send(answer)
        await peer.close()

    async with FaultServer(script, greet=False) as server:
        target = Target("https", "localhost", server.target.port)
        await fails(target, TlsFailed, dial_options=trusting(authority))


@pytest.mark.row(7)
async def test_row_7_handshake_that_stalls(anyio_backend: str, authority: trustme.CA) -> None:
    async def script(peer: Peer) -> None:
        with contextlib.suppress(anyio.EndOfStream):
            while True:
                await peer.stream.receive()

    async with FaultServer(script, greet=False) as server:
        target = Target("https", "localhost", server.target.port)
        options = DialOptions(ssl_context=trusting(authority).ssl_context, connect_timeout=0.1)
        await fails(target, TlsFailed, match=r"0\.1 s", dial_options=options)


@pytest.mark.row(11)
async def test_row_11_silence(anyio_backend: str) -> None:
    """The server accepts, and that is all."""
    async with Bench(None, nothing, sibling="none", greet=False, channel={"connection_options": AT_ONCE}) as bench:
        await bench.fails(ConnectionLost, UNAVAILABLE, match=r"SETTINGS within 0\.1 s")


@pytest.mark.row(12)
async def test_row_12_settings_are_never_acknowledged(anyio_backend: str) -> None:
    """Calls work until the time is over; then everything on the connection fails."""

    async def script(peer: Peer) -> None:
        await peer.send(f.settings())
        await well_behaved(peer)

    async with Bench(None, script, sibling="dies", greet=False, channel={"connection_options": AT_ONCE}) as bench:

        async def work(channel: Channel) -> None:
            async with channel.call(e.CHAT) as call:
                await call.send(b"x")
                assert await call.receive() == b"x"
                await call.receive()

        await bench.fails(ConnectionLost, UNAVAILABLE, work, match="SETTINGS")
