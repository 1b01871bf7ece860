"""The async surface of `boxd`, for asyncio and trio. The same names as in `boxd`, with `await` and `async with`. They
are imported when they are first used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from boxd._version import __version__

if TYPE_CHECKING:
    from boxd.client import Compute
    from boxd.errors import (
        AuthenticationError,
        BoxdError,
        BoxStoppedError,
        ConnectionError,
        ExecError,
        ExitUnknownError,
        FileTooLargeError,
        InternalError,
        InvalidArgumentError,
        NotFoundError,
        QuotaExceededError,
        TimeoutError,
        UnsupportedError,
        WrongLoopError,
    )
    from boxd.options import HTTPOptions
    from boxd.resources.api_keys import ApiKeyService
    from boxd.resources.backups import BackupService
    from boxd.resources.billing import BillingService
    from boxd.resources.box import Box
    from boxd.resources.boxes import BoxService
    from boxd.resources.checkpoints import CheckpointService
    from boxd.resources.disks import DiskHandle, DiskService
    from boxd.resources.domains import DomainService
    from boxd.resources.filesystem import FileService
    from boxd.resources.logs import LogStream
    from boxd.resources.networks import NetworkService
    from boxd.resources.orgs import OrgService
    from boxd.resources.ports import PortService
    from boxd.resources.process import ExecProcess, OutputReader, StreamReader, StreamWriter
    from boxd.resources.snapshots import SnapshotService
    from boxd.resources.templates import TemplateService
    from boxd.resources.tokens import TokenService
    from boxd.resources.variables import EnvService, SecretService
    from boxd.transport.options import RetryPolicy
    from boxd.types.account import ApiKey, ApiKeyInfo, EnvVariable, OrgInvite, OrgMember, Secret, Token, TokenInfo
    from boxd.types.billing import (
        Billing,
        BillingActivity,
        BillingActivityPage,
        OrgBilledVm,
        OrgBilling,
        Plan,
        UsageRates,
        UsageReport,
        VmUsage,
    )
    from boxd.types.config import BoxConfig, LifecycleConfig, NetworkConfig, ProxyEntry, VolumeMount
    from boxd.types.exec import ExecResult
    from boxd.types.files import FileInfo, FileList
    from boxd.types.identity import ConfigResult, OrgSummary, WhoamiResult
    from boxd.types.machines import ResizeResult, ResumeResult, SuspendResult
    from boxd.types.networking import Domain, ExposedPort, Network, Proxy
    from boxd.types.storage import Backup, BackupSchedule, Checkpoint, DiskAttachment, Snapshot, Template

__all__ = [  # noqa: RUF022  Grouped by subject.
    "__version__",
    # The client and its services.
    "Compute",
    "HTTPOptions",
    "RetryPolicy",
    "BoxService",
    "TemplateService",
    "SnapshotService",
    "DiskService",
    "DomainService",
    "NetworkService",
    "TokenService",
    "ApiKeyService",
    "EnvService",
    "SecretService",
    "OrgService",
    "BillingService",
    # Machines, and what belongs to one.
    "Box",
    "FileService",
    "BackupService",
    "CheckpointService",
    "PortService",
    "DiskHandle",
    # Running commands and logs.
    "ExecProcess",
    "ExecResult",
    "LogStream",
    "OutputReader",
    "StreamReader",
    "StreamWriter",
    # What calls take.
    "BoxConfig",
    "LifecycleConfig",
    "NetworkConfig",
    "ProxyEntry",
    "VolumeMount",
    # What calls return.
    "ConfigResult",
    "OrgSummary",
    "Proxy",
    "ResizeResult",
    "ResumeResult",
    "SuspendResult",
    "WhoamiResult",
    "Backup",
    "BackupSchedule",
    "Checkpoint",
    "DiskAttachment",
    "Snapshot",
    "Template",
    "FileInfo",
    "FileList",
    "Domain",
    "ExposedPort",
    "Network",
    "ApiKey",
    "ApiKeyInfo",
    "EnvVariable",
    "OrgInvite",
    "OrgMember",
    "Secret",
    "Token",
    "TokenInfo",
    "Billing",
    "BillingActivity",
    "BillingActivityPage",
    "OrgBilledVm",
    "OrgBilling",
    "Plan",
    "UsageRates",
    "UsageReport",
    "VmUsage",
    # Errors.
    "AuthenticationError",
    "BoxdError",
    "BoxStoppedError",
    "ConnectionError",
    "ExecError",
    "ExitUnknownError",
    "FileTooLargeError",
    "InternalError",
    "InvalidArgumentError",
    "NotFoundError",
    "QuotaExceededError",
    "TimeoutError",
    "UnsupportedError",
    "WrongLoopError",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module 'boxd.aio' has no attribute {name!r}")
    from boxd._names import HOMES

    value = getattr(import_module(HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__]
