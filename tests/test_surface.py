"""The two surfaces, `boxd` and `boxd.aio`, have the same names, signatures and docstrings, and those of the API."""

from __future__ import annotations

import ast
import inspect
import re
from typing import Any

import pytest

import boxd
import boxd.aio
from boxd._blocking import Blocking
from boxd._names import HOMES
from tests.fixtures.surface import ADDED, API, BEYOND, PROPERTIES, PROPERTIES_BEYOND, VALUES

CLASSES = [name for name in boxd.__all__ if inspect.isclass(getattr(boxd, name))]
TWINS = [name for name in CLASSES if getattr(boxd, name) is not getattr(boxd.aio, name)]
SPECIAL = {"__aiter__": "__iter__", "__anext__": "__next__", "__aenter__": "__enter__", "__aexit__": "__exit__"}


def members(cls: type) -> dict[str, Any]:
    """What a class and its bases have that is public, and its special methods but those that all objects have."""
    found = {}
    written = [base for base in reversed(cls.__mro__) if base.__module__.startswith("boxd.") and base is not Blocking]
    for name, value in (pair for base in written for pair in vars(base).items()):
        if name in SPECIAL or name in SPECIAL.values() or name == "__init__" or not name.startswith("_"):
            found[SPECIAL.get(name, name)] = value
    return found


def methods() -> list[tuple[str, str]]:
    return [(cls, name) for cls in TWINS for name in members(getattr(boxd, cls))]


def function(member: Any) -> Any:
    return member.fget if isinstance(member, property) else member


def signature(member: Any) -> inspect.Signature:
    """Annotations are kept as they are written: both surfaces name the same classes."""
    return inspect.signature(function(member))


def short(found: inspect.Signature, *, returns: bool) -> str:
    """Names, defaults and, with `returns`, what comes back; without annotations of parameters."""
    parameters = [p.replace(annotation=p.empty) for p in found.parameters.values() if p.name != "self"]
    text = str(inspect.Signature(parameters))
    back = found.return_annotation
    if not returns or back is found.empty:
        return text
    return f"{text} -> {str(back).replace('builtins.', '')}"


def overloads(cls: type, name: str) -> list[str]:
    """The overloads of a method as they are written, in the words of the blocking surface."""
    home = next((base for base in cls.__mro__ if name in vars(base)), cls)
    tree = ast.parse(inspect.getsource(inspect.getmodule(home)))  # type: ignore[arg-type]
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == home.__name__)
    return [
        f"{ast.unparse(node.args)} -> {ast.unparse(node.returns)}"
        for node in body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.name == name
        and any(isinstance(mark, ast.Name) and mark.id == "overload" for mark in node.decorator_list)
        and node.returns is not None
    ]


def plain(text: str | None) -> str:
    """A docstring without the words that must differ, and however its lines are broken."""
    assert text is not None
    text = text.replace(
        "Belongs to one event loop at a time.", "May be shared by threads, and used where an event loop runs."
    )
    text = re.sub(r"\b[Aa]n (async )?(iterator|context manager)", "a \\2", text)
    text = re.sub(r"\b(async|await) ", "", text).replace("aio.", "")
    return re.sub(r"[\s()]+", "", text).lower()


def stated(path: str) -> str:
    """The signature that a call is to have: that of the API, and behind it what is added."""
    if path in BEYOND:
        return BEYOND[path]
    head, back, tail = API[path].rpartition(") -> ") if " -> " in API[path] else (API[path][:-1], ")", "")
    comma = "" if head == "(" else ", "
    return f"{head}{comma}{ADDED[path]}{back}{tail}" if path in ADDED else API[path]


def test_both_have_the_same_names() -> None:
    assert boxd.__all__ == boxd.aio.__all__ == ["__version__", *HOMES]
    for name in boxd.__all__:
        assert getattr(boxd, name) is not None
        assert getattr(boxd.aio, name) is not None
    assert set(boxd.__all__) <= set(dir(boxd))
    assert set(boxd.__all__) <= set(dir(boxd.aio))
    for side in (boxd, boxd.aio):
        with pytest.raises(AttributeError, match="no_such_name"):
            side.no_such_name  # noqa: B018


@pytest.mark.parametrize("side", [boxd, boxd.aio], ids=["blocking", "async"])
def test_type_checkers_see_the_same_names(side: Any) -> None:
    tree = ast.parse(inspect.getsource(side))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert set(side.__all__) <= imported


def test_values_and_errors_are_the_same_objects() -> None:
    assert set(TWINS) == {name for name, home in HOMES.items() if home.startswith(("boxd.client", "boxd.resources"))}


@pytest.mark.parametrize("name", TWINS)
def test_a_class_has_the_same_members_on_both_sides(name: str) -> None:
    ours, theirs = getattr(boxd, name), getattr(boxd.aio, name)
    constructed = {"__init__"} if name != "Compute" else set()  # Only `Compute` is made by its users.
    assert set(members(ours)) == set(members(theirs)) - constructed
    assert plain(ours.__doc__) == plain(theirs.__doc__)


@pytest.mark.parametrize(("cls", "name"), methods())
def test_a_method_is_the_same_on_both_sides(cls: str, name: str) -> None:
    ours = members(getattr(boxd, cls))[name]
    theirs = members(getattr(boxd.aio, cls))[name]
    assert isinstance(ours, property) == isinstance(theirs, property)
    assert not inspect.iscoroutinefunction(function(ours))
    assert signature(ours) == signature(theirs)
    assert overloads(getattr(boxd, cls), name) == overloads(getattr(boxd.aio, cls), name)
    if not name.startswith("__") or name == "__init__":
        assert plain(ours.__doc__) == plain(theirs.__doc__)


@pytest.mark.parametrize("name", CLASSES)
def test_everything_public_is_documented(name: str) -> None:
    for side in (boxd, boxd.aio):
        cls = getattr(side, name)
        assert cls.__doc__
        assert not cls.__doc__.startswith(f"{name}("), "this is the text that dataclasses make up"
        for member, value in vars(cls).items():
            if not member.startswith("_") and (callable(value) or isinstance(value, property)):
                assert value.__doc__, f"{name}.{member}"


@pytest.mark.parametrize("path", [*API, *BEYOND])
@pytest.mark.parametrize("side", [boxd, boxd.aio], ids=["blocking", "async"])
def test_calls_are_those_that_are_stated(side: Any, path: str) -> None:
    cls, name = path.split(".")
    found = signature(inspect.getattr_static(getattr(side, cls), name))
    assert short(found, returns=name != "__init__") == stated(path)


@pytest.mark.parametrize("path", ADDED)
def test_what_is_added_to_a_call_is_optional_and_named(path: str) -> None:
    cls, name = path.split(".")
    found = signature(inspect.getattr_static(getattr(boxd, cls), name)).parameters
    for added in ADDED[path].removeprefix("*, ").split(", "):
        parameter = found[added.partition("=")[0]]
        # `wait` takes its timeout as that of `subprocess` does.
        assert parameter.kind is parameter.KEYWORD_ONLY or path == "ExecProcess.wait"
        assert parameter.default is not parameter.empty


def test_every_call_is_stated() -> None:
    assert not set(API) & set(BEYOND)
    public = {f"{cls}.{name}" for cls, name in methods() if not name.startswith("_")}
    properties = {f"{cls}.{name}" for names in (PROPERTIES, PROPERTIES_BEYOND) for cls in names for name in names[cls]}
    assert public == {path for path in (*API, *BEYOND) if not path.endswith("__init__")} | properties


@pytest.mark.parametrize("side", [boxd, boxd.aio], ids=["blocking", "async"])
@pytest.mark.parametrize("cls", TWINS)
def test_properties_are_those_that_are_stated(side: Any, cls: str) -> None:
    found = {name for name, member in members(getattr(side, cls)).items() if isinstance(member, property)}
    assert found == PROPERTIES.get(cls, set()) | PROPERTIES_BEYOND.get(cls, set())


@pytest.mark.parametrize("name", VALUES)
def test_values_are_those_of_the_api(name: str) -> None:
    assert short(inspect.signature(getattr(boxd, name)), returns=False) == VALUES[name]


def test_the_exec_overloads_cover_what_it_returns() -> None:
    found = overloads(boxd.Box, "exec")
    assert [text.rpartition(" -> ")[2] for text in found] == [
        "ExecResult",
        "ExecResult[bytes]",
        "ExecProcess",
        "ExecProcess",
        "ExecResult | ExecResult[bytes] | ExecProcess",
    ]
