"""What can be set when an emulator is started."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

MIB = 1024 * 1024
GIB = 1024 * MIB


@dataclass(frozen=True)
class Options:
    """The emulator's settings; the defaults behave as the public service is described."""

    host: str = "127.0.0.1"
    """Address to listen on. Anything but a loopback address lets the network run commands on this machine."""
    port: int = 0
    """Port of the gRPC endpoint; 0 takes a free one."""
    exchange_port: int = 0
    """Port of the token exchange; 0 takes a free one."""
    tls_cert: str = ""
    """File of a certificate chain in PEM; with it, the gRPC endpoint is also served over TLS, on `tls_port`."""
    tls_key: str = ""
    """File of the certificate's key; empty: it is in `tls_cert`."""
    tls_port: int = 0
    """Port of the endpoint over TLS; 0 takes a free one."""
    proxy_port: int = 0
    """Port of the HTTP server for the boxes' pages, `http://NAME.localhost:PORT`; 0 takes a free one."""
    state: str | None = None
    """Directory of the boxes' disks; None: a temporary one, removed at the end."""
    sandbox: str = "auto"
    """`auto`, `namespaces` or `plain`."""
    network: str = "auto"
    """`isolated`: a network for each box, without a way out; `host`: the host's for all; `auto`: isolated where the
    kernel allows it."""
    sudo: bool = True
    """Whether a box's user can become its root with `sudo`, as on the real service."""
    api_key: str = field(default_factory=lambda: "bxd_" + secrets.token_hex(20), repr=False)
    """The key that the token exchange accepts."""
    user_id: str = "local-user"
    """The user that the key and the tokens belong to."""
    orgs: tuple[str, ...] = ("local",)
    """Names of the organizations that the user is in."""
    zone: str = ""
    """The domain of the boxes' URLs; empty: `localhost:PORT` with the port at which their pages really are."""
    default_image: str = "ubuntu:latest"
    """The image of a box that names none. Whatever the image, a box shows the host's files."""
    max_boxes: int = 10
    """Boxes at once; beyond it, creation is RESOURCE_EXHAUSTED."""
    auto_hibernate_seconds: int = 4 * 3600
    """Seconds of idleness after which a box is hibernated that sets nothing itself; 0 for never."""
    box_processes: int = 4096
    """Processes that a box may have, where the kernel lets us limit them."""
    transfer_limit: int = 100 * MIB
    """Largest file of an upload or a unary download, in bytes."""
    token_seconds: int = 3600
    """Life of a token from the exchange."""
    exchange_requests: int = 30
    """Token exchanges that one source address may make per `exchange_window`."""
    exchange_window: float = 60.0
    """Seconds over which exchanges are counted."""
    kill_grace: float = 2.0
    """Seconds between SIGTERM and SIGKILL for the command of a cancelled exec."""
    faults: tuple[str, ...] = ()
    """What goes wrong from the start, as `boxd.emulator.faults.parse` reads it, such as `Exec:unavailable:times=2`."""
    generation: int = 2
    """2: the newer API; 1: its additions answer UNIMPLEMENTED, as an old server does."""
    older_rpcs: bool = True
    """Whether the RPCs are there that the newer API has dropped: templates, and the older ones of domains."""
    get_by_name: bool = True
    """GetVm takes a name too; False: ids only, as an old server does."""
    sdk_latest: str = ""
    """Value of the header `x-boxd-py-sdk-latest` on every response; empty: no such header."""

    def __post_init__(self) -> None:
        for port in (self.port, self.exchange_port, self.proxy_port, self.tls_port):
            if not 0 <= port <= 65535:
                raise ValueError(f"the port {port} is not in 0..65535")
        if self.sandbox not in ("auto", "namespaces", "plain"):
            raise ValueError(f"sandbox {self.sandbox!r} is not 'auto', 'namespaces' or 'plain'")
        if self.network not in ("auto", "isolated", "host"):
            raise ValueError(f"network {self.network!r} is not 'auto', 'isolated' or 'host'")
        if self.generation not in (1, 2):
            raise ValueError(f"generation {self.generation!r} is not 1 or 2")
