"""The Python SDK of boxd: Linux machines in milliseconds.

    from boxd import Compute

    with Compute() as c:
        box = c.box.create(name="hello")
        print(box.exec("uname", "-a").stdout)
        box.destroy()

This module has the blocking surface; `boxd.aio` has the same names for asyncio and trio. Names are imported when they
are first used, so that `import boxd` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from boxd._version import __version__

if TYPE_CHECKING:
    from boxd import aio as aio
    from boxd.blocking.api_keys import ApiKeyService
    from boxd.blocking.backups import BackupService
    from boxd.blocking.billing import BillingService
    from boxd.blocking.box import Box
    from boxd.blocking.boxes import BoxService
    from boxd.blocking.checkpoints import CheckpointService
    from boxd.blocking.client import Compute
    from boxd.blocking.disks import DiskHandle, DiskService
    from boxd.blocking.domains import DomainService
    from boxd.blocking.filesystem import FileService
    from boxd.blocking.logs import LogStream
    from boxd.blocking.networks import NetworkService
    from boxd.blocking.orgs import OrgService
    from boxd.blocking.ports import PortService
    from boxd.blocking.process import ExecProcess, OutputReader, StreamReader, StreamWriter
    from boxd.blocking.snapshots import SnapshotService
    from boxd.blocking.templates import TemplateService
    from boxd.blocking.tokens import TokenService
    from boxd.blocking.variables import EnvService, SecretService
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

    if name in ("aio", "emulator"):
        return import_module(f"boxd.{name}")
    if name not in __all__:
        raise AttributeError(f"module 'boxd' has no attribute {name!r}")
    from boxd._names import HOMES, twin

    value = getattr(import_module(twin(HOMES[name])), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "aio", "emulator"]
