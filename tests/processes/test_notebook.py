"""A real notebook: its cells run inside the kernel's event loop, one after the other, in one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.servers import ROOT, Server

pytest.importorskip("ipykernel")
pytest.importorskip("nbclient")

RUNNER = """
import sys
import nbformat
from nbclient import NotebookClient

notebook = nbformat.read(sys.argv[1], as_version=4)
try:
    NotebookClient(notebook, timeout=30, kernel_name="python3", allow_errors=True).execute()
finally:
    nbformat.write(notebook, sys.argv[1])
"""

CELLS = [
    # The blocking client, where a loop runs.
    """
    import asyncio, sys
    import boxd
    assert asyncio.get_running_loop().is_running()
    c = boxd.Compute()
    box = c.box.create(name="from-a-notebook")
    print(box.exec("echo", "hello").stdout.strip())
    """,
    # A stream that outlives its cell.
    """
    process = box.exec("cat", stream=True)
    process.stdin.write("first ")
    """,
    """
    process.stdin.write("second")
    process.stdin.write_eof()
    print(b"".join(process.stdout), process.wait())
    """,
    # The async client with the cell's own await, across cells.
    """
    import boxd.aio
    a = boxd.aio.Compute()
    mine = await a.box.get(box.id)
    print((await mine.exec("echo", "awaited")).stdout.strip())
    """,
    """
    both = await asyncio.gather(*(mine.exec("echo", str(n)) for n in range(3)))
    print([one.stdout.strip() for one in both], box.exec("echo", "beside").stdout.strip())
    """,
    # An error is shown, and the next cell works.
    """
    c.box.get("no-such-box")
    """,
    # The stop button, which is SIGINT.
    """
    import os, signal, threading
    threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    box.exec("sleep", "600")
    """,
    """
    print(box.exec("echo", "again").stdout.strip())
    box.destroy()
    await a.close()
    c.close()
    """,
]


def run(path: Path, environment: dict[str, str]) -> list[dict[str, Any]]:
    """Run the cells in a kernel on this Python; returns them with their outputs."""
    cells = [
        {"cell_type": "code", "id": f"cell-{number}", "source": textwrap.dedent(text).strip(), "metadata": {}}
        | {"outputs": [], "execution_count": None}
        for number, text in enumerate(CELLS)
    ]
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    # Its files are the test's own, also the runtime folder, and a kernel of the same name elsewhere is not taken.
    home = {"IPYTHONDIR": str(path.parent), "JUPYTER_RUNTIME_DIR": str(path.parent), "HOME": str(path.parent)}
    subprocess.run(
        [sys.executable, "-c", RUNNER, str(path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment, **home},
        check=True,
        timeout=50,
    )
    found: list[dict[str, Any]] = json.loads(path.read_text())["cells"]
    return found


@pytest.mark.slow  # The kernel alone takes a few seconds to start.
@pytest.mark.skipif(not hasattr(signal, "SIGINT") or sys.platform == "win32", reason="interrupts by a signal")
def test_a_notebook(emulator: Server, tmp_path: Path) -> None:
    cells = run(tmp_path / "notebook.ipynb", emulator.environment)
    printed = ["".join("".join(one.get("text", "")) for one in cell["outputs"]) for cell in cells]
    errors = [[one["ename"] for one in cell["outputs"] if one["output_type"] == "error"] for cell in cells]
    assert printed == [
        "hello\n",
        "",
        "b'first second' 0\n",
        "awaited\n",
        "['0', '1', '2'] beside\n",
        "",
        "",
        "again\n",
    ]
    assert errors == [[], [], [], [], [], ["NotFoundError"], ["KeyboardInterrupt"], []]
