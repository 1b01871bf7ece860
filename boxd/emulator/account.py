"""What belongs to the account and not to a machine: organizations, variables, templates, domains, networks, keys."""

from __future__ import annotations

from dataclasses import dataclass, field

from boxd import messages as pb

from .box import Box
from .errors import Code, EmulatorError
from .options import Options
from .store import Record, Store, Table

ENV, SECRET = "env", "secret"
INVITE_SECONDS = 7 * 24 * 3600
"""How long an invitation is good."""
DEFAULT_NETWORK = "net-local"
"""The id of the network that every account has."""


@dataclass
class SshKey(Record):
    """A linked SSH key; its id is its fingerprint."""

    label: str = ""


@dataclass
class Template(Record):
    """One template; its configuration as the message's bytes in hex."""

    name: str = ""
    image: str = ""
    config: str = ""

    @property
    def settings(self) -> pb.VmConfig:
        """The configuration."""
        return pb.VmConfig.parse(bytes.fromhex(self.config))


@dataclass
class Domain(Record):
    """A host name of the user's own; its id is the name."""

    vm_id: str = ""


@dataclass
class Network(Record):
    """A private network."""

    name: str = ""
    number: int = 0


@dataclass
class Invite(Record):
    """An open invitation; its id is the token."""

    org_id: str = ""
    email: str = ""
    role: str = "member"
    created_at: int = 0

    @property
    def expires_at(self) -> int:
        """When it is good no more."""
        return self.created_at + INVITE_SECONDS


@dataclass
class Organization(Record):
    """An organization, and the roles of its members by user id."""

    name: str = ""
    members: dict[str, str] = field(default_factory=dict)


@dataclass
class Variable(Record):
    """One variable; its id is organization, kind, name and scope."""

    org: str = ""
    kind: str = ENV
    name: str = ""
    scope: str = "all"
    value: str = field(default="", repr=False)
    domains: list[str] = field(default_factory=list)


def variable_id(org: str, kind: str, name: str, scope: str) -> str:
    """What a variable is kept under."""
    return "/".join((org, kind, scope, name))


class Account:
    """The records of one emulator's account."""

    def __init__(self, store: Store, options: Options) -> None:
        self.templates = Table(store, "template", Template)
        self.domains = Table(store, "domain", Domain)
        self.networks = Table(store, "network", Network)
        self.variables = Table(store, "variable", Variable)
        self.invites = Table(store, "invite", Invite)
        self.ssh_keys = Table(store, "ssh-key", SshKey)
        self.orgs = Table(store, "org", Organization)
        if not len(self.networks):
            self.networks.put(Network(DEFAULT_NETWORK, "default"))
        for name in options.orgs:
            if self.orgs.get(f"org-{name}") is None:
                self.orgs.put(Organization(f"org-{name}", name, {options.user_id: "admin"}))

    def org(self, key: str) -> Organization:
        """The organization with this id or name. NOT_FOUND."""
        for one in self.orgs:
            if key in (one.id, one.name):
                return one
        raise EmulatorError(Code.NOT_FOUND, f"there is no organization {key!r}")

    def rename(self, org: Organization, name: str) -> str:
        """Give an organization another name, under which its variables are kept too; returns the old one."""
        old, org.name = org.name, name
        self.orgs.put(org)
        for one in self.variables:
            if one.org == old:
                self.variables.remove(one.id)
                one.org, one.id = name, variable_id(name, one.kind, one.name, one.scope)
                self.variables.put(one)
        return old

    def open_invites(self, org_id: str, now: float) -> list[Invite]:
        """The invitations to an organization. Those that have expired are forgotten."""
        for one in list(self.invites):
            if one.expires_at <= now:
                self.invites.remove(one.id)
        return [one for one in self.invites if one.org_id == org_id]

    def accept_invite(self, token: str, now: float) -> str | None:
        """Make the person whom an invitation is for a member, by the address as user id. Returns it, or None where
        there is no such invitation."""
        invite = self.invites.get(token)
        if invite is None or invite.expires_at <= now:
            return None
        org = self.org(invite.org_id)
        org.members[invite.email] = invite.role
        self.orgs.put(org)
        self.invites.remove(token)
        return invite.email

    async def forget_box(self, box: Box) -> None:
        """Let the domains of a box that is gone lead nowhere."""
        for domain in self.domains:
            if domain.vm_id == box.id:
                self.domains.remove(domain.id)

    def environment(self, box: Box) -> dict[str, str]:
        """What the commands of a box get beside its own environment, which wins. A narrow scope wins over `all`."""
        scope = "shared" if box.spec.shared else "private"
        found = [one for one in self.variables if one.org == box.spec.org and one.scope in ("all", scope)]
        found.sort(key=lambda one: one.scope != "all")
        return {one.name: one.value for one in found if one.name not in box.spec.env}
