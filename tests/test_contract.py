"""The protos against the service's published wire table, and the generated files against the protos."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from boxd import messages, methods

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from codegen import GENERATORS, stale_files, write_files  # noqa: E402
from codegen.schema import Field, Schema, SchemaError, load  # noqa: E402

READ_ONLY = re.compile(r"(Get|List)[A-Z]\w*|Whoami|SuggestVmName|DownloadFile(Stream)?")
"""Names of the RPCs that only read. Every other one changes something, or, as StreamLogs and Exec, is a stream that a
repetition would not continue."""

MARK = re.compile(r"Generation\s([12])\sonly\.")


@dataclass
class Wire:
    """The wire table: who has what, in the columns' own words."""

    rpcs: dict[str, tuple[str, str, str]]
    messages: set[str]
    fields: dict[tuple[str, str], tuple[int, str]]
    generations: dict[str, str]


def wire_path() -> Path:
    named = os.environ.get("BOXD_WIRE_TSV")
    return Path(named) if named else ROOT.parent / "shared" / "spec" / "wire.tsv"


@pytest.fixture(scope="module")
def wire() -> Wire:
    path = wire_path()
    if not path.is_file():
        pytest.skip(f"there is no wire table at {path}; BOXD_WIRE_TSV can name one")
    table = Wire({}, set(), {}, {})
    for line in path.read_text(encoding="utf-8").splitlines():
        kind, generation, name, *rest = line.split("\t")
        if kind == "rpc":
            table.rpcs[name] = (rest[0], rest[1], rest[2])
        elif kind == "message":
            table.messages.add(name)
        elif kind == "field":
            table.fields[name, rest[1]] = (int(rest[0]), rest[2])
            name = f"{name}.{rest[1]}"
        else:
            assert kind.startswith("#"), f"unknown kind of row: {line!r}"
            continue
        table.generations[f"{kind} {name}"] = generation
    return table


@pytest.fixture(scope="module")
def schema() -> Schema:
    return load(ROOT)


def wire_type(field: Field) -> str:
    """Type and label of a field, as the wire table writes them."""
    if field.entry is not None:
        key, value = field.entry
        return f"map<{key.kind},{value.message or value.kind}> map"
    label = f"oneof:{field.oneof}" if field.oneof else "optional" if field.optional else "singular"
    return f"{field.message or field.kind} {'repeated' if field.repeated else label}"


def elements(schema: Schema) -> Iterator[tuple[str, str]]:
    """Every element of the contract under the name it has in the wire table, with its comment."""
    for rpc in schema.rpcs:
        yield f"rpc {rpc.name}", rpc.doc
    for message in schema.messages.values():
        yield f"message {message.name}", message.doc
        for field in message.fields:
            yield f"field {message.name}.{field.name}", field.doc


def test_rpcs_are_those_of_the_wire_table(wire: Wire, schema: Schema) -> None:
    assert {rpc.name: (rpc.request, rpc.response, rpc.kind) for rpc in schema.rpcs} == wire.rpcs
    assert {rpc.path for rpc in schema.rpcs} == {f"/boxd.api.v1.BoxdApi/{name}" for name in wire.rpcs}


def test_messages_are_those_of_the_wire_table(wire: Wire, schema: Schema) -> None:
    assert set(schema.messages) == wire.messages
    assert len(wire.messages) == sum(len(module.messages) for module in schema.modules)


def test_fields_are_those_of_the_wire_table(wire: Wire, schema: Schema) -> None:
    ours = {
        (message.name, field.name): (field.number, wire_type(field))
        for message in schema.messages.values()
        for field in message.fields
    }
    assert ours == wire.fields


def test_comments_say_the_generation(wire: Wire, schema: Schema) -> None:
    """A mark where the table has one generation only, except on fields of a message that has the same mark."""
    for name, doc in elements(schema):
        generation = wire.generations[name]
        message = name.removeprefix("field ").partition(".")[0]
        if name.startswith("field ") and generation == wire.generations[f"message {message}"]:
            generation = "both"
        assert MARK.findall(doc) == ([] if generation == "both" else [generation]), f"{name}: {doc!r}"


def test_everything_but_fields_has_a_comment(schema: Schema) -> None:
    assert [name for name, doc in elements(schema) if not doc and not name.startswith("field ")] == []


def test_methods_follow_the_contract(schema: Schema) -> None:
    assert methods.names() == tuple(sorted(rpc.name for rpc in schema.rpcs))
    for rpc in schema.rpcs:
        method = getattr(methods, rpc.name)
        assert (method.name, method.path, method.kind.value) == (rpc.name, rpc.path, rpc.kind)
        assert method.request is getattr(messages, rpc.request)
        assert method.response is getattr(messages, rpc.response)
        assert method.encode(method.request()) == b""
        assert method.decode(b"") == method.response()
        assert getattr(methods, rpc.name) is method


def test_only_calls_that_read_may_be_repeated() -> None:
    repeatable = {name for name in methods.names() if getattr(methods, name).idempotent}
    assert repeatable == {name for name in methods.names() if READ_ONLY.fullmatch(name)}


def test_r80_what_has_no_side_effects_is_told_apart_from_what_may_be_repeated() -> None:
    """A call that reads inside a machine may wake it."""
    for name, repeat, nothing in (("GetVm", True, True), ("DownloadFile", True, False), ("CreateVm", False, False)):
        method = getattr(methods, name)
        assert (method.idempotent, method.no_side_effects) == (repeat, nothing)
    assert all(getattr(methods, name).idempotent for name in methods.names() if getattr(methods, name).no_side_effects)


def test_r56_nothing_that_makes_anything_may_be_repeated() -> None:
    making = [name for name in methods.names() if name.startswith(("Create", "Fork", "Add", "Invite", "Exec"))]
    assert len(making) > 10
    assert not [name for name in making if getattr(methods, name).idempotent]


def test_lazy_modules_know_their_names() -> None:
    assert set(methods.names()) <= set(dir(methods))
    assert set(messages.names()) <= set(dir(messages))
    for module in (methods, messages):
        with pytest.raises(AttributeError, match="NoSuchThing"):
            getattr(module, "NoSuchThing")  # noqa: B009  # a static name would not pass the type checker


def test_generated_files_are_up_to_date() -> None:
    run = subprocess.run([sys.executable, str(ROOT / "scripts" / "gen.py"), "--check"], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_stale_files_are_found_and_put_right(tmp_path: Path) -> None:
    """A changed, a missing and a surplus file are each named, and writing leaves nothing stale."""
    generator = GENERATORS[0]
    shutil.copytree(ROOT / "proto", tmp_path / "proto")
    write_files(tmp_path, stale_files(tmp_path, generator))
    assert stale_files(tmp_path, generator) == {}
    folder = tmp_path / "boxd" / "messages"
    (folder / "exec.py").write_text("# changed\n", encoding="utf-8")
    (folder / "token.py").unlink()
    (folder / "gone.py").write_text("# of a file that is no longer there\n", encoding="utf-8")
    stale = stale_files(tmp_path, generator)
    assert set(stale) == {"boxd/messages/exec.py", "boxd/messages/token.py", "boxd/messages/gone.py"}
    assert stale["boxd/messages/gone.py"] is None
    write_files(tmp_path, stale)
    assert stale_files(tmp_path, generator) == {}
    assert (folder / "exec.py").read_bytes() == (ROOT / "boxd" / "messages" / "exec.py").read_bytes()


def test_a_contract_that_protoc_refuses_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "proto").mkdir()
    (tmp_path / "proto" / "bad.proto").write_text('syntax = "proto3";\nmessage {}\n', encoding="utf-8")
    with pytest.raises(SchemaError, match=r"bad\.proto:2"):
        load(tmp_path)
