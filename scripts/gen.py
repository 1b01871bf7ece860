#!/usr/bin/env python3
"""Writes the generated part of the package, or checks that it is up to date.

    python scripts/gen.py            writes what is stale and removes what is no longer generated
    python scripts/gen.py --check    writes nothing; names what is stale and exits with 1

Needs Python 3.10 or newer with `grpcio-tools` and `protobuf`. The output depends on the sources only, not on the
versions of these tools.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from codegen import GENERATORS, stale_files, write_files

ROOT = Path(__file__).resolve().parent.parent


def main(argv: list[str] | None = None) -> int:
    """Runs every generator on the repository.

    Args:
        argv: The arguments after the program's name; None takes those of the process.

    Returns:
        The exit code: 1 when `--check` found something stale, else 0.
    """
    parser = argparse.ArgumentParser(description="Write the generated files of the package.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when something is stale")
    check = parser.parse_args(argv).check
    stale = False
    for generator in GENERATORS:
        files = stale_files(ROOT, generator)
        stale = stale or bool(files)
        for path in files:
            print(f"{'stale' if check else 'written'}: {path}")
        if not check:
            write_files(ROOT, files)
    if check and stale:
        print("Run `python scripts/gen.py` and commit the result.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
