"""Which calls the acceptance tests have seen to succeed, and which to fail, with which server.

A run with the variable `BOXD_RECORD` set writes what it saw to the two files beside this one, from which `docs/api.md`
and `tests/test_rpc_table.py` are made; any other whole run checks that it saw no less.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import boxd
from boxd import aio
from boxd.resources._base import Session
from boxd.resources.logs import LogStream
from tests.fixtures.contract import ROOT

from codegen import reference  # isort: skip  # found by the path that the contract adds

CALLS = Path(__file__).with_name("calls.json")
RPCS = ROOT / reference.TESTS


class Record:
    """What was seen: calls by their path in an example, `c.box.create`, and RPCs by their names."""

    def __init__(self) -> None:
        self.calls: dict[str, set[str]] = {}
        """For each call `emulator` and `grpcio` where it succeeded, and the same with ` error` where it failed."""
        self.rpcs: dict[str, set[str]] = {}
        """For each RPC the modules of tests that made it."""
        self.server = ""
        self.module = ""

    def begin(self, request: pytest.FixtureRequest) -> None:
        """A test begins."""
        self.module = request.path.stem
        self.server = "grpcio" if "grpcio" in request.node.name + self.module else "emulator"

    def pause(self) -> None:
        """The test is over: what fixtures of a wider scope do is nobody's."""
        self.module = self.server = ""

    def watch(self, patch: pytest.MonkeyPatch) -> None:
        """Note what all clients do from now on."""
        for row in reference.calls(ROOT):
            cls = _find(row.cls)
            patch.setattr(cls, row.name, self._watched(row.path, getattr(cls, row.name)))
        following = LogStream.__anext__

        async def piece(logs: LogStream) -> bytes:
            try:
                return await following(logs)
            except boxd.BoxdError:
                self._note("box.stream_logs", " error")
                raise

        patch.setattr(LogStream, "__anext__", piece)
        unary, stream = Session.unary, Session.stream

        async def noted(session: Session, method: Any, message: Any, **options: Any) -> Any:
            answer = await unary(session, method, message, **options)
            self._made(method.name)
            return answer

        def begun(session: Session, method: Any, **options: Any) -> Any:
            self._made(method.name)
            return stream(session, method, **options)

        patch.setattr(Session, "unary", noted)
        patch.setattr(Session, "stream", begun)

    def _watched(self, path: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        async def awaited(*args: Any, **options: Any) -> Any:
            try:
                result = await function(*args, **options)
            except boxd.BoxdError:
                self._note(path, " error")
                raise
            self._note(path, "")
            return result

        @functools.wraps(function)
        def direct(*args: Any, **options: Any) -> Any:
            self._note(path, "")
            return function(*args, **options)

        return awaited if inspect.iscoroutinefunction(function) else direct

    def _note(self, path: str, outcome: str) -> None:
        if self.server:
            self.calls.setdefault(path, set()).add(self.server + outcome)

    def _made(self, rpc: str) -> None:
        if self.module:
            self.rpcs.setdefault(rpc, set()).add(self.module)

    def end(self, whole: bool) -> None:
        """Write what was seen, or compare it with what was written where all tests have run."""
        if "BOXD_RECORD" in os.environ:
            _write(CALLS, self.calls)
            _write(RPCS, self.rpcs)
        elif whole:
            for path, seen in ((CALLS, self.calls), (RPCS, self.rpcs)):
                for name, recorded in json.loads(path.read_text()).items():
                    missing = set(recorded) - seen.get(name, set())
                    assert not missing, f"{name} is no longer seen in {missing}: run the tests with BOXD_RECORD=1"


def _write(path: Path, seen: dict[str, set[str]]) -> None:
    path.write_text(json.dumps({name: sorted(found) for name, found in sorted(seen.items())}, indent=1) + "\n")


def _find(name: str) -> type:
    """The async class of a name, exported or not."""
    if hasattr(aio, name):
        found: type = getattr(aio, name)
        return found
    modules = [module for path, module in sys.modules.items() if path.startswith("boxd.resources.")]
    (found,) = {getattr(module, name) for module in modules if hasattr(module, name)}
    return found
