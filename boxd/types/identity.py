"""Who calls, and what the service says about itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OrgSummary:
    """An organization that the caller belongs to."""

    id: str
    """Its id, as `org` arguments take it."""
    name: str
    """Its name, for people."""
    is_admin: bool
    """Whether the caller administers it."""


@dataclass(frozen=True)
class WhoamiResult:
    """Who the caller is."""

    user_id: str
    """The user's id."""
    fingerprints: list[str]
    """Fingerprints of the user's SSH keys."""
    default_network_id: str
    """The network that machines join by default."""


@dataclass(frozen=True)
class ConfigResult:
    """What the service says about itself."""

    default_image: str
    """The image of machines that ask for none."""
    zone: str
    """The DNS zone of the machines' names."""
