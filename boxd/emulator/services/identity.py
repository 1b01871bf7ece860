"""Who calls, and what the service says about itself."""

from __future__ import annotations

from boxd import messages as pb

from .base import Context, Handlers


class Identity(Handlers):
    """Whoami, GetConfig and ListOrgs."""

    async def whoami(self, request: pb.WhoamiRequest, context: Context) -> pb.WhoamiResponse:
        return pb.WhoamiResponse(
            user_id=context.user_id,
            pubkey_fingerprints=["SHA256:" + "0" * 43],
            default_network_id="net-local",
            display_name=context.user_id,
        )

    async def get_config(self, request: pb.GetConfigRequest, context: Context) -> pb.GetConfigResponse:
        return pb.GetConfigResponse(default_image=self._options.default_image, zone=self._plane.proxies.zone)

    async def list_orgs(self, request: pb.ListOrgsRequest, context: Context) -> pb.ListOrgsResponse:
        orgs = [pb.OrgSummary(id=f"org-{name}", name=name, is_admin=True, slug=name) for name in self._options.orgs]
        return pb.ListOrgsResponse(orgs=orgs)
