"""Files of the largest size there is."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.servers import ROOT, Server

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

MIB = 1 << 20
SIZE = 100 * MIB
ALLOWED_GROWTH = 32 * MIB


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 100 MiB, no two mebibytes of it the same."""
    path = tmp_path_factory.mktemp("large") / "large"
    with path.open("wb") as file:
        for number in range(SIZE // MIB):
            file.write(hashlib.shake_256(number.to_bytes(4, "big")).digest(MIB))
    return path


@pytest.fixture(scope="module")
def digest(large: Path) -> str:
    """The file's SHA-256."""
    with large.open("rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


async def test_100_mebibytes_up_and_down(box: Any, large: Path, digest: str) -> None:
    await box.write_file(large, "large")
    assert (await box.exec("sha256sum", "large")).stdout.split()[0] == digest
    data = await box.read_file("large")
    assert len(data) == SIZE
    assert hashlib.sha256(data).hexdigest() == digest
    await box.write_file(data, "large")
    assert (await box.exec("sha256sum", "large")).stdout.split()[0] == digest
    await box.exec("rm", "large")


# A process of its own, because the peak of the tests' own process is not this upload's. The small file first: what is
# loaded on first use is not what is measured.
_UPLOAD = """
import sys
from pathlib import Path
from tests.fixtures.servers import memory
surface, box_id, small, large = sys.argv[1:]
if surface == "blocking":
    import boxd
    with boxd.Compute() as c:
        box = c.box.get(box_id)
        box.write_file(Path(small), "small")
        before = memory(field="VmHWM")
        box.write_file(Path(large), "flat")
else:
    import anyio
    import boxd.aio
    async def main():
        global before
        async with boxd.aio.Compute() as c:
            box = await c.box.get(box_id)
            await box.write_file(Path(small), "small")
            before = memory(field="VmHWM")
            await box.write_file(Path(large), "flat")
    anyio.run(main, backend=surface)
print(memory(field="VmHWM") - before)
"""


def test_an_upload_from_a_path_keeps_memory_flat(
    surface: str, server: Server, shared_box: str, large: Path, tmp_path: Path, record_property: Any
) -> None:
    small = tmp_path / "small"
    small.write_bytes(bytes(2 * MIB))
    command = [sys.executable, "-c", _UPLOAD, surface, shared_box, str(small), str(large)]
    run = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **server.environment}, stdout=subprocess.PIPE, check=True, timeout=120
    )
    growth = int(run.stdout)
    record_property("peak_growth_bytes", growth)
    print(f"{server.kind} {surface}: the peak grew by {growth / MIB:.1f} MiB")
    assert growth < ALLOWED_GROWTH
