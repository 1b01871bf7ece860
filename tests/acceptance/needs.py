"""Marks tests for what the servers have."""

from __future__ import annotations

import pytest

from boxd.emulator.service import Service, snake_case


def needs(*rpcs: str) -> pytest.MarkDecorator:
    """The test runs where the emulator's service, which both servers have, knows these RPCs."""
    missing = [rpc for rpc in rpcs if not hasattr(Service, snake_case(rpc))]
    return pytest.mark.skipif(bool(missing), reason=f"the emulator has no {', '.join(missing)}")
