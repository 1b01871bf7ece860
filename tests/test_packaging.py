"""What users install: one pure wheel, and only pure wheels below it. Needs the package index."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.slow


def pip(*args: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *args], check=True, timeout=300)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT))
    (path,) = folder.iterdir()
    return path


def test_the_wheel_is_pure_and_has_the_types_and_nothing_else(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "boxd/py.typed" in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"boxd"}
    assert not [name for name in names if name.endswith((".so", ".pyd", ".dylib"))]


def test_every_required_dependency_has_a_pure_wheel(wheel: Path, tmp_path: Path) -> None:
    pure = ("--only-binary=:all:", "--platform", "any", "--implementation", "py", "--abi", "none")
    pip("download", "--quiet", *pure, "--dest", str(tmp_path), str(wheel))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert [name for name in names if not name.endswith("-none-any.whl")] == []
    assert not [name for name in names if name.startswith("grpc")]


def test_installed_alone_it_imports_without_the_emulator_and_without_grpcio(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True, timeout=120)
    python = environment / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", str(wheel)], check=True, timeout=300)
    code = (
        "import sys, boxd, boxd.aio; boxd.Compute; "
        "found = [name for name in sys.modules if name.startswith(('boxd.emulator', 'grpc', 'google'))]; "
        "assert not found, found; print(boxd.__version__)"
    )
    done = subprocess.run([str(python), "-c", code], check=True, timeout=60, capture_output=True, text=True)
    assert done.stdout.strip()
