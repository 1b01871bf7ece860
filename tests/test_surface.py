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

CLASSES = [name for name in boxd.__all__ if inspect.isclass(getattr(boxd, name))]
TWINS = [name for name in CLASSES if getattr(boxd, name) is not getattr(boxd.aio, name)]
SPECIAL = {"__aiter__": "__iter__", "__anext__": "__next__", "__aenter__": "__enter__", "__aexit__": "__exit__"}

# The part of the API that is there: what a call takes, with its defaults, and what comes of it.
API = {
    "Compute.__init__": "(*, api_key=None, token=None, api_url=None, exchange_url=None, org=None)",
    "Compute.whoami": "() -> WhoamiResult",
    "Compute.config": "() -> ConfigResult",
    "Compute.close": "() -> None",
    "BoxService.create": "(name='', image='', config=None, org=None, shared=False) -> Box",
    "BoxService.list": "(org=None) -> list[Box]",
    "BoxService.get": "(id_or_name, org=None) -> Box",
    "BoxService.fork": "(source, name=None, config=None) -> Box",
    "BoxService.list_orgs": "() -> list[OrgSummary]",
    "Box.start": "() -> None",
    "Box.stop": "() -> None",
    "Box.reboot": "() -> None",
    "Box.destroy": "() -> None",
    "Box.suspend": "() -> SuspendResult",
    "Box.resume": "() -> ResumeResult",
    "Box.share": "() -> None",
    "Box.unshare": "() -> None",
    "Box.wait_until_ready": "(timeout=90.0, poll_interval=0.5) -> None",
    "Box.exec": (
        "(*args, stream=False, interactive=False, pty=False, timeout=None, env=None, close_stdin=False, cols=0, rows=0,"
        " text=True) -> ExecResult | ExecResult[bytes] | ExecProcess"
    ),
    "Box.write_file": "(source, dest) -> None",
    "Box.read_file": "(path) -> bytes",
    "Box.proxies": "() -> list[Proxy]",
    "Box.create_proxy": "(name, port=0) -> Proxy",
    "Box.delete_proxy": "(name) -> None",
    "Box.set_proxy_port": "(port, name='') -> None",
    "Box.stream_logs": "(follow=False) -> LogStream",
    "ExecProcess.iter_stdout": "() -> StreamReader",
    "ExecProcess.iter_stderr": "() -> StreamReader",
    "ExecProcess.wait": "() -> int",
    "ExecProcess.close": "() -> None",
    "ExecProcess.resize": "(cols, rows) -> None",
    "StreamWriter.write": "(data) -> None",
    "StreamWriter.write_eof": "() -> None",
    "StreamWriter.drain": "() -> None",
    "StreamReader.read": "() -> bytes",
}
PROPERTIES = {
    "Compute": {"box"},
    "Box": {
        *("id", "name", "image", "public_ip", "status", "url", "boot_time_ms", "forked_from"),
        *("restart_policy", "disk_bytes", "auto_suspend_timeout_secs", "ssh_port"),
    },
    "ExecProcess": {"stdin", "stdout", "stderr"},
}
VALUES = {
    "BoxConfig": (
        "(vcpu=0, memory='', disk='', env=None, cmd=None, restart_policy='always', lifecycle=None, network=None,"
        " volumes=None)"
    ),
    "LifecycleConfig": "(auto_suspend_timeout=0, auto_destroy_timeout=0)",
    "NetworkConfig": "(ssh=True, proxies=None)",
    "ProxyEntry": "(name, port=0)",
    "VolumeMount": "(disk_id, mount_path, read_only=False)",
    "ExecResult": "(stdout, stderr, exit_code)",
    "SuspendResult": "(suspend_us)",
    "ResumeResult": "(resume_us)",
    "WhoamiResult": "(user_id, fingerprints, default_network_id)",
    "ConfigResult": "(default_image, zone)",
    "Proxy": "(name, vm_name, domain, port, is_default)",
}


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
    tree = ast.parse(inspect.getsource(inspect.getmodule(cls)))  # type: ignore[arg-type]
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == cls.__name__)
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


def test_both_have_the_same_names() -> None:
    assert boxd.__all__ == boxd.aio.__all__
    assert len(set(boxd.__all__)) == len(boxd.__all__)
    for name in boxd.__all__:
        assert getattr(boxd, name) is not None
        assert getattr(boxd.aio, name) is not None
    assert set(boxd.__all__) <= set(dir(boxd))


def test_values_and_errors_are_the_same_objects() -> None:
    assert set(TWINS) == {"Compute", "BoxService", "Box", "ExecProcess", "LogStream", "StreamReader", "StreamWriter"}


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


@pytest.mark.parametrize("path", API)
@pytest.mark.parametrize("side", [boxd, boxd.aio], ids=["blocking", "async"])
def test_calls_are_those_of_the_api(side: Any, path: str) -> None:
    cls, name = path.split(".")
    found = signature(inspect.getattr_static(getattr(side, cls), name))
    assert short(found, returns=name != "__init__") == API[path]


@pytest.mark.parametrize("side", [boxd, boxd.aio], ids=["blocking", "async"])
def test_properties_are_those_of_the_api(side: Any) -> None:
    for name, properties in PROPERTIES.items():
        assert properties <= {key for key, value in members(getattr(side, name)).items() if isinstance(value, property)}


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
