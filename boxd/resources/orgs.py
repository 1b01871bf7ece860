"""`c.org`: organizations and who belongs to them."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING

from boxd import methods
from boxd.messages import org as pb
from boxd.resources._service import Service
from boxd.types.account import OrgInvite, OrgMember
from boxd.types.identity import OrgSummary

if TYPE_CHECKING:
    from boxd.messages.org_member import GetOrgMembersResponse
    from boxd.resources._base import Session


async def list_orgs(session: Session) -> list[OrgSummary]:
    """The organizations that the caller belongs to."""
    response = await session.unary(methods.ListOrgs, pb.ListOrgsRequest())
    return [OrgSummary(id=org.id, name=org.name, is_admin=org.is_admin) for org in response.orgs]


class OrgService(Service):
    """Organizations. All but `list` is of newer servers; older ones answer with `UnsupportedError`.

    `org_id` is an organization's id, as `list` gives it.
    """

    async def list(self) -> builtins.list[OrgSummary]:
        """The organizations that the caller belongs to. RPC: ListOrgs."""
        return await list_orgs(self._session)

    async def create(self, name: str) -> OrgSummary:
        """Make an organization; the caller administers it. Raises `InvalidArgumentError` for a bad or taken name.
        RPC: CreateOrg."""
        made = await self._session.unary(methods.CreateOrg, pb.CreateOrgRequest(name=name))
        return OrgSummary(id=made.id, name=made.name, is_admin=True)

    async def rename(self, org_id: str, name: str) -> None:
        """Give an organization another name. Raises `NotFoundError`, and `InvalidArgumentError` for a bad or taken
        name. RPC: RenameOrg."""
        await self._session.unary(methods.RenameOrg, pb.RenameOrgRequest(org_id=org_id, name=name))

    async def members(self, org_id: str) -> builtins.list[OrgMember]:
        """The members. Raises `NotFoundError`. RPC: GetOrgMembers."""
        response = await self._people(org_id)
        return [
            OrgMember(
                user_id=one.user_id,
                role=one.role,
                display_name=one.display_name,
                github_username=one.github_username,
            )
            for one in response.members
        ]

    async def invites(self, org_id: str) -> builtins.list[OrgInvite]:
        """The invitations that are open. Raises `NotFoundError`. RPC: GetOrgMembers."""
        response = await self._people(org_id)
        return [
            OrgInvite(
                email=one.email,
                role=one.role,
                token=one.token,
                accept_url=one.accept_url,
                created_at=one.created_at,
                expires_at=one.expires_at,
            )
            for one in response.invites
        ]

    async def invite(self, org_id: str, email: str, role: str = "") -> OrgInvite:
        """Invite somebody, with a role (empty: the service's default). Raises `NotFoundError`, `AuthenticationError`
        for those who do not administer it, and `InvalidArgumentError`. RPC: InviteOrgMember."""
        from boxd.messages.org_member import InviteOrgMemberRequest

        request = InviteOrgMemberRequest(org_id=org_id, email=email, role=role)
        made = await self._session.unary(methods.InviteOrgMember, request)
        return OrgInvite(
            email=email,
            role=role,
            token=made.token,
            accept_url=made.accept_url,
            created_at=made.created_at,
            expires_at=made.expires_at,
        )

    async def revoke_invite(self, invite: OrgInvite | str) -> None:
        """Make an invitation void, given as such or by its token. Raises `NotFoundError`. RPC: RevokeOrgInvite."""
        from boxd.messages.org_member import RevokeOrgInviteRequest

        token = invite.token if isinstance(invite, OrgInvite) else invite
        await self._session.unary(methods.RevokeOrgInvite, RevokeOrgInviteRequest(token=token))

    async def set_member_role(self, org_id: str, user_id: str, role: str) -> None:
        """Give a member another role. Raises `NotFoundError`, and `InvalidArgumentError` for a role there is not.
        RPC: SetOrgMemberRole."""
        from boxd.messages.org_member import SetOrgMemberRoleRequest

        request = SetOrgMemberRoleRequest(org_id=org_id, user_id=user_id, role=role)
        await self._session.unary(methods.SetOrgMemberRole, request)

    async def remove_member(self, org_id: str, user_id: str) -> None:
        """Let a user no longer belong to it. Raises `NotFoundError`. RPC: RemoveOrgMember."""
        from boxd.messages.org_member import RemoveOrgMemberRequest

        request = RemoveOrgMemberRequest(org_id=org_id, user_id=user_id)
        await self._session.unary(methods.RemoveOrgMember, request)

    async def _people(self, org_id: str) -> GetOrgMembersResponse:
        from boxd.messages.org_member import GetOrgMembersRequest

        return await self._session.unary(methods.GetOrgMembers, GetOrgMembersRequest(org_id=org_id))
