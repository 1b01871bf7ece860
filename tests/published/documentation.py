"""The examples and tables of the published client's documentation, as its package has them."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import textwrap
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
_HEADING_OR_BLOCK = re.compile(r"^#+ ([^\n]+)$|^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Documentation:
    """What the installed package says of itself."""

    version: str
    guide: str
    docstrings: dict[str, str]

    @classmethod
    def of(cls, python: str) -> Documentation:
        """That of the package that `python` has."""
        done = subprocess.run(
            [python, "-I", str(HERE / "read_docs.py")], capture_output=True, text=True, timeout=60, check=True
        )
        return cls(**json.loads(done.stdout))

    def blocks(self, language: str) -> dict[tuple[str, int], str]:
        """The guide's blocks of a language, by the heading that they are below and their number there."""
        found: dict[tuple[str, int], str] = {}
        heading = ""
        for title, fence, code in re.findall(
            r"^#+ ([^\n]+)$|^```(\w*)\n(.*?)^```$", self.guide, re.MULTILINE | re.DOTALL
        ):
            if title:
                heading = title
            elif fence == language:
                number = sum(known == heading for known, _ in found)
                found[heading, number] = code
        return found

    def docstring_examples(self) -> dict[tuple[str, int], str]:
        """The literal blocks of docstrings that are Python, by the name of what they document and their number."""
        found = {}
        for name, text in self.docstrings.items():
            for number, block in enumerate(re.findall(r"::\n\n((?:(?:[ \t]+.*)?\n?)+)", text)):
                found[name, number] = textwrap.dedent(block).strip("\n") + "\n"
        return found

    def table(self, *columns: str) -> list[list[str]]:
        """The rows of the guide's table with these columns, without the marks of code."""
        rows = [
            [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
            for line in self.guide.splitlines()
            if line.startswith("|")
        ]
        plain = [[cell.replace("`", "") for cell in row] for row in rows]
        start = plain.index(list(columns)) + 2
        width = len(columns)
        return [row for row in _until_rule(plain[start:]) if len(row) == width]

    @property
    def api_key(self) -> str:
        """The key that the examples contain."""
        found = set(re.findall(r'api_key="([^"]+)"', self.guide))
        assert len(found) == 1, found
        return found.pop()


def _until_rule(rows: list[list[str]]) -> list[list[str]]:
    """The rows before the next table's, whose head is the row above its rule of dashes."""
    for index, row in enumerate(rows):
        if all(cell and set(cell) <= set("-:") for cell in row):
            return rows[: index - 1]
    return rows


def is_python(code: str) -> bool:
    """Whether a block is Python, `await` at the outermost level included."""
    try:
        compile(code, "block", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except SyntaxError:
        return False
    return True
