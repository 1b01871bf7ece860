"""The examples of the guides do what the guides say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import boxd
from tests.fixtures.servers import Server
from tests.test_readme import ROOT, run

GUIDES = ["docs/exec.md", "docs/files.md"]


@pytest.mark.parametrize("guide", GUIDES)
def test_the_examples_print_what_the_guide_says(guide: str, emulator: Server) -> None:
    text = (ROOT / guide).read_text()
    code = "".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    expected = "".join(re.findall(r"```text\n(.*?)```", text, re.DOTALL))
    around = f"from boxd import Compute\nc = Compute()\nbox = c.box.create()\n{code}\nbox.destroy()\nc.close()\n"
    done: subprocess.CompletedProcess[str] = run(sys.executable, "-c", around, **emulator.environment)
    assert (done.stderr, done.stdout) == ("", expected)


@pytest.mark.parametrize("guide", GUIDES)
def test_the_names_are_those_of_the_package(guide: str) -> None:
    for name in re.findall(r"`(\w+Error)`", (ROOT / guide).read_text()):
        assert issubclass(getattr(boxd, name), boxd.BoxdError)


def test_the_readme_leads_to_them() -> None:
    readme = Path(ROOT / "README.md").read_text()
    for guide in GUIDES:
        assert f"]({guide})" in readme
