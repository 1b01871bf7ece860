"""What a machine is to be: sizes, environment, timers, network and volumes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class LifecycleConfig:
    """Timers of a machine. Giving one of these sends both values: 0 switches a timer off."""

    auto_suspend_timeout: int = 0
    """Seconds without network traffic after which the machine is suspended; 0 never suspends it."""
    auto_destroy_timeout: int = 0
    """Seconds after which the machine is destroyed, counted from its creation; 0 never destroys it."""


@dataclass
class ProxyEntry:
    """A proxy to set up together with a machine."""

    name: str
    """The first label of its host name."""
    port: int = 0
    """The port in the machine; 0 for the service's default."""


@dataclass
class NetworkConfig:
    """How a machine can be reached."""

    ssh: bool = True
    """Whether SSH is on."""
    proxies: list[ProxyEntry] | None = None
    """Proxies to set up beside the default one."""


@dataclass
class VolumeMount:
    """A disk to mount in a machine from its start."""

    disk_id: str
    """The id of the disk."""
    mount_path: str
    """The directory to mount it at."""
    read_only: bool = False
    """Whether the machine may only read it."""


@dataclass
class BoxConfig:
    """What a new machine is to be like. A zero, an empty string and None stand for the service's default and are not
    sent."""

    vcpu: int = 0
    """Number of virtual CPUs."""
    memory: str | int = ""
    """Size of the memory: `"8G"`, or an int of bytes. See `boxd.sizes.parse_size`."""
    disk: str | int = ""
    """Size of the root disk, written in the same way."""
    env: dict[str, str] | None = None
    """Environment variables of the machine. Only a new machine takes them: a fork has those of its source."""
    cmd: list[str] | None = None
    """The command to start with the machine. Only a new machine takes it."""
    restart_policy: str = "always"
    """`"always"` or `"never"`: whether a machine that stopped by itself is started again. Only a new machine takes
    it."""
    lifecycle: LifecycleConfig | None = None
    """Timers."""
    network: NetworkConfig | None = None
    """Network access."""
    volumes: list[VolumeMount] | None = None
    """Disks to mount."""
