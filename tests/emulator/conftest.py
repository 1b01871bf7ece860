"""The kinds of sandbox that the tests run on."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulator.support import ISOLATED, KINDS, works


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Every kind of sandbox that works on this machine."""
    return _working(request.param)


@pytest.fixture(params=ISOLATED)
def isolated(request: pytest.FixtureRequest) -> str:
    """The kinds with namespaces."""
    return _working(request.param)


def _working(kind: str) -> str:
    reason = works(kind)
    if reason:
        pytest.skip(f"no {kind} sandbox here: {reason}")
    return kind


@pytest.fixture
def state() -> Iterator[Path]:
    """A state directory, which the sandbox has removed by the end of the test."""
    path = tempfile.mkdtemp(prefix="boxd-test-")
    yield Path(path)
    assert not os.path.exists(path), "the state directory was left behind"
