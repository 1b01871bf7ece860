"""Organizations, their members and invitations."""

from __future__ import annotations

import secrets

from boxd import messages as pb

from ..account import Invite, Organization
from ..errors import Code, EmulatorError
from .base import Context, Handlers


class Organizations(Handlers):
    """The RPCs of organizations."""

    accept_at = ""
    """Where invitations are accepted: a URL, before their tokens."""

    def accept_invite(self, token: str) -> str | None:
        """Somebody follows the link of an invitation. Returns the new member's user id; None: the link is no good."""
        return self._account.accept_invite(token, self._boxes.clock())

    async def list_orgs(self, request: pb.ListOrgsRequest, context: Context) -> pb.ListOrgsResponse:
        orgs = [pb.OrgSummary(id=one.id, name=one.name, is_admin=True, slug=one.name) for one in self._account.orgs]
        return pb.ListOrgsResponse(orgs=orgs)

    async def create_org(self, request: pb.CreateOrgRequest, context: Context) -> pb.CreateOrgResponse:
        self._check_name(request.name)
        members = {context.user_id: "admin"}
        made = self._account.orgs.put(Organization(f"org-{secrets.token_hex(6)}", request.name, members))
        return pb.CreateOrgResponse(id=made.id, name=made.name)

    async def rename_org(self, request: pb.RenameOrgRequest, context: Context) -> pb.RenameOrgResponse:
        org = self._account.org(request.org_id)
        if request.name != org.name:
            self._check_name(request.name)
            old = self._account.rename(org, request.name)
            self._images.rename_org(old, org.name)
            for box in self._boxes.all():
                if box.spec.org == old:
                    self._boxes.change(box, org=org.name)
        return pb.RenameOrgResponse()

    async def set_org_context(self, request: pb.SetOrgContextRequest, context: Context) -> pb.SetOrgContextResponse:
        """Nothing is remembered: each call names its organization."""
        return pb.SetOrgContextResponse(org_id=self._org_id(self._org(request.org)))

    async def get_org_members(self, request: pb.GetOrgMembersRequest, context: Context) -> pb.GetOrgMembersResponse:
        org = self._account.org(request.org_id)
        members = [pb.OrgMemberInfo(user_id=user, role=role, display_name=user) for user, role in org.members.items()]
        invites = [self._invite(one) for one in self._account.open_invites(org.id, self._boxes.clock())]
        return pb.GetOrgMembersResponse(members=members, invites=invites)

    async def invite_org_member(
        self, request: pb.InviteOrgMemberRequest, context: Context
    ) -> pb.InviteOrgMemberResponse:
        org = self._account.org(request.org_id)
        if "@" not in request.email:
            raise EmulatorError(Code.INVALID_ARGUMENT, f"{request.email!r} is no address")
        role = _role(request.role or "member")
        made = Invite(secrets.token_urlsafe(18), org.id, request.email, role, int(self._boxes.clock()))
        info = self._invite(self._account.invites.put(made))
        return pb.InviteOrgMemberResponse(
            token=info.token, accept_url=info.accept_url, expires_at=info.expires_at, created_at=info.created_at
        )

    async def revoke_org_invite(
        self, request: pb.RevokeOrgInviteRequest, context: Context
    ) -> pb.RevokeOrgInviteResponse:
        if self._account.invites.get(request.token) is None:
            raise EmulatorError(Code.NOT_FOUND, "there is no such invitation")
        self._account.invites.remove(request.token)
        return pb.RevokeOrgInviteResponse()

    async def set_org_member_role(
        self, request: pb.SetOrgMemberRoleRequest, context: Context
    ) -> pb.SetOrgMemberRoleResponse:
        org = self._member(request.org_id, request.user_id)
        role = _role(request.role)
        if role != "admin":
            _keep_an_admin(org, request.user_id)
        org.members[request.user_id] = role
        self._account.orgs.put(org)
        return pb.SetOrgMemberRoleResponse()

    async def remove_org_member(
        self, request: pb.RemoveOrgMemberRequest, context: Context
    ) -> pb.RemoveOrgMemberResponse:
        org = self._member(request.org_id, request.user_id)
        _keep_an_admin(org, request.user_id)
        del org.members[request.user_id]
        self._account.orgs.put(org)
        return pb.RemoveOrgMemberResponse()

    def _invite(self, invite: Invite) -> pb.OrgInviteInfo:
        return pb.OrgInviteInfo(
            token=invite.id,
            email=invite.email,
            accept_url=self.accept_at + invite.id,
            created_at=invite.created_at,
            expires_at=invite.expires_at,
            role=invite.role,
        )

    def _member(self, org_id: str, user_id: str) -> Organization:
        org = self._account.org(org_id)
        if user_id not in org.members:
            raise EmulatorError(Code.NOT_FOUND, f"{user_id!r} is no member of {org.name}")
        return org

    def _check_name(self, name: str) -> None:
        if not name or len(name) > 63 or not name.isprintable():
            raise EmulatorError(Code.INVALID_ARGUMENT, f"{name!r} is no name for an organization")
        if any(one.name == name for one in self._account.orgs):
            raise EmulatorError(Code.ALREADY_EXISTS, f"the organization {name!r} exists")


def _role(role: str) -> str:
    if role not in ("admin", "member"):
        raise EmulatorError(Code.INVALID_ARGUMENT, f"{role!r} is neither 'admin' nor 'member'")
    return role


def _keep_an_admin(org: Organization, without: str) -> None:
    if not any(role == "admin" for user, role in org.members.items() if user != without):
        raise EmulatorError(Code.FAILED_PRECONDITION, f"{without!r} is the last admin of {org.name}")
