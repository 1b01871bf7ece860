"""How machines are reached: domains, networks, ports."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Domain:
    """A host name of the user's own that leads to a machine."""

    domain: str
    """The host name."""
    vm_id: str
    """The machine's id."""
    status: str | None = None
    """`pending` until the service has seen its DNS record, then `active`; None from older servers."""
    last_error: str | None = None
    """What is wrong with it; empty where nothing is, None from older servers."""


@dataclass(frozen=True)
class Network:
    """A private network between machines."""

    id: str
    """Its id."""
    subnet: str | None = None
    """Its addresses, as in `10.1.0.0/24`; None where it was just created."""
    status: str | None = None
    """The word that the service uses; None where it was just created."""


@dataclass(frozen=True)
class ExposedPort:
    """A TCP or UDP port of a machine that can be reached from everywhere."""

    vm_name: str
    """The machine's name."""
    host: str
    """The host name to connect to."""
    public_port: int
    """The port to connect to."""
    port: int
    """The port in the machine."""
    protocol: str
    """`tcp` or `udp`."""


@dataclass(frozen=True)
class Proxy:
    """A name on the web that leads to a port of a machine."""

    name: str
    """The proxy's name; empty for the machine's default proxy."""
    vm_name: str
    """The machine's name."""
    domain: str
    """The full host name."""
    port: int
    """The port in the machine."""
    is_default: bool
    """Whether it is the machine's default proxy, the one without a label of its own."""
