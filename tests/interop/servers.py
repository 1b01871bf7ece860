"""Servers of other projects, each built or installed once in `.cache/interop` and run in a process of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxd.transport import Target
from tests.fixtures import echo_server

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CACHE = ROOT / ".cache" / "interop"


def find_tool(name: str) -> str:
    """Where a program is; skips the test where it is not."""
    found = shutil.which(name) or shutil.which(name, path="/usr/local/go/bin")
    if found is None:
        pytest.skip(f"needs {name}, which this machine does not have")
    return found


def go_program() -> list[str]:
    """The command of the Go servers, grpc-go and connect-go."""
    program = CACHE / "go-servers"
    CACHE.mkdir(parents=True, exist_ok=True)
    subprocess.run([find_tool("go"), "build", "-o", str(program), "."], cwd=HERE / "go", check=True, timeout=280)
    return [str(program)]


def node_program() -> list[str]:
    """The command of the server on @grpc/grpc-js."""
    node, npm = find_tool("node"), find_tool("npm")
    folder = CACHE / "node"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "server.js"):
        shutil.copy(HERE / "node" / name, folder / name)
    if not (folder / "node_modules" / "@grpc").exists():
        subprocess.run([npm, "install", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True, timeout=280)
    return [node, "server.js"]


@contextlib.contextmanager
def process(command: list[str], folder: Path = ROOT) -> Iterator[list[Target]]:
    """Run a server; yields the targets whose ports it prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=folder, env=environment, **pipes) as running:  # type: ignore[call-overload]
        try:
            yield [Target("http", "127.0.0.1", int(port)) for port in running.stdout.readline().split()]
        finally:
            running.stdin.close()
            running.wait(20)


@contextlib.contextmanager
def serve(name: str) -> Iterator[Target]:
    """One of `grpcio`, `grpc-go`, `connect-go`, `grpc-js` and `connectrpc`."""
    if name == "grpcio":
        with echo_server.running() as server:
            yield server.target
        return
    if name == "grpc-js":
        command, index, folder = node_program(), 0, CACHE / "node"
    elif name == "connectrpc":
        command, index, folder = [sys.executable, "-m", "tests.fixtures.connect_server"], 0, ROOT
    else:
        command, index, folder = go_program(), int(name == "connect-go"), ROOT
    with process(command, folder) as targets:
        yield targets[index]
