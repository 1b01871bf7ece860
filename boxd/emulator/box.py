"""One box: what it is made as, and where it stands."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from .console import Console
from .errors import Code, EmulatorError
from .options import GIB, Options
from .sandbox import Limits, Machine
from .store import Record

PENDING, STARTING, RUNNING, SUSPENDED = "pending", "starting", "running", "suspended"
HIBERNATED, STOPPED, FAILED, DESTROYED = "hibernated", "stopped", "failed", "destroyed"
FROZEN = (SUSPENDED, HIBERNATED)

LARGEST_VCPU = 8
LARGEST_MEMORY = 32 * GIB
LARGEST_DISK = 100 * GIB


@dataclass(frozen=True)
class Spec:
    """What a box is made as. Zero and empty fields mean the default. Sizes are in bytes, times in seconds."""

    image: str = ""
    vcpu: int = 0
    memory_bytes: int = 0
    disk_bytes: int = 0
    env: Mapping[str, str] = field(default_factory=dict)
    command: Sequence[str] = ()
    restart_policy: str = ""
    auto_suspend_seconds: int | None = None
    auto_hibernate_seconds: int | None = None
    auto_destroy_seconds: int = 0
    delete_at: float = 0.0
    """When it is to be destroyed, in Unix seconds; 0 for never."""
    delete_cron: str = ""
    """The cron expression that `delete_at` comes from, if any."""
    labels: Mapping[str, str] = field(default_factory=dict)
    networks: Sequence[str] = ()
    egress_allow: Sequence[str] = ()
    source: tuple[str, str, int, str] = ("", "", 0, "")
    """What its files were first: kind, name, version and id."""
    org: str = ""
    shared: bool = False


@dataclass(eq=False)
class Box:
    """One box. `name` is free again when it is destroyed; the record stays as a tombstone."""

    id: str
    name: str
    spec: Spec
    status: str = PENDING
    forked_from: str = ""
    created_at: float = field(default_factory=time.time)
    boot_time_ms: int = 0
    hibernated_at: float = 0.0
    last_used: float = field(default_factory=time.time)
    """When a command, a transfer or a connection last had to do with it, in Unix seconds."""
    users: int = 0
    """Commands, transfers and connections under way."""
    machine: Machine | None = None
    console: Console = field(default_factory=Console)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)


SetUp = Callable[[Box], None]
"""Gives a new box what it has beside its machine, before it boots. Raises `EmulatorError`."""


@dataclass
class BoxRecord(Record):
    """A box, as it is remembered."""

    name: str = ""
    status: str = STOPPED
    forked_from: str = ""
    created_at: float = 0.0
    boot_time_ms: int = 0
    spec: dict[str, Any] = field(default_factory=dict)


def remember(box: Box) -> BoxRecord:
    """What is to be kept of a box."""
    return BoxRecord(box.id, box.name, box.status, box.forked_from, box.created_at, box.boot_time_ms, asdict(box.spec))


def recall(record: BoxRecord) -> Box:
    """The box of a record, as after a power cut: no machine, and its memory gone."""
    known = {one.name for one in fields(Spec)}
    values = {name: value for name, value in record.spec.items() if name in known}
    values["source"] = tuple(values.get("source", ("", "", 0, "")))
    status = record.status if record.status in (DESTROYED, FAILED) else STOPPED
    return Box(
        record.id,
        record.name,
        Spec(**values),
        status,
        record.forked_from,
        record.created_at,
        record.boot_time_ms,
    )


def merge_specs(base: Spec, over: Spec) -> Spec:
    """A fork's spec: the source's, with what the caller gave in its place."""

    def either(over: int | None, base: int | None) -> int | None:
        return base if over is None else over

    return Spec(
        image=over.image or base.image,
        vcpu=over.vcpu or base.vcpu,
        memory_bytes=over.memory_bytes or base.memory_bytes,
        disk_bytes=over.disk_bytes or base.disk_bytes,
        env={**base.env, **over.env},
        command=over.command or base.command,
        restart_policy=over.restart_policy or base.restart_policy,
        auto_suspend_seconds=either(over.auto_suspend_seconds, base.auto_suspend_seconds),
        auto_hibernate_seconds=either(over.auto_hibernate_seconds, base.auto_hibernate_seconds),
        auto_destroy_seconds=over.auto_destroy_seconds or base.auto_destroy_seconds,
        labels={**base.labels, **over.labels},
        networks=over.networks or base.networks,
        egress_allow=over.egress_allow or base.egress_allow,
        source=over.source if over.source[0] else base.source,
        org=base.org,
        shared=over.shared,
    )


def limits_of(spec: Spec, options: Options) -> Limits:
    """What a box of this spec may use."""
    return Limits(spec.memory_bytes or Limits.memory_bytes, options.box_processes)


def check_spec(spec: Spec) -> None:
    """Refuse sizes above the platform's (RESOURCE_EXHAUSTED) and other bad values (INVALID_ARGUMENT)."""
    for what, value, most in (
        ("vCPUs", spec.vcpu, LARGEST_VCPU),
        ("bytes of memory", spec.memory_bytes, LARGEST_MEMORY),
        ("bytes of disk", spec.disk_bytes, LARGEST_DISK),
    ):
        if value > most:
            raise EmulatorError(Code.RESOURCE_EXHAUSTED, f"{value} {what} is more than the limit of {most}")
    if spec.restart_policy not in ("", "always", "never"):
        raise EmulatorError(
            Code.INVALID_ARGUMENT, f"restart_policy {spec.restart_policy!r} is neither 'always' nor 'never'"
        )
    for name, text in spec.env.items():
        if not name or "=" in name or "\0" in name + text:
            raise EmulatorError(Code.INVALID_ARGUMENT, f"{name!r} is no environment variable")
    for name, text in spec.labels.items():
        if not name or len(name) > 63 or len(text) > 255 or not (name + text).isprintable():
            raise EmulatorError(Code.INVALID_ARGUMENT, f"{name!r}={text!r} is no label")
