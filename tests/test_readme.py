"""What the README shows is what happens."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import boxd
from tests.fixtures.servers import Server

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
SCRIPTS = ["scripts/quickstart", "scripts/test", ".ci/run"]


def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


def python_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_quick_start_prints_what_the_readme_says() -> None:
    done = run(sys.executable, "scripts/quickstart.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert "All of it is what it should be" in done.stdout
    output = re.search(r"```text\n(.*?)```", README, re.DOTALL)
    assert output is not None
    assert output[1] in done.stdout


def test_the_async_example(emulator: Server) -> None:
    (block,) = [one for one in python_blocks() if "async with" in one]
    imports, _, rest = block.partition("\n\n")
    body = "\n".join(f"    {line}" for line in rest.splitlines())
    code = f"{imports}\nimport anyio, sys\nasync def main():\n{body}\n    print(result.stdout)\n"
    for backend in ("asyncio", "trio"):
        done = run(sys.executable, "-c", f"{code}anyio.run(main, backend={backend!r})", **emulator.environment)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(os.uname().sysname)


def test_the_emulator_in_a_test() -> None:
    (block,) = [one for one in python_blocks() if "emulator.running()" in one]
    done = run(sys.executable, "-c", block.replace("...", "print(c.whoami().user_id)"))
    assert (done.returncode, done.stdout) == (0, "local-user\n"), done.stderr


def test_the_table_of_errors_is_true() -> None:
    rows = re.findall(r"^\| `(\w+Error)`.* \| ([A-Z_, ]+) \|$", README, re.MULTILINE)
    from boxd.errors import from_rpc
    from boxd.transport import RpcError, StatusCode

    assert len(rows) >= 7
    for name, codes in rows:
        for code in codes.split(", "):
            assert type(from_rpc(RpcError("x", StatusCode[code], origin="server"), "GetVm")) is getattr(boxd, name)


def test_the_table_of_settings_is_true() -> None:
    from boxd import config

    assert f"`{config.DEFAULT_API_URL}`" in README
    assert f"`{config.DEFAULT_EXCHANGE_URL}`" in README


def test_every_link_leads_to_a_file() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).is_file()] == []


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_executable_and_parse(script: str) -> None:
    path = ROOT / script
    assert os.access(path, os.X_OK)
    assert path.read_text().startswith("#!/usr/bin/env bash\n")
    assert run("bash", "-n", script).returncode == 0


@pytest.mark.parametrize("script", ["scripts/test"])
def test_scripts_explain_themselves(script: str) -> None:
    done = run(script, "--help")
    assert done.returncode == 0
    assert script in done.stdout
    assert run(script, "--no-such-option").returncode == 2
