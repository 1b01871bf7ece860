"""All handlers of the emulator, independent of the gRPC library that carries them."""

from __future__ import annotations

from .generations import NEWER, OLDER
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
        if (rpc in NEWER and self._options.generation < 2) or (rpc in OLDER and not self._options.older_rpcs):
            return False
        return hasattr(self, snake_case(rpc))


def snake_case(rpc: str) -> str:
    """`DownloadFileStream` as `download_file_stream`."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in rpc).lstrip("_")
