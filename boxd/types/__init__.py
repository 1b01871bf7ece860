"""The plain values that go into calls and come out of them.

What a caller fills in (`BoxConfig` and its parts) can be changed after it is made, so that one configuration can be
varied from machine to machine. What a call returns is frozen: it is a record of what the service said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

if TYPE_CHECKING:
    # A default needs no package at run time this way; with it, a plain `ExecResult` means `ExecResult[str]`.
    from typing_extensions import TypeVar

    Output = TypeVar("Output", str, bytes, default=str)
else:
    from typing import TypeVar

    Output = TypeVar("Output", str, bytes)


# Characters of a command's last line of errors that stand in the message of an `ExecError`.
_SHOWN = 200


@dataclass(frozen=True)
class ExecResult(Generic[Output]):
    """What a command that ran to its end left behind."""

    stdout: Output
    """Everything it wrote to standard output: text, or bytes with `text=False`. Under a PTY, all of its output."""
    stderr: Output
    """Everything it wrote to standard error; empty under a PTY, which has one output only."""
    exit_code: int
    """Its exit status; 0 is success by convention."""

    @property
    def success(self) -> bool:
        """True if the exit status is 0."""
        return self.exit_code == 0

    @property
    def signal(self) -> int | None:
        """The number of the signal that ended the command, None where none did. Read from the exit status, as shells
        tell it: 128 + the number. A program may also exit with such a status by itself; nothing tells these apart."""
        number = self.exit_code - 128
        return number if 0 < number < 65 else None

    def check(self) -> ExecResult[Output]:
        """Return this result if the exit status is 0; raises `ExecError`, which has it in `result`, otherwise."""
        if self.exit_code == 0:
            return self
        from boxd.errors import ExecError

        how = f"exit status {self.exit_code}"
        if self.signal is not None:
            how += f", as after signal {self.signal}"
        lines = (self.stderr if isinstance(self.stderr, str) else self.stderr.decode("utf-8", "replace")).split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        error = ExecError(f"the command ended with {how}" + (f": {last[:_SHOWN]}" if last else ""))
        error.result, error.stdout, error.stderr = self, self.stdout, self.stderr
        raise error


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


@dataclass(frozen=True)
class SuspendResult:
    """How a suspend went."""

    suspend_us: int
    """How long it took, in microseconds."""


@dataclass(frozen=True)
class ResumeResult:
    """How a resume went."""

    resume_us: int
    """How long it took, in microseconds."""


@dataclass(frozen=True)
class ResizeResult:
    """How a resize went."""

    vcpu: int
    """The number of virtual CPUs now."""
    memory_bytes: int
    """The size of the memory now."""
    rebooted: bool
    """Whether the machine was rebooted for it."""


@dataclass(frozen=True)
class OrgSummary:
    """An organization that the caller belongs to."""

    id: str
    """Its id, as `org` arguments take it."""
    name: str
    """Its name, for people."""
    is_admin: bool
    """Whether the caller administers it."""


@dataclass(frozen=True)
class WhoamiResult:
    """Who the caller is."""

    user_id: str
    """The user's id."""
    fingerprints: list[str]
    """Fingerprints of the user's SSH keys."""
    default_network_id: str
    """The network that machines join by default."""


@dataclass(frozen=True)
class ConfigResult:
    """What the service says about itself."""

    default_image: str
    """The image of machines that ask for none."""
    zone: str
    """The DNS zone of the machines' names."""


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
