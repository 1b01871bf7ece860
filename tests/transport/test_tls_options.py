"""The settings of TLS (R61) and addresses (R62, R64): where certificates come from, names, and what errors say."""

from __future__ import annotations

import gc
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
import trustme

from boxd.transport import Channel, NotHttp2, Target, TlsFailed
from boxd.transport.dial_options import DialOptions
from tests.fixtures import echo_server as e
from tests.fixtures.fault_server import FaultServer, Peer
from tests.transport.test_faults import serve_echo, still_fine

Connect = Callable[..., Channel]
ServerTls = Callable[..., ssl.SSLContext]


@pytest.fixture(scope="module")
def files(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ca.pem`, `client.pem` with its key, `locked.pem` with one that is encrypted."""
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    folder = tmp_path_factory.mktemp("tls")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    client = authority.issue_cert("client@example.org")
    client.private_key_and_cert_chain_pem.write_to_path(str(folder / "client.pem"))
    key = load_pem_private_key(client.private_key_pem.bytes(), None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hush"))
    (folder / "locked.key").write_bytes(locked)
    (folder / "locked.pem").write_bytes(b"".join(one.bytes() for one in client.cert_chain_pems))
    (folder / "empty.pem").write_text("nothing")
    return folder


def der(authority: trustme.CA) -> bytes:
    return ssl.PEM_cert_to_DER_cert(authority.cert_pem.bytes().decode())


@pytest.mark.anyio
@pytest.mark.parametrize("form", ["path", "Path", "PEM", "DER", "SSL_CERT_FILE"])
async def test_r61_authorities(
    connect: Connect, secure_echo: e.Running, authority: trustme.CA, files: Path, form: str, monkeypatch: Any
) -> None:
    path = files / "ca.pem"
    if form == "SSL_CERT_FILE":
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
    ca = {"path": str(path), "Path": path, "PEM": authority.cert_pem.bytes(), "DER": der(authority)}.get(form)
    channel = connect(secure_echo.target, dial_options=DialOptions(ca=ca))
    assert await channel.unary(e.ECHO, b"hello") == b"hello"


@pytest.mark.anyio
@pytest.mark.parametrize("protocol", ["grpc", "connect"])
@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("SSL_CERT_FILE", "/nowhere.pem", "SSL_CERT_FILE '/nowhere.pem': there is no such file"),
        ("SSL_CERT_DIR", "/nowhere", "SSL_CERT_DIR '/nowhere': there is no such file or folder"),
        ("SSL_CERT_FILE", "empty.pem", "empty.pem' has no certificates that can be loaded"),
    ],
)
async def test_r61_variables_that_lead_nowhere(
    connect: Connect, files: Path, variable: str, value: str, reason: str, protocol: str, monkeypatch: Any
) -> None:
    monkeypatch.setenv(variable, value if value.startswith("/") else str(files / value))
    async with FaultServer(serve_echo) as server:
        target = Target("https", "localhost", server.target.port)
        channel = connect(target, protocol=protocol, http_version="1.1" if protocol == "connect" else "2")
        with pytest.raises(TlsFailed, match=reason):
            await channel.unary(e.ECHO, b"")
        channel = connect(target, dial_options=DialOptions(trust_env=False))
        with pytest.raises(TlsFailed, match="handshake"), anyio.fail_after(5):
            await channel.unary(e.ECHO, b"")


def test_r61_the_system_has_authorities_or_certifi_does(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    bare = ssl.get_default_verify_paths()._replace(capath=None, cafile=None)
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda self: None)
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: bare)
    assert DialOptions().context.cert_store_stats()["x509_ca"] > 50


def test_r61_authorities_in_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """OpenSSL looks there when it needs one: there is nothing to load before. One that cannot be read is none."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    paths = ssl.get_default_verify_paths()._replace(capath=str(tmp_path), cafile=None)
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda self: None)
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    (tmp_path / "5ed36f99.0").touch()
    (tmp_path / "6fa5da56.0").touch()
    assert DialOptions().context.cert_store_stats()["x509_ca"] == 0
    gc.collect()  # What was left open would be a ResourceWarning.

    def refused(path: str) -> list[str]:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "listdir", refused)
    assert DialOptions().context.cert_store_stats()["x509_ca"] > 50


def test_r61_settings_of_ones_own_trust_nobody_else(files: Path) -> None:
    context = DialOptions(ca=files / "ca.pem").context
    assert context.cert_store_stats()["x509_ca"] == 1
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)


@pytest.mark.anyio
async def test_r61_made_once(connect: Connect, secure_echo: e.Running, files: Path, monkeypatch: Any) -> None:
    """Loading authorities takes longer than a handshake: not for each connection."""
    made: list[object] = []
    init = ssl.SSLContext.load_verify_locations

    def counted(self: ssl.SSLContext, *args: Any, **options: Any) -> None:
        made.append(self)
        init(self, *args, **options)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", counted)
    options = DialOptions(ca=files / "ca.pem")
    for _ in range(3):
        channel = connect(secure_echo.target, dial_options=options)
        assert await channel.unary(e.ECHO, b"hello") == b"hello"
    assert len(made) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("locked", [False, True])
async def test_r61_client_certificate_from_files(
    connect: Connect, server_tls: ServerTls, authority: trustme.CA, files: Path, locked: bool
) -> None:
    tls = server_tls()
    tls.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(tls)
    mine: dict[str, Any] = {"client_cert": files / "client.pem"}
    if locked:
        mine = {"client_cert": files / "locked.pem", "client_key": files / "locked.key", "client_key_password": "hush"}
    async with FaultServer(serve_echo, tls=tls) as server:
        await still_fine(connect(server.target, dial_options=DialOptions(ca=files / "ca.pem", **mine)))


@pytest.mark.anyio
@pytest.mark.parametrize("password", [None, "wrong"])
async def test_r61_a_key_that_stays_locked(
    connect: Connect, secure_echo: e.Running, files: Path, password: Any
) -> None:
    """Nobody is asked at the terminal."""
    options = DialOptions(
        client_cert=files / "locked.pem", client_key=files / "locked.key", client_key_password=password
    )
    with pytest.raises(TlsFailed, match=r"client_cert .*locked\.pem' cannot be used") as caught, anyio.fail_after(5):
        await connect(secure_echo.target, dial_options=options).unary(e.ECHO, b"")
    assert "wrong" not in str(caught.value)


@pytest.mark.anyio
@pytest.mark.row(8)
async def test_r61_a_server_that_ends_the_handshake_over_alpn(connect: Connect) -> None:
    """RFC 7301 section 3.2: the alert `no_application_protocol`."""

    async def script(peer: Peer) -> None:
        await peer.stream.receive()
        await peer.send(b"\x15\x03\x03\x00\x02\x02\x78")
        await peer.expect_eof()

    async with FaultServer(script, greet=False) as server:
        target = Target("https", "localhost", server.target.port)
        with pytest.raises(NotHttp2, match=f"https://localhost:{target.port} does not speak HTTP/2"):
            await connect(target).unary(e.ECHO, b"")


@pytest.mark.anyio
@pytest.mark.row(9)
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "it answered 'HTTP/1.1 400 Bad Request'"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "which is TLS: use https://"),
    ],
)
async def test_r62_the_error_names_the_address(connect: Connect, answer: bytes, reason: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.stream.receive()
        await peer.send(answer)

    async with FaultServer(script, greet=False) as server:
        with pytest.raises(NotHttp2, match=f"{server.target} does not speak HTTP/2.* {reason}"), anyio.fail_after(5):
            await connect(server.target).unary(e.ECHO, b"")


@pytest.mark.parametrize(
    ("url", "shown", "authority"),
    [
        ("http://boxd.sh:9443", "http://boxd.sh:9443", "boxd.sh:9443"),
        ("HTTPS://boxd.sh", "https://boxd.sh", "boxd.sh"),
        ("http://[::1]:80", "http://[::1]", "[::1]"),
        ("https://[2001:db8::1]:9443", "https://[2001:db8::1]:9443", "[2001:db8::1]:9443"),
        ("https://b\u00fccher.example", "https://xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("unix:/run/s", "unix:/run/s", "localhost"),
        ("unix:///run/s", "unix:/run/s", "localhost"),
        ("unix:s", "unix:s", "localhost"),
    ],
)
def test_r64_targets(url: str, shown: str, authority: str) -> None:
    target = Target.parse(url)
    assert (str(target), target.authority) == (shown, authority)
    assert Target.parse(str(target)) == target


@pytest.mark.parametrize(
    "url",
    [
        "",
        "boxd.sh:1",
        "ftp://h:1",
        "http://",
        "http://h:0",
        "http://u@h",
        "http://h/p",
        "unix:",
        "unix://a",
        "http://::1",
    ],
)
def test_r64_targets_that_are_none(url: str) -> None:
    with pytest.raises(ValueError, match="target"):
        Target.parse(url)


@pytest.mark.anyio
async def test_r64_names_in_other_scripts(
    connect: Connect, authority: trustme.CA, files: Path, monkeypatch: Any
) -> None:
    """DNS, SNI, the certificate and `:authority` have the name in ASCII."""
    asked: list[str | None] = []
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("xn--bcher-kva.example").configure_cert(tls)
    tls.set_alpn_protocols(["h2"])
    tls.sni_callback = lambda connection, name, context: asked.append(name)
    async with FaultServer(serve_echo, tls=tls) as server:
        target = Target("https", "b\u00fccher.example", server.target.port)
        monkeypatch.setattr("boxd.transport.dial._connect", _to_loopback(monkeypatch))
        channel = connect(target, dial_options=DialOptions(ca=files / "ca.pem"))
        await still_fine(channel)
        sent = dict(server.peers[0].decoder.header_table.dynamic_entries)
    assert asked == ["xn--bcher-kva.example"]
    assert sent[b":authority"] == b"xn--bcher-kva.example:%d" % target.port


def _to_loopback(monkeypatch: Any) -> Callable[[Target], Any]:
    from boxd.transport import dial

    real = dial._connect

    async def connect(target: Target) -> Any:
        assert target.host == "xn--bcher-kva.example"
        return await real(Target("http", "127.0.0.1", target.port))

    return connect
