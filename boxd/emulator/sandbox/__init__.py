"""The machines of boxes: real processes and real files, isolated as far as the host allows.

`open_sandbox` tries what the kernel gives and answers with the best kind that works; `base` is the interface
of both kinds.
"""

from __future__ import annotations

from .base import Download, Limits, Machine, Sandbox, SandboxError, Spawn, Upload
from .choose import open_sandbox
from .process import Process

__all__ = ["Download", "Limits", "Machine", "Process", "Sandbox", "SandboxError", "Spawn", "Upload", "open_sandbox"]
