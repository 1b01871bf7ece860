"""Who may do what: tokens, keys, variables, organizations and their members."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Token:
    """A token that was just made. The service does not give it again."""

    token: str = field(repr=False)
    """The token itself: a secret."""
    expires_at: int
    """When it expires, in seconds since 1970."""


@dataclass(frozen=True)
class TokenInfo:
    """What is known of a token."""

    jti: str
    """Its id, to revoke it by."""
    created_at: int
    """When it was made, in seconds since 1970."""
    expires_at: int
    """When it expires, in seconds since 1970."""


@dataclass(frozen=True)
class ApiKey:
    """An API key that was just made. The service does not give it again."""

    id: str
    """Its id, to delete it by."""
    key: str = field(repr=False)
    """The key itself: a secret."""
    expires_at: int
    """When it expires, in seconds since 1970; 0 for never."""


@dataclass(frozen=True)
class ApiKeyInfo:
    """What is known of an API key."""

    id: str
    """Its id, to delete it by."""
    name: str
    """Its name, for people."""
    key_prefix: str
    """Its first characters, to tell it by."""
    created_at: int
    """When it was made, in seconds since 1970."""
    last_used_at: int
    """When it was last used, in seconds since 1970; 0 for never."""
    expires_at: int
    """When it expires, in seconds since 1970; 0 for never."""


@dataclass(frozen=True)
class EnvVariable:
    """An environment variable that machines get."""

    name: str
    """Its name."""
    value: str = field(repr=False)
    """Its value. Kept out of the repr: people put secrets there."""
    scope: str
    """Which machines get it: `shared`, `private` or `all`."""


@dataclass(frozen=True)
class Secret:
    """A secret that machines get as an environment variable. Its value cannot be read back."""

    name: str
    """Its name."""
    scope: str
    """Which machines get it: `shared`, `private` or `all`."""
    domains: list[str]
    """The hosts it is for; empty for any, and from older servers."""


@dataclass(frozen=True)
class OrgMember:
    """A member of an organization."""

    user_id: str
    """The user's id."""
    role: str
    """What the user may do there, in the service's words."""
    display_name: str
    """The user's name, for people."""
    github_username: str
    """The user's name at GitHub."""


@dataclass(frozen=True)
class OrgInvite:
    """An invitation to an organization."""

    email: str
    """Who is invited."""
    role: str
    """The role that is offered."""
    token: str = field(repr=False)
    """What `revoke_invite` takes. Whoever has it can accept the invitation."""
    accept_url: str = field(repr=False)
    """Where to accept it; it has the token in it."""
    created_at: int
    """When it was made, in seconds since 1970."""
    expires_at: int
    """When it expires, in seconds since 1970."""
