"""What machines are made from and what they keep: templates, snapshots, checkpoints, backups, disks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Template:
    """An image and a configuration, frozen together. Machines are made from it."""

    id: str
    """Its id."""
    name: str
    """Its name."""
    image: str
    """The image that its machines are made from."""
    status: str
    """`ready`, or another word that the service uses."""
    vcpu: int
    """The number of virtual CPUs of its machines; 0 for the service's default."""
    memory_bytes: int
    """The size of their memory; 0 for the service's default."""


@dataclass(frozen=True)
class DiskAttachment:
    """Where a disk is attached."""

    vm_id: str
    """The machine's id."""
    vm_name: str
    """The machine's name."""
    mount_path: str
    """The directory in the machine."""
    mount_mode: str
    """`ro` or `rw`."""


@dataclass(frozen=True)
class Snapshot:
    """A machine's disk under a name, to make machines from. Taking one of a name that exists makes a new version."""

    id: str
    """Its id."""
    name: str
    """Its name, unique in its organization."""
    version: int
    """Its version, counted from 1."""
    status: str
    """`ready`, or another word that the service uses: one that was just taken may still be written."""
    size_bytes: int | None = None
    """Its size; None where it was just taken, as with all that follows."""
    vcpu: int | None = None
    """The number of virtual CPUs of the machine it was taken of."""
    memory_bytes: int | None = None
    """The size of that machine's memory."""
    created_at: int | None = None
    """When its first version was taken, in seconds since 1970."""
    updated_at: int | None = None
    """When its latest version was taken, in seconds since 1970."""
    use_count: int | None = None
    """How many machines were made from it."""
    failure_reason: str = ""
    """Why the latest attempt to take it failed; empty where it did not."""


@dataclass(frozen=True)
class Checkpoint:
    """A state of one machine that it can be put back to."""

    id: str
    """Its id."""
    name: str
    """Its name, unique in the machine."""
    status: str
    """`ready`, or another word that the service uses."""
    size_bytes: int | None = None
    """Its size; None where it was just made, as with all that follows."""
    created_at: int | None = None
    """When it was made, in seconds since 1970."""
    created_by: str | None = None
    """Who made it."""
    available: bool | None = None
    """Whether the machine can be put back to it now."""


@dataclass(frozen=True)
class Backup:
    """A copy of a machine's disk that the service keeps apart from it."""

    id: str
    """Its id."""
    status: str
    """The word that the service uses."""
    size_bytes: int
    """Its size."""
    created_at: int
    """When it was made, in seconds since 1970."""
    expires_at: int
    """When it will be deleted, in seconds since 1970; 0 for never."""


@dataclass(frozen=True)
class BackupSchedule:
    """When backups of a machine are made."""

    enabled: bool
    """Whether they are."""
    kind: str
    """The kind of schedule, in the service's words."""
    value: str
    """The schedule itself, in the form that belongs to its kind."""
    retention_secs: int
    """How long a backup is kept, in seconds."""
    next_backup_at: int
    """When the next is due, in seconds since 1970; 0 for never."""
    last_backup_at: int
    """When the last was made, in seconds since 1970; 0 for never."""
