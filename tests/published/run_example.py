"""`python run_example.py PLAN`: runs an example as one would type it in, with what comes before and after it.

Runs in the Python of the client that is tried and knows no other package. PLAN is a file of JSON:

- `before`, `example`, `after`: the code. They share their names, may `await` at the outermost level, and run statement
  by statement. `after` also has `example`, the code; `shown`, the values other than None of its statements that are
  expressions; `redone`, the first lines of those that ran again; and `error`, with which it ended, or None.
- `unless`, `again`: a statement of the example that fails with an exception of the class named `unless` runs once more,
  after the code `again`. For examples that list calls that exclude each other.
- `raises`: the name of the exception that the example must end with; empty when it must not fail.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import sys
from pathlib import Path
from typing import Any


class Session:
    """The names of one example, and the loop for what it awaits."""

    def __init__(self) -> None:
        self.shown: list[Any] = []
        self.redone: list[str] = []
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self._loop = asyncio.new_event_loop()

    def run(self, code: str, name: str, unless: str = "", again: str = "") -> None:
        """Run a piece of code; see the module for the rest."""
        for statement in ast.parse(code, name).body:
            try:
                self._run(statement, name)
            except Exception as error:
                if unless not in [one.__name__ for one in type(error).__mro__]:
                    raise
                self.redone.append(code.splitlines()[statement.lineno - 1])
                self.run(again, "again")
                self._run(statement, name)

    def _run(self, statement: ast.stmt, name: str) -> None:
        tree = ast.Interactive([statement])
        sys.displayhook = self._show if name == "example" else lambda value: None
        result = eval(compile(tree, name, "single", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), self.names)
        if inspect.iscoroutine(result):
            self._loop.run_until_complete(result)

    def _show(self, value: object) -> None:
        if value is not None:
            self.shown.append(value)

    def close(self) -> None:
        """End the loop."""
        self._loop.close()


def main(plan: dict[str, str]) -> None:
    session = Session()
    session.run(plan["before"], "before")
    ended: Exception | None = None
    try:
        session.run(plan["example"], "example", plan["unless"], plan["again"])
    except Exception as error:
        if type(error).__name__ != plan["raises"]:
            raise
        ended = error
    if ended is None and plan["raises"]:
        raise AssertionError(f"the example worked; {plan['raises']} was expected")
    session.names |= {"example": plan["example"], "shown": session.shown, "redone": session.redone, "error": ended}
    session.run(plan["after"], "after")
    session.close()


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
