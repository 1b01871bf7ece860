"""The messages' classes: betterproto2 messages and dataclasses, though they are made of neither's machinery."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import subprocess
import sys
from typing import Any

import betterproto2
import pytest
from google.protobuf import json_format

from boxd import messages
from tests.fixtures.contract import NAMES, SCHEMA, THEIRS, UNKNOWN, ours, python_name, theirs, values_alone


def full(name: str) -> Any:
    """A message with every field set, of a oneof the first."""
    seen: set[str] = set()
    value = {}
    for field in SCHEMA.messages[name].fields:
        if field.oneof is None or field.oneof not in seen:
            seen.add(field.oneof or "")
            value[field.name] = values_alone(field)[1 if field.message is None else 0]
    return ours(name, value), theirs(name, value)


@pytest.mark.parametrize("name", NAMES)
def test_reflection(name: str) -> None:
    """Fields, dicts, JSON, copies: of a message that was made, and of one that was decoded."""
    kind, (mine, official) = getattr(messages, name), full(name)
    assert issubclass(kind, betterproto2.Message)
    assert dataclasses.is_dataclass(kind)
    assert [field.name for field in dataclasses.fields(kind)] == [
        python_name(field.name) for field in SCHEMA.messages[name].fields
    ]
    decoded = kind.parse(official.SerializeToString())
    assert kind() == kind.parse(b"")
    for message in (mine, decoded):
        assert message == mine
        assert repr(message) == repr(mine)
        assert kind.from_dict(message.to_dict()) == mine
        assert kind.from_json(message.to_json()) == mine
        assert json_format.Parse(message.to_json(), THEIRS[name]()) == official
        for twin in (copy.copy(message), copy.deepcopy(message), pickle.loads(pickle.dumps(message))):
            assert twin == mine
            assert twin is not message
        assert dataclasses.replace(message) == mine
        assert kind(**{field.name: getattr(message, field.name) for field in dataclasses.fields(kind)}) == mine
        assert bool(message) is bool(message.to_dict())


def test_fields_that_are_set() -> None:
    chunk = messages.ExecChunk.parse(b"\x10\x01")
    assert (chunk.is_set("stdin"), chunk.is_set("data"), chunk.data, chunk.exit_code) == (True, False, b"", 0)
    assert chunk.to_dict() == {"stdin": True}
    assert json.loads(chunk.to_json(include_default_values=True))["exitCode"] == 0
    assert dataclasses.asdict(chunk)["command"] == ""


def test_lists_and_maps_are_each_message_s_own() -> None:
    for make in (messages.CreateVmRequest, lambda: messages.CreateVmRequest.parse(b"")):
        one, other = make(), make()
        one.cmd.append("ls")
        one.labels["a"] = "b"
        assert (other.cmd, other.labels) == ([], {})


def test_a_pickle_keeps_what_is_unknown() -> None:
    message = messages.GetVmRequest.parse(UNKNOWN)
    assert bytes(pickle.loads(pickle.dumps(message))) == UNKNOWN


@pytest.mark.skipif(sys.version_info < (3, 13), reason="copy.replace is new in Python 3.13")
def test_copy_replace() -> None:
    changed = copy.replace(messages.EnvVar(key="A", value="1"), value="2")  # type: ignore[attr-defined]
    assert changed == messages.EnvVar(key="A", value="2")


def test_the_base_class_is_no_message() -> None:
    base = messages.ExecChunk.__mro__[1]
    assert not dataclasses.is_dataclass(base)


LAZY = """
import sys
from boxd.messages.exec import ExecChunk
assert bytes(ExecChunk.parse(bytes(ExecChunk(data=b"x", cols=300)))) == b"\\x0a\\x01x\\x38\\xac\\x02"
sys.exit("__dataclass_fields__" in ExecChunk.__dict__)
"""


def test_codecs_do_without_reflection() -> None:
    assert subprocess.run([sys.executable, "-c", LAZY]).returncode == 0


THREADS = """
import dataclasses, threading
from boxd.messages.vm import GetVmResponse
start, wrong = threading.Event(), []
def work():
    start.wait()
    for _ in range(200):
        vm = GetVmResponse.parse(b"\\x12\\x01n")
        if (vm.vm_id, vm.name, vm.spec) != ("", "n", None) or len(dataclasses.fields(vm)) != 40:
            wrong.append(vm)
threads = [threading.Thread(target=work) for _ in range(8)]
[thread.start() for thread in threads]
start.set()
[thread.join() for thread in threads]
assert not wrong
"""


def test_reflection_may_begin_in_many_threads() -> None:
    assert subprocess.run([sys.executable, "-c", THREADS]).returncode == 0
