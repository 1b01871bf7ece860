"""What worker processes import and do."""

from __future__ import annotations

import os

import boxd

client = boxd.Compute()


def echo(box: str, number: int) -> tuple[str, int]:
    """Runs a command in a box; returns what it printed, and which process that was."""
    return client.box.get(box).exec("echo", str(number)).stdout.strip(), os.getpid()
