"""Programs with either client, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.fixtures.servers import ROOT, Server

PUBLISHED, OURS = CLIENTS = ("published", "ours")
HERE = Path(__file__).resolve().parent
SECONDS = 30


@dataclass(frozen=True)
class Done:
    """How a program ended."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Program:
    """Starts programs that find the emulator by their environment alone."""

    service: Server
    pythons: dict[str, str]
    folder: str
    """Where they run, and may leave files."""

    def start(
        self, client: str, script: str, *arguments: str, stdout: int = subprocess.PIPE, **variables: str
    ) -> subprocess.Popen[str]:
        """Start a script of this folder with a client."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "BOXD_"))}
        environment |= {
            "BOXD_API_KEY": self.service.api_key,
            "BOXD_API_URL": self.service.api_url,
            "BOXD_EXCHANGE_URL": self.service.exchange_url,
            "PYTHONUNBUFFERED": "1",
            **({"PYTHONPATH": str(ROOT)} if client == OURS else {}),
            **variables,
        }
        return subprocess.Popen(
            [self.pythons[client], str(HERE / script), *arguments],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, client: str, script: str, *arguments: str, **variables: str) -> Done:
        """Run one to its end."""
        return finish(self.start(client, script, *arguments, **variables))

    def plan(self, **pieces: str) -> str:
        """The file that run_example.py wants; what is not named is empty."""
        empty = dict.fromkeys(("before", "example", "after", "unless", "again", "raises"), "")
        path = Path(self.folder, "plan.json")
        path.write_text(json.dumps({**empty, **pieces}))
        return str(path)


def finish(process: subprocess.Popen[str]) -> Done:
    """Wait for a program's end."""
    try:
        out, err = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
        process.wait()
    return Done(process.returncode, out, err)
