"""`boxd.messages` imports betterproto2 without its look-up of its own version, and nobody can tell."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

from boxd.messages import _quick_import


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_version_is_the_installed_one() -> None:
    program = "import boxd.messages.identity, betterproto2; print(betterproto2.__version__)"
    assert run(program) == version("betterproto2")


def test_the_metadata_is_not_loaded() -> None:
    assert run("import sys, boxd.messages.identity; print('importlib.metadata' in sys.modules)") == "False"


def test_generated_code_of_others_can_check_its_version() -> None:
    ours = version("betterproto2")
    check = f"betterproto2.check_compiler_version({ours!r})"
    assert run(f"import boxd.messages.identity, betterproto2; {check}; {check}") == ""
    program = (
        "import boxd.messages.identity, betterproto2\n"
        "try: betterproto2.check_compiler_version('99.9.9')\n"
        "except ImportError as error: print('refused')"
    )
    assert run(program) == "refused"


def test_where_the_folder_does_not_tell_betterproto2_looks_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        _quick_import.os, "listdir", lambda path: ["betterproto2-1.dist-info", "betterproto2-2.dist-info"]
    )
    assert _quick_import.installed_version() is None


def test_an_import_that_came_first_is_left_alone() -> None:
    program = "import betterproto2, sys, boxd.messages; print(type(sys.modules['betterproto2._version']).__name__)"
    assert run(program) == "module"
