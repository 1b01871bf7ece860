"""Generators of the package's generated files, and what they share.

A generator is a function from the repository's root to the text of each file it owns, by path. `GENERATORS` lists them;
`scripts/gen.py` runs them.
"""

from __future__ import annotations

from codegen import blocking, generations, messages, methods, reference
from codegen.output import Generator, stale_files, write_files

__all__ = ["GENERATORS", "Generator", "stale_files", "write_files"]

GENERATORS = (
    Generator(messages.generate, folder=messages.FOLDER, written_by_hand=messages.WRITTEN_BY_HAND),
    Generator(methods.generate),
    Generator(blocking.generate, folder=blocking.FOLDER),
    Generator(generations.generate),
    Generator(reference.generate),
)
"""In the order in which they run: a later one may import what an earlier one writes."""
