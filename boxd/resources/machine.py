"""What is known of a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from boxd.messages.vm import GetVmResponse
from boxd.messages.vm_fork import ForkVmResponse

if TYPE_CHECKING:
    from boxd.messages.template import CreateVmFromTemplateResponse
    from boxd.messages.vm import CreateVmResponse
    from boxd.resources._base import Session


class Machine:
    """The fields of a machine, as the service last told them."""

    def __init__(
        self,
        session: Session,
        record: CreateVmResponse | CreateVmFromTemplateResponse | ForkVmResponse | GetVmResponse,
        *,
        full: bool,
        image: str = "",
    ) -> None:
        """`full` tells an answer to GetVm from an entry of ListVms, which has the same type and fewer fields. `image`
        is for the one answer that does not have it, that to CreateVmFromTemplate."""
        self._session = session
        self._id = record.vm_id
        self._name = record.name
        self._public_ip = record.public_ip
        self._status = record.status
        self._url: str | None = None
        self._boot_time_ms: int | None = None
        self._forked_from: str | None = None
        self._restart_policy: str | None = None
        self._disk_bytes: int | None = None
        self._auto_suspend_timeout_secs: int | None = None
        self._auto_hibernate_timeout_secs: int | None = None
        self._ssh_port: int | None = None
        self._vcpu: int | None = None
        self._memory_bytes: int | None = None
        self._created_at: int | None = None
        self._delete_at_ms: int | None = None
        self._labels: dict[str, str] | None = None
        if isinstance(record, GetVmResponse):
            self._image = record.image_ref
            self._labels = {**record.labels}
            if full:
                self._fill(record)
        else:
            self._image = getattr(record, "image", image)
            self._url = record.url
            self._boot_time_ms = record.boot_time_ms
            if isinstance(record, ForkVmResponse):
                self._forked_from = record.forked_from

    def _fill(self, record: GetVmResponse) -> None:
        """What only GetVm tells. A zero stands for what is not known where it cannot be a value."""
        self._restart_policy = record.restart_policy
        self._disk_bytes = record.disk_bytes
        self._auto_suspend_timeout_secs = record.auto_suspend_timeout_secs
        self._auto_hibernate_timeout_secs = record.auto_hibernate_timeout_secs
        self._ssh_port = record.ssh_port or None
        self._vcpu = record.vcpu or None
        self._memory_bytes = record.memory_bytes or None
        self._created_at = record.created_at or None
        self._delete_at_ms = record.delete_at_ms or None

    @property
    def id(self) -> str:
        """The machine's id. Never changes."""
        return self._id

    @property
    def name(self) -> str:
        """The machine's name, unique among its owner's."""
        return self._name

    @property
    def image(self) -> str:
        """The image it was made from."""
        return self._image

    @property
    def public_ip(self) -> str:
        """Its public IP address."""
        return self._public_ip

    @property
    def status(self) -> str:
        """Its status as last known: `pending`, `starting`, `running`, `suspended`, `stopped`, `failed`,
        `destroyed`, or another word that the service uses."""
        return self._status

    @property
    def url(self) -> str | None:
        """Where it answers on the web, as the service gives it; known after `create` and `fork`. The form
        `https://NAME.boxd.sh` is stable."""
        return self._url

    @property
    def boot_time_ms(self) -> int | None:
        """How long it took to start, in milliseconds; known after `create` and `fork`."""
        return self._boot_time_ms

    @property
    def forked_from(self) -> str | None:
        """The machine it was copied from; known after `fork`."""
        return self._forked_from

    @property
    def restart_policy(self) -> str | None:
        """`always` or `never`; known after `get`."""
        return self._restart_policy

    @property
    def disk_bytes(self) -> int | None:
        """The size of its disk in bytes; known after `get`."""
        return self._disk_bytes

    @property
    def auto_suspend_timeout_secs(self) -> int | None:
        """Seconds without traffic after which it is suspended, 0 for never; known after `get`."""
        return self._auto_suspend_timeout_secs

    @property
    def ssh_port(self) -> int | None:
        """Its public SSH port; known after `get`, once it is allocated."""
        return self._ssh_port

    @property
    def auto_hibernate_timeout_secs(self) -> int | None:
        """Seconds without traffic after which it is hibernated, 0 for never; known after `get`. Older servers do not
        tell, which is a 0 too."""
        return self._auto_hibernate_timeout_secs

    @property
    def vcpu(self) -> int | None:
        """Its number of virtual CPUs; known after `get` and `resize`, from newer servers."""
        return self._vcpu

    @property
    def memory_bytes(self) -> int | None:
        """The size of its memory in bytes; known after `get` and `resize`, from newer servers."""
        return self._memory_bytes

    @property
    def created_at(self) -> int | None:
        """When it was made, in seconds since 1970; known after `get`, from newer servers."""
        return self._created_at

    @property
    def delete_at_ms(self) -> int | None:
        """When it is to be destroyed, in milliseconds since 1970; known after `get` and `delete_after`. None where no
        time is set."""
        return self._delete_at_ms

    @property
    def labels(self) -> dict[str, str] | None:
        """Its labels, as a copy; known after `get`, `list` and `update_labels`. Servers without labels give none."""
        return None if self._labels is None else {**self._labels}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Machine) and other._id == self._id

    def __hash__(self) -> int:
        return hash(self._id)

    def __repr__(self) -> str:
        return f"<Box {self._name!r} id={self._id!r} status={self._status!r}>"
