"""Runs the README's quick start against a local boxd server, and checks that it prints what the README says."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import time
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"


def example() -> tuple[str, str]:
    """The quick start's code and the output that the README shows for it."""
    section = README.read_text().partition("## Quick start")[2].partition("\n## ")[0]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    output = re.search(r"```text\n(.*?)```", section, re.DOTALL)
    if code is None or output is None:
        raise SystemExit("README.md has no quick start with a python block and a text block")
    return code[1], output[1]


class Tee(io.StringIO):
    """Keeps what is written, and shows it too."""

    def write(self, text: str) -> int:
        sys.__stdout__.write(text)  # type: ignore[union-attr]
        return super().write(text)


def main() -> int:
    """Run the example; returns the exit status."""
    from boxd import emulator

    code, expected = example()
    print("The quick start of the README, against a local boxd server:\n")
    with emulator.running() as local:
        print(f"  BOXD_API_URL={local.api_url}\n")
        os.environ["BOXD_API_KEY"] = local.api_key
        os.environ["BOXD_API_URL"] = local.api_url
        os.environ["BOXD_EXCHANGE_URL"] = local.exchange_url
        os.environ.pop("BOXD_TOKEN", None)
        started = time.perf_counter()
        shown = Tee()
        with contextlib.redirect_stdout(shown):
            exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
        elapsed = time.perf_counter() - started
    if shown.getvalue() != expected:
        print(f"\nThis is not what the README says. Expected:\n\n{expected}", file=sys.stderr)
        return 1
    print(f"\nAll of it is what it should be ({elapsed:.2f} s for the example).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
