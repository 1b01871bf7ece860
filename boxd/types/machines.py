"""What lifecycle calls tell."""

from __future__ import annotations

from dataclasses import dataclass


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
