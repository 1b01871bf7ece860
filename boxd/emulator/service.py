"""All handlers of the emulator, independent of the gRPC library that carries them."""

from __future__ import annotations

from .services.base import Context
from .services.billing import Billing
from .services.credentials import Credentials
from .services.identity import Identity
from .services.images import DiskImages
from .services.logs import Logs
from .services.names import Names
from .services.networking import Networking
from .services.organizations import Organizations
from .services.paths import Paths
from .services.settings import MachineSettings
from .services.storage import Storage
from .services.templates import Templates
from .services.variables import Variables

__all__ = ["Context", "Service", "snake_case"]

NEWER = frozenset(
    (
        "CreateOrg",
        "RenameOrg",
        "GetOrgMembers",
        "InviteOrgMember",
        "RevokeOrgInvite",
        "SetOrgMemberRole",
        "RemoveOrgMember",
        "AddCustomDomain",
        "RemoveCustomDomain",
        "ListCustomDomains",
        "SetVmNetworks",
        "SetVmEgressAllow",
        "GetVmUsage",
        "GetOrgUsage",
        "ListBillingActivity",
        "CreateCheckpoint",
        "CreateSnapshot",
        "CreateVmFromSnapshot",
        "DeleteBackup",
        "DeleteCheckpoint",
        "DeleteSnapshot",
        "DownloadFileStream",
        "ListDir",
        "Mkdir",
        "RenamePath",
        "CopyPath",
        "DeletePath",
        "GetSnapshot",
        "HibernateVm",
        "ListBackups",
        "ListCheckpoints",
        "ListSnapshots",
        "ResizeVm",
        "RestoreBackup",
        "RestoreCheckpoint",
        "SetDeleteAfter",
        "SuggestVmName",
        "TriggerBackup",
        "UpdateVmLabels",
        "WakeVm",
    )
)
"""RPCs that only a server of generation 2 has."""


class Service(
    Identity,
    DiskImages,
    MachineSettings,
    Paths,
    Networking,
    Logs,
    Storage,
    Billing,
    Credentials,
    Names,
    Organizations,
    Templates,
    Variables,
):
    """The handlers, named as their RPCs in snake case."""

    def implements(self, rpc: str) -> bool:
        """Whether this server has the RPC; the others answer UNIMPLEMENTED."""
        if rpc in NEWER and self._options.generation < 2:
            return False
        return hasattr(self, snake_case(rpc))


def snake_case(rpc: str) -> str:
    """`DownloadFileStream` as `download_file_stream`."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in rpc).lstrip("_")
