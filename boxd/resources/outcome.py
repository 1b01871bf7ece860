"""What became of a command whose stream ended without its exit status."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from boxd import methods
from boxd.errors import BoxdError, BoxStoppedError, ExitUnknownError, NotFoundError
from boxd.messages.vm import GetVmRequest

if TYPE_CHECKING:
    from boxd.resources._base import Session

# CANCELLED, UNKNOWN, FAILED_PRECONDITION, ABORTED, INTERNAL, UNAVAILABLE: what a command's stream may end with when its
# machine goes away under it.
_DROPPED = frozenset((1, 2, 9, 10, 13, 14))
_PRECONDITION = 9
_OFF = frozenset(("stopping", "stopped", "destroying", "destroyed", "failed"))
# How long to ask for the machine's status, in seconds: this comes after a failure, and must not hide it.
_ASK_SECONDS = 5.0


def exit_unknown() -> ExitUnknownError:
    """The error for a command whose stream ended well, but without an exit status."""
    return ExitUnknownError(
        "the command's stream ended without an exit status: whether it succeeded is unknown; its output so far is in "
        "the attributes stdout and stderr"
    )


async def explained(session: Session, vm_id: str, error: BoxdError) -> BoxdError:
    """The error that a command ended with, or `BoxStoppedError` where its machine turns out to be off.

    RPC: GetVm, where the error leaves the question open.
    """
    if session.closed or not (isinstance(error, ExitUnknownError) or error.grpc_code in _DROPPED):
        return error
    if getattr(error.__cause__, "unprocessed", False):
        # The server never saw the call, so that no machine can be the reason.
        return error
    status = await _status(session, vm_id)
    if status not in _OFF:
        # The service says so in its message too. The machine may be running again by now.
        if error.grpc_code != _PRECONDITION or "is stopped" not in error.message:
            return error
        status = ""
    state = f"is {status}" if status else "was stopped"
    found = BoxStoppedError(f"the machine {state}, and the command with it: {error.message}", error.grpc_code)
    found.status = status
    found.__cause__ = error
    return found


async def _status(session: Session, vm_id: str) -> str:
    """The machine's status; empty where nobody tells."""
    with anyio.move_on_after(_ASK_SECONDS):
        try:
            return (await session.unary(methods.GetVm, GetVmRequest(vm_id=vm_id))).status
        except NotFoundError:
            return "destroyed"
        except BoxdError:
            # The second failure; the first one is what the caller gets.
            return ""
    return ""
