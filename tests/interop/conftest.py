"""The transport's own fixtures: both event loops, and channels that are checked for leaks."""

from tests.transport.conftest import anyio_backend, connect, echo

__all__ = ["anyio_backend", "connect", "echo"]
