"""The published client's virtual environment, its documentation, and an emulator for its examples."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

import boxd
from tests.fixtures import servers
from tests.fixtures.servers import ROOT, Server
from tests.published.documentation import Documentation
from tests.published.programs import OURS, PUBLISHED, Program

MAX_BOXES = 6
SECONDS = 55


@pytest.fixture(scope="session")
def published_python() -> str:
    """The Python of a virtual environment with the published client: kept in `.cache`, shared with scripts/bench."""
    command = '. scripts/env.sh; python=$(find_python); published_env "$python"'
    environment = {**os.environ, "PIP_RETRIES": "1", "PIP_DEFAULT_TIMEOUT": "15"}
    try:
        done = subprocess.run(
            ["bash", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"boxd==0.1.9 was not installed within {SECONDS} seconds: scripts/test installs it beforehand")
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
        pytest.skip(f"boxd==0.1.9 cannot be had from the package index: {reason}")
    return f"{done.stdout.strip()}/bin/python"


@pytest.fixture(scope="session")
def documentation(published_python: str) -> Documentation:
    """What the published client says of itself."""
    return Documentation.of(published_python)


@pytest.fixture(scope="session")
def service(documentation: Documentation) -> Iterator[Server]:
    """An emulator that accepts the examples' key."""
    with servers.running("emulator", api_key=documentation.api_key, exchange_requests=1000, max_boxes=MAX_BOXES) as one:
        yield one


@pytest.fixture(scope="session")
def admin(service: Server) -> Iterator[boxd.Compute]:
    """Our client of the same emulator, for what happens beside a program."""
    with boxd.Compute(api_key=service.api_key, api_url=service.api_url, exchange_url=service.exchange_url) as client:
        yield client


@pytest.fixture
def program(service: Server, published_python: str, tmp_path: object, admin: boxd.Compute) -> Iterator[Program]:
    """Starts programs with either client; what they leave in the emulator is removed at the end."""
    yield Program(service, {PUBLISHED: published_python, OURS: sys.executable}, str(tmp_path))
    for domain in admin.domain.list():
        admin.domain.unbind(domain.domain)
    for box in admin.box.list(all_orgs=True):
        with contextlib.suppress(boxd.NotFoundError):
            box.destroy()
    for disk in admin.disk.list():
        disk.destroy()
    for template in admin.template.list():
        admin.template.delete(template.id)
