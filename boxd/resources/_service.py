"""What the services have in common: whose calls they make."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from boxd.resources._base import Session


class Service:
    """The calls of a client that are about one subject."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self._session.settings.endpoint}>"


class MachineService:
    """The calls that are about one subject of one machine."""

    def __init__(self, session: Session, vm_id: str) -> None:
        self._session = session
        self._vm_id = vm_id

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._vm_id!r}>"
