"""The note that a newer version exists."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import boxd
from tests.conftest import StartServer
from tests.fixtures.servers import ROOT, Server

_CALLS = {
    "blocking": """
import boxd
with boxd.Compute() as c:
    c.whoami()
    c.config()
with boxd.Compute() as c:
    print(c.whoami().user_id)
""",
    "asyncio": """
import asyncio, boxd.aio
async def main():
    async with boxd.aio.Compute() as c:
        await asyncio.gather(c.whoami(), c.config(), c.box.list())
        print((await c.whoami()).user_id)
asyncio.run(main())
""",
}


def errors_of(code: str, server: Server) -> str:
    """What a program that makes some calls writes to standard error."""
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **server.environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert run.stdout == "local-user\n"
    return run.stderr


@pytest.mark.parametrize("kind", ["emulator", "grpcio"])
def test_a_newer_version_is_noted_once(start_server: StartServer, kind: str) -> None:
    with start_server(kind, sdk_latest="9999.1") as server:
        for code in _CALLS.values():
            note = errors_of(code, server)
            assert note.count("\n") == 1
            for word in ("9999.1", boxd.__version__, "pip install --upgrade boxd"):
                assert word in note


@pytest.mark.parametrize("latest", [boxd.__version__, "0.0.1", "not a version", f"{boxd.__version__}.dev1"])
def test_no_note(start_server: StartServer, latest: str) -> None:
    with start_server("emulator", sdk_latest=latest) as server:
        assert errors_of(_CALLS["blocking"], server) == ""
