"""What a command left behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

if TYPE_CHECKING:
    # A default needs no package at run time this way; with it, a plain `ExecResult` means `ExecResult[str]`.
    from typing_extensions import TypeVar

    Output = TypeVar("Output", str, bytes, default=str)
else:
    from typing import TypeVar

    Output = TypeVar("Output", str, bytes)


# Characters of a command's last line of errors that stand in the message of an `ExecError`.
_SHOWN = 200


@dataclass(frozen=True)
class ExecResult(Generic[Output]):
    """What a command that ran to its end left behind."""

    stdout: Output
    """Everything it wrote to standard output: text, or bytes with `text=False`. Under a PTY, all of its output."""
    stderr: Output
    """Everything it wrote to standard error; empty under a PTY, which has one output only."""
    exit_code: int
    """Its exit status; 0 is success by convention."""

    @property
    def success(self) -> bool:
        """True if the exit status is 0."""
        return self.exit_code == 0

    @property
    def signal(self) -> int | None:
        """The number of the signal that ended the command, None where none did. Read from the exit status, as shells
        tell it: 128 + the number. A program may also exit with such a status by itself; nothing tells these apart."""
        number = self.exit_code - 128
        return number if 0 < number < 65 else None

    def check(self) -> ExecResult[Output]:
        """Return this result if the exit status is 0; raises `ExecError`, which has it in `result`, otherwise."""
        if self.exit_code == 0:
            return self
        from boxd.errors import ExecError

        how = f"exit status {self.exit_code}"
        if self.signal is not None:
            how += f", as after signal {self.signal}"
        lines = (self.stderr if isinstance(self.stderr, str) else self.stderr.decode("utf-8", "replace")).split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        error = ExecError(f"the command ended with {how}" + (f": {last[:_SHOWN]}" if last else ""))
        error.result, error.stdout, error.stderr = self, self.stdout, self.stderr
        raise error
