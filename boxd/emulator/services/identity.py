"""Who calls, and what the service says about itself."""

from __future__ import annotations

from boxd import messages as pb

from ..account import DEFAULT_NETWORK
from .base import Context, Handlers


class Identity(Handlers):
    """Whoami and GetConfig."""

    async def whoami(self, request: pb.WhoamiRequest, context: Context) -> pb.WhoamiResponse:
        return pb.WhoamiResponse(
            user_id=context.user_id,
            pubkey_fingerprints=[one.id for one in self._account.ssh_keys] or ["SHA256:" + "0" * 43],
            default_network_id=DEFAULT_NETWORK,
            display_name=context.user_id,
        )

    async def get_config(self, request: pb.GetConfigRequest, context: Context) -> pb.GetConfigResponse:
        return pb.GetConfigResponse(default_image=self._options.default_image, zone=self._plane.proxies.zone)
