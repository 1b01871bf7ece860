"""The messages' own codecs: whatever order and form a message has on the wire, and what is no message."""

from __future__ import annotations

import importlib.util
import random
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import betterproto2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxd import messages
from tests.fixtures.contract import (
    HARD,
    NAMES,
    QUICK,
    THEIRS,
    UNKNOWN,
    WIDE,
    Plain,
    load,
    module_text,
    ours,
    plain,
    protobuf_classes,
    theirs,
    values_alone,
)
from tests.fixtures.contract import SCHEMA as CONTRACT


def pieces(data: bytes) -> list[bytes]:
    """An encoded message cut into its fields."""
    found, at = [], 0
    while at < len(data):
        start = at
        tag, at = _number(data, at)
        if tag & 7 == 0:
            _, at = _number(data, at)
        elif tag & 7 == 2:
            size, at = _number(data, at)
            at += size
        else:
            at += {1: 8, 5: 4}[tag & 7]
        found.append(data[start:at])
    return found


def _number(data: bytes, at: int) -> tuple[int, int]:
    end = next(index for index in range(at, len(data)) if data[index] < 128) + 1
    return sum((byte & 127) << 7 * index for index, byte in enumerate(data[at:end])), end


def check_decoding(ours_class: Any, theirs_class: Any, data: bytes) -> None:
    """Both read the same from `data`: once it went through our codec, protobuf finds what it finds in it directly."""
    parsed = ours_class.parse(data)
    assert theirs_class.FromString(bytes(parsed)) == theirs_class.FromString(data)
    again = ours_class.parse(bytes(parsed))
    assert again == parsed
    assert bytes(again) == bytes(parsed)


@st.composite
def jumbled(draw: st.DrawFn, name: str) -> bytes:
    """The fields of a few messages in any order, some of them more than once, and unknown ones among them."""
    values = draw(st.lists(plain(name), min_size=1, max_size=3))
    parts = [part for value in values for part in pieces(theirs(name, value).SerializeToString())]
    parts += pieces(UNKNOWN) if draw(st.booleans()) else []
    return b"".join(draw(st.permutations(parts)))


@pytest.mark.parametrize("name", NAMES)
@QUICK
@given(data=st.data())
def test_any_order_and_repetition(name: str, data: st.DataObject) -> None:
    check_decoding(getattr(messages, name), THEIRS[name], data.draw(jumbled(name)))


@pytest.mark.parametrize("name", WIDE)
@HARD
@given(data=st.data())
def test_any_order_and_repetition_of_wide_messages(name: str, data: st.DataObject) -> None:
    check_decoding(getattr(messages, name), THEIRS[name], data.draw(jumbled(name)))


@pytest.mark.parametrize("name", NAMES)
def test_the_encoding_is_the_canonical_one(name: str) -> None:
    """Byte for byte what protobuf writes, and what betterproto2 does."""
    for field in CONTRACT.messages[name].fields:
        for value in values_alone(field):
            if isinstance(value, dict) and len(value) > 1:
                continue  # Entries of a map have no order.
            mine, official = ours(name, {field.name: value}), theirs(name, {field.name: value})
            assert bytes(mine) == official.SerializeToString(deterministic=True)
            if field.kind != "double":  # betterproto2 does not send a negative zero.
                assert bytes(mine) == betterproto2.Message.__bytes__(mine)


def test_messages_within_merge() -> None:
    """Numbers are replaced, lists grow, messages within them merge too, and what is unknown is kept of each."""
    pb = messages
    parts = [
        pb.VmConfig(vcpu=2, memory_bytes=1, srf=pb.SrfConfig(auto_suspend_timeout_secs=0)),
        pb.VmConfig(memory_bytes=5, volumes=[pb.VolumeMount(disk_id="a")], network=pb.NetworkConfig(ssh=True)),
        pb.VmConfig(
            volumes=[pb.VolumeMount(disk_id="b")],
            srf=pb.SrfConfig(auto_destroy_timeout_secs=3),
            network=pb.NetworkConfig(proxies=[pb.ProxyEntry(name="web")]),
        ),
    ]
    encoded = [bytes(part) + UNKNOWN for part in parts]
    raw = b"".join(b"\x42" + bytes((len(part),)) + part for part in encoded)
    check_decoding(pb.CreateVmRequest, THEIRS["CreateVmRequest"], raw)
    config = pb.CreateVmRequest.parse(raw).config
    assert config == pb.VmConfig(
        vcpu=2,
        memory_bytes=5,
        srf=pb.SrfConfig(auto_suspend_timeout_secs=0, auto_destroy_timeout_secs=3),
        network=pb.NetworkConfig(ssh=True, proxies=[pb.ProxyEntry(name="web")]),
        volumes=[pb.VolumeMount(disk_id="a"), pb.VolumeMount(disk_id="b")],
    )
    assert bytes(config).endswith(UNKNOWN * 3)


def test_the_last_member_of_a_oneof_wins() -> None:
    raw = b"\x0a\x01a\x12\x01b"
    assert messages.MachineSpecBase.parse(raw) == messages.MachineSpecBase(snapshot="b")
    assert messages.MachineSpecBase.parse(raw + b"\x0a\x00") == messages.MachineSpecBase(team="")
    check_decoding(messages.MachineSpecBase, THEIRS["MachineSpecBase"], raw)


SAMPLE = """\
syntax = "proto3";
package sample;
// Every kind of field that the generator knows, at numbers of one and two bytes.
message Sample {
  repeated int32 a = 1; repeated int64 b = 2; repeated uint32 c = 3; repeated uint64 d = 4;
  repeated bool e = 5; repeated double f = 6; repeated bytes g = 7; repeated string h = 8;
  repeated Sample i = 9; map<string, string> j = 10; optional bool k = 11; optional double l = 12;
  optional bytes m = 13; Sample n = 14; oneof o { int64 p = 16; Sample q = 17; bytes r = 200; }
  int32 s = 2047;
}
"""


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ModuleType, Any]]:
    """Our module and protobuf's class for a contract that has what the service's has not, as lists of numbers."""
    root = tmp_path_factory.mktemp("sample")
    (root / "proto").mkdir()
    (root / "proto" / "sample.proto").write_text(SAMPLE, encoding="utf-8")
    schema = load(root)
    file = root / "sample.py"
    file.write_text(module_text(schema, schema.modules[0]), encoding="utf-8")
    name = "boxd.messages.sample"  # In the package, whose helpers it imports.
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    yield module, protobuf_classes(root)["Sample"]
    del sys.modules[name]


NUMBERS = {
    "a": st.integers(-(2**31), 2**31 - 1),
    "b": st.integers(-(2**63), 2**63 - 1),
    "c": st.integers(0, 2**32 - 1),
    "d": st.integers(0, 2**64 - 1),
    "e": st.booleans(),
    "f": st.floats(allow_nan=False),
    "g": st.binary(max_size=4),
    "h": st.text(max_size=4),
}
SINGLE = {"k": NUMBERS["e"], "l": NUMBERS["f"], "m": NUMBERS["g"], "s": NUMBERS["a"]}
CHOICES = {"p": NUMBERS["b"], "r": NUMBERS["g"]}


def samples() -> st.SearchStrategy[Plain]:
    lists = {name: st.lists(values, max_size=4) for name, values in NUMBERS.items()}
    one = st.one_of(st.just({}), *(st.fixed_dictionaries({name: values}) for name, values in CHOICES.items()))
    flat = st.builds(lambda left, right: left | right, st.fixed_dictionaries({}, optional=lists | SINGLE), one)
    inner = st.fixed_dictionaries({}, optional={"i": st.lists(flat, max_size=2), "n": flat})
    return st.builds(lambda left, right: left | right, flat, inner)


def build(kind: Any, value: Plain) -> Any:
    changed = {
        name: [build(kind, part) for part in item] if name == "i" else build(kind, item) if name == "n" else item
        for name, item in value.items()
    }
    return kind(**changed)


@settings(HARD, max_examples=150)
@given(value=samples(), other=samples(), seed=st.integers())
def test_every_kind_of_field(sample: tuple[ModuleType, Any], value: Plain, other: Plain, seed: int) -> None:
    """Lists of numbers packed or not, members of a oneof, messages in messages of their own kind."""
    kind, official = sample[0].Sample, sample[1]
    assert bytes(build(kind, value)) == build(official, value).SerializeToString()
    parts = [part for one in (value, other) for part in pieces(bytes(build(kind, one)))]
    parts += [part for one in (value, other) for part in unpacked(one)]
    random.Random(seed).shuffle(parts)
    check_decoding(kind, official, b"".join(parts))


def unpacked(value: Plain) -> list[bytes]:
    """The lists of integers, one field per number, as a sender may write them."""
    fields = []
    for number, name in enumerate("abcde", start=1):
        for item in value.get(name, ()):
            fields.append(bytes((number << 3,)) + _varint(int(item) % 2**64))
    return fields


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes((*out, value))


def test_a_packed_list_ends_with_its_last_number(sample: tuple[ModuleType, Any]) -> None:
    for raw in (b"\x0a\x01\x80\x01", b"\x32\x07" + bytes(8), b"\x0a\x05\x01"):
        with pytest.raises(ValueError, match="Sample"):
            sample[0].Sample.parse(raw)


def test_a_oneof_with_two_members_is_not_sent(sample: tuple[ModuleType, Any]) -> None:
    with pytest.raises(ValueError, match="Sample has more than one field set of the oneof o"):
        bytes(sample[0].Sample(p=1, r=b""))


NOT_A_CHUNK = {
    "a length without its bytes": (b"\x0a\x05abc", "ends within a field"),
    "a tag without anything": (b"\x0a", "ends within a field"),
    "half a length": (b"\x0a\x80", "ends within a field"),
    "a number that does not end": (b"\x30\xff", "ends within a field"),
    "half a tag": (b"\x80", "ends within a field"),
    "a length beyond all bounds": (b"\x0a" + b"\xff" * 9 + b"\x01", "ends within a field"),
    "an unknown field that is cut": (b"\x82\x7d\x09abc", "ends within a field"),
    "an unknown number that is cut": (b"\x80\x7d\xff", "ends within a field"),
    "an unknown fixed64 that is cut": (b"\x81\x7d1234567", "ends within a field"),
    "a number of eleven bytes": (b"\x30" + b"\x80" * 10 + b"\x01", "longer than 64 bits"),
    "a number of 65 bits": (b"\x30" + b"\xff" * 9 + b"\x02", "longer than 64 bits"),
    "text for a number": (b"\x32\x01a", "field 6 has the wire type 2"),
    "a number for text": (b"\x20\x01", "field 4 has the wire type 0"),
    "a fixed32 for a bool": (b"\x15abcd", "field 2 has the wire type 5"),
    "a number for text, after another field": (b"\x10\x01\x80\x7d\x01\x20\x01", "field 4 has the wire type 0"),
    "bytes that are no UTF-8": (b"\x22\x02\xc3\x28", "not UTF-8"),
    "a surrogate in UTF-8": (b"\x22\x03\xed\xa0\x80", "not UTF-8"),
    "field number 0": (b"\x00\x01", "no valid field number"),
    "a field number above the highest": (b"\x88\x80\x80\x80\x20\x01", "no valid field number"),
    "a tag of six bytes": (b"\x88\xfd\x80\x80\x80\x00\x01", "no valid field number"),
    "a tag with padding": (b"\x8a\x00\x01a", "longer than it needs to be"),
    "the end of no group": (b"\x84\x7d", "field 2000 has the wire type 4"),
    "the end of another group": (b"\x83\x7d\x8c\x7d", "field 2001 has the wire type 4"),
    "a group without an end": (b"\x83\x7d\x08\x01", "ends within a field"),
    "groups too deep": (b"\x83\x7d" * 101 + b"\x84\x7d" * 101, "field 2000 has the wire type 3"),
    "wire type 6": (b"\x86\x7d", "field 2000 has the wire type 6"),
    "wire type 7": (b"\x87\x7d", "field 2000 has the wire type 7"),
}


@pytest.mark.parametrize("case", NOT_A_CHUNK)
def test_what_is_no_message_is_refused(case: str) -> None:
    raw, reason = NOT_A_CHUNK[case]
    with pytest.raises(ValueError, match=f"not a ExecChunk: .*{reason}") as caught:
        messages.ExecChunk.parse(raw)
    assert type(caught.value) is ValueError
    assert caught.value.__suppress_context__


def test_an_error_within_names_the_inner_message() -> None:
    with pytest.raises(ValueError, match="not a GetVmResponse: the data ends within a field"):
        messages.ListVmsResponse.parse(b"\x0a\x02\x0a\x05")


@pytest.mark.parametrize("entry", [b"", b"\x0a\x01k", b"\x12\x01v", b"\x12\x01v\x0a\x01k\x0a\x01j"])
def test_an_entry_of_a_map_may_lack_parts_and_have_more(entry: bytes) -> None:
    raw = b"\x22" + bytes((len(entry),)) + entry
    labels = messages.MachineSpec.parse(raw).labels
    assert labels == dict(THEIRS["MachineSpec"].FromString(raw).labels)
    # What is unknown in an entry is dropped. Protobuf's runtimes differ here: some put the whole entry aside.
    raw = b"\x22" + bytes((len(entry) + 2,)) + b"\x18\x07" + entry
    assert messages.MachineSpec.parse(raw).labels == labels


@pytest.mark.parametrize("entry", [b"\x0a\x02k", b"\x12", b"\x08\x01", b"\x0a\x01\xff", b"\x18"])
def test_a_broken_entry_of_a_map_is_refused(entry: bytes) -> None:
    with pytest.raises(ValueError, match="not a MachineSpec"):
        messages.MachineSpec.parse(b"\x22" + bytes((len(entry),)) + entry)


def test_padded_numbers_and_lengths_are_read() -> None:
    """The format allows them, and some senders reserve room for a length that way."""
    raw = b"\x0a\x83\x80\x00abc\x30\x85\x80\x80\x80\x80\x80\x80\x80\x80\x00"
    check_decoding(messages.ExecChunk, THEIRS["ExecChunk"], raw)
    assert messages.ExecChunk.parse(raw) == messages.ExecChunk(data=b"abc", exit_code=5)


def test_numbers_of_too_many_bits_are_cut_as_protobuf_cuts_them() -> None:
    for number in (b"\xff\xff\xff\xff\x7f", b"\x80\x80\x80\x80\x18", b"\xff" * 9 + b"\x01"):
        for tag in (b"\x10", b"\x30", b"\x38"):
            check_decoding(messages.ExecChunk, THEIRS["ExecChunk"], tag + number)


def test_groups_are_kept() -> None:
    group = b"\x83\x7d\x08\x01\x8b\x7d\x12\x01a\x8c\x7d\x84\x7d"
    parsed = messages.ExecChunk.parse(b"\x10\x01" + group)
    assert (parsed.stdin, bytes(parsed)) == (True, b"\x10\x01" + group)
    check_decoding(messages.ExecChunk, THEIRS["ExecChunk"], group * 2)


@pytest.mark.parametrize(
    ("name", "field", "bad"),
    [
        ("ExecChunk", "exit_code", 2**31),
        ("ExecChunk", "exit_code", -(2**31) - 1),
        ("ExecChunk", "cols", 2**32),
        ("ExecChunk", "cols", -1),
        ("GetVmResponse", "disk_bytes", 2**64),
        ("GetVmResponse", "disk_bytes", -1),
        ("GetVmResponse", "created_at", 2**63),
        ("GetVmResponse", "created_at", -(2**63) - 1),
        ("ExecChunk", "command", "\ud800"),
    ],
)
def test_values_out_of_range_are_not_sent(name: str, field: str, bad: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name}\.{field} "):
        bytes(getattr(messages, name)(**{field: bad}))


@pytest.mark.parametrize(
    ("name", "field", "bad"),
    [
        ("ExecChunk", "exit_code", "1"),
        ("ExecChunk", "cols", 1.5),
        ("ExecChunk", "cols", 300.5),
        ("ExecChunk", "command", b"ls"),
        ("ExecChunk", "data", "text"),
        ("ExecChunk", "data", 5),
        ("CreateVmRequest", "config", 5),
        ("CreateVmRequest", "env", [b"KEY"]),
        ("CreateVmRequest", "cmd", [1]),
        ("CreateVmRequest", "labels", {"a": 1}),
        ("VmUsage", "vcpu_hours", "1"),
    ],
)
def test_values_of_the_wrong_type_are_not_sent(name: str, field: str, bad: Any) -> None:
    with pytest.raises(TypeError, match=rf"^{name}\.{field} must be of type"):
        bytes(getattr(messages, name)(**{field: bad}))


NO_MAPS = ["ExecChunk", "VmConfig", "VmUsage", "MachineSpecBase", "GetOrgMembersResponse"]
"""Messages for arbitrary bytes. Those with maps are left out for what protobuf does with unknown fields in an entry."""


def check_any_bytes(name: str, data: bytes) -> None:
    """Whatever the bytes are: a ValueError, or what protobuf reads in them."""
    try:
        getattr(messages, name).parse(data)
    except ValueError:
        return
    if name in NO_MAPS:
        check_decoding(getattr(messages, name), THEIRS[name], data)


@pytest.mark.parametrize("name", [*NO_MAPS, "GetVmResponse"])
@settings(HARD, max_examples=150)
@given(data=st.binary(max_size=40))
def test_random_bytes(name: str, data: bytes) -> None:
    check_any_bytes(name, data)


@pytest.mark.parametrize("name", [*NO_MAPS, "GetVmResponse"])
@settings(HARD, max_examples=25)
@given(data=st.data())
def test_damaged_messages(name: str, data: st.DataObject) -> None:
    raw = bytearray(data.draw(jumbled(name)))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw)))
        raw[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    check_any_bytes(name, bytes(raw))
    for end in range(len(raw)):
        check_any_bytes(name, bytes(raw[:end]))


def test_many_unknown_fields_take_linear_time() -> None:
    """A million bytes of them, with a known field before each: copying what is kept each time would take minutes."""
    raw = b"\x10\x01\x80\x7d\x05" * 200_000
    parsed = messages.ExecChunk.parse(raw)
    assert bytes(parsed) == b"\x10\x01" + b"\x80\x7d\x05" * 200_000
