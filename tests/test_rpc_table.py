"""Every RPC has a call of the client, or a reason to have none; and `docs/api.md` says which, truly."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxd import methods
from tests.fixtures.contract import ROOT

from codegen import reference  # isort: skip  # found by the path that the contract adds

CALLS = reference.calls(ROOT)
CALLERS = reference.callers(ROOT)
RPCS = frozenset(methods.names())
LOOKUP = {"GetVm", "ListVms"}
"""What finding a machine by its name takes, wherever a call takes one."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Sources:
    """Which RPCs the functions of the client can reach."""

    def __init__(self) -> None:
        self._functions: dict[tuple[str, str], Function] = {}
        """By module and name; the name of a method is that of its class, a dot, and its own."""
        self._bases: dict[tuple[str, str], list[str]] = {}
        self._imports: dict[str, dict[str, str]] = {}
        """For each module what a name in it is: a module, or a module's function or class."""
        for path in [*sorted((ROOT / "boxd/resources").glob("*.py")), ROOT / "boxd/client.py"]:
            self._read(path)

    def _read(self, path: Path) -> None:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        tree = ast.parse(path.read_text())
        self._imports[module] = {
            alias.asname or alias.name: f"{node.module}.{alias.name}"
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module
            for alias in node.names
        }
        for node in tree.body:
            if isinstance(node, Function):
                self._functions[module, node.name] = node
            elif isinstance(node, ast.ClassDef):
                self._bases[module, node.name] = [ast.unparse(base) for base in node.bases]
                for inner in node.body:
                    if isinstance(inner, Function):
                        self._functions[module, f"{node.name}.{inner.name}"] = inner

    def rpcs(self, module: str, name: str, seen: set[tuple[str, str]] | None = None) -> set[str]:
        """The RPCs that a function or method makes, itself or by what it calls."""
        seen = set() if seen is None else seen
        if (module, name) in seen or (module, name) not in self._functions:
            return set()
        seen.add((module, name))
        found: set[str] = set()
        for node in ast.walk(self._functions[module, name]):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                if node.value.id == "methods" and node.attr in RPCS:
                    found.add(node.attr)
                for home, called in self._targets(module, name, node.value.id, node.attr):
                    found |= self.rpcs(home, called, seen)
            elif isinstance(node, ast.Name):
                home, _, called = self._imports[module].get(node.id, f"{module}.{node.id}").rpartition(".")
                found |= self.rpcs(home, called, seen)
                if called == "LogStream":  # Its call begins with the first piece.
                    found |= self.rpcs(home, "LogStream._refill", seen)
        return found

    def _targets(self, module: str, name: str, owner: str, attribute: str) -> Iterator[tuple[str, str]]:
        """What `owner.attribute` may be, in a function."""
        if owner == "self":
            cls = name.partition(".")[0]
            yield module, f"{cls}.{attribute}"
            for base in self._bases.get((module, cls), ()):
                home, _, base_name = self._imports[module].get(base, "").rpartition(".")
                yield from self._targets(home, f"{base_name}.", "self", attribute) if home else ()
        elif owner in self._imports[module]:
            yield self._imports[module][owner], attribute

    def methods(self) -> Iterator[tuple[str, str, str]]:
        """Every public method of a public class that is no property, with its module."""
        for (module, name), node in self._functions.items():
            cls, dot, method = name.partition(".")
            if dot and not cls.startswith("_") and not method.startswith("_") and not node.decorator_list:
                yield module, cls, method


SOURCES = Sources()
DOCUMENTED = {(row.cls, row.name): set(row.rpcs) for row in CALLS}
# The bases of `Box` have no calls of their own.
PARTS = {"Commands": "Box", "Lifecycle": "Box", "Machine": "Box"}


@pytest.mark.parametrize(("module", "cls", "name"), [*SOURCES.methods()])
def test_a_docstring_names_the_rpcs_that_a_call_makes(module: str, cls: str, name: str) -> None:
    made = SOURCES.rpcs(module, f"{cls}.{name}")
    stated = DOCUMENTED.get((PARTS.get(cls, cls), name), set())
    if (cls, name) in {("Session", "unary"), ("Session", "stream")}:
        return
    assert stated <= made, f"{cls}.{name} does not make {stated - made}"
    assert made - LOOKUP <= stated, f"the docstring of {cls}.{name} does not name {made - stated}"
    if made and not stated:
        raise AssertionError(f"the docstring of {cls}.{name} names no RPC: it makes {made}")


def test_the_walk_finds_what_is_there() -> None:
    assert SOURCES.rpcs("boxd.resources.domains", "DomainService.bind") == {
        *("BindDomain", "AddCustomDomain"),
        *LOOKUP,
    }
    assert SOURCES.rpcs("boxd.resources.box", "Box.wait_until_ready") >= {"GetVm", "Exec"}
    assert SOURCES.rpcs("boxd.resources.box", "Box.stream_logs") == {"StreamLogs"}
    assert SOURCES.rpcs("boxd.resources.billing", "BillingService.usage") == {"GetOrgUsage"}


def test_every_class_that_makes_calls_is_in_the_table() -> None:
    assert {row.cls for row in CALLS} == set(reference.OBJECTS)


@pytest.mark.parametrize("rpc", sorted(RPCS))
def test_an_rpc_has_a_call_or_a_reason(rpc: str) -> None:
    assert (rpc in CALLERS) != (rpc in reference.WITHOUT_CALL)


OUTCOMES: dict[str, list[str]] = json.loads((ROOT / "tests/acceptance/calls.json").read_text())
EVERY = {"emulator", "emulator error", "grpcio", "grpcio error"}
UNSEEN = {  # The emulator has no schedules: their words are the service's own.
    call: {"emulator"} for call in ("box.backups.schedule", "box.backups.set_schedule", "box.backups.clear_schedule")
}
"""What no test can see."""


@pytest.mark.parametrize("call", sorted({row.path for row in CALLS}))
def test_a_call_is_seen_to_succeed_and_to_fail_with_both_servers(call: str) -> None:
    assert set(OUTCOMES.get(call, ())) == EVERY - UNSEEN.get(call, set())


@pytest.mark.parametrize("rpc", sorted(rpc for rpc, which in reference.generations(ROOT).items() if which != "2"))
def test_no_row_is_empty_for_the_older_generation(rpc: str) -> None:
    assert rpc in reference.handlers(ROOT)
    assert rpc in reference.tests(ROOT) or rpc in reference.WITHOUT_CALL


def test_every_rpc_that_has_a_call_is_made_by_a_test() -> None:
    assert CALLERS.keys() <= reference.tests(ROOT).keys()


def test_nothing_but_the_old_context_is_missing_of_generation_1() -> None:
    older = {rpc for rpc, generation in reference.generations(ROOT).items() if generation != "2"}
    assert older & set(reference.WITHOUT_CALL) == {"SetOrgContext"}


def test_the_documents_are_up_to_date() -> None:
    for path, text in reference.generate(ROOT).items():
        assert (ROOT / path).read_text() == text, "run scripts/gen.py"
    assert f"]({Path(reference.FILE).name})" in (ROOT / "docs/architecture.md").read_text()
