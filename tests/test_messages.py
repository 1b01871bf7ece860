"""The generated messages against the official protobuf runtime, both ways, and what their import costs."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pool, message_factory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from boxd import messages

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from codegen.output import python_name  # noqa: E402
from codegen.schema import Field, descriptor_set, load  # noqa: E402

SCHEMA = load(ROOT)
NAMES = sorted(SCHEMA.messages)
WIDE = ["CreateVmRequest", "ExecChunk", "GetVmResponse", "ListVmsResponse", "SetOrgBackupsDefaultRequest"]
"""Messages that between them have every kind of field, to be tried harder."""

UNKNOWN = b"\x80\x7d\x05\x81\x7d12345678\x82\x7d\x03xyz\x85\x7d1234"
"""Fields with the number 2000, one of each wire type: none of the contract's messages has it."""

Plain = dict[str, Any]
"""A message as a dict: absent fields are left out, and messages within are such dicts."""


def _protobuf_classes() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    files = descriptor_set(ROOT).file
    for file in files:
        pool.AddSerializedFile(file.SerializeToString())
    classes = message_factory.GetMessageClassesForFiles([file.name for file in files], pool)
    return {name.rpartition(".")[2]: value for name, value in classes.items() if name.count(".") == 3}


THEIRS = _protobuf_classes()

EXTREMES: dict[str, tuple[Any, ...]] = {
    "bool": (True,),
    "bytes": (bytes(range(256)), b"\x00"),
    "double": (-1.5, math.inf, -math.inf, 5e-324, 1.7976931348623157e308),
    "int32": (-1, -(2**31), 2**31 - 1, 127, 128),
    "int64": (-1, -(2**63), 2**63 - 1, 2**53 + 1),
    "string": ("ü", "\U0001f680 日本語", "\x00", "x" * 300),
    "uint32": (1, 2**32 - 1, 127, 128, 16384),
    "uint64": (1, 2**64 - 1, 2**53 + 1),
}
"""Per kind of scalar, values that are easily encoded wrongly; none is the default."""

SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "bytes": st.binary(max_size=40),
    # A negative zero is left out: betterproto2 takes it for the default and does not send it.
    "double": st.floats(allow_nan=False).map(lambda value: value + 0.0),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "string": st.text(max_size=40),
    "uint32": st.integers(0, 2**32 - 1),
    "uint64": st.integers(0, 2**64 - 1),
}


def plain(name: str, depth: int = 2) -> st.SearchStrategy[Plain]:
    """Any message of a type."""
    fields = SCHEMA.messages[name].fields
    choices = {field.name: _values(field, depth) for field in fields}
    return st.fixed_dictionaries({}, optional=choices).map(lambda value: _one_of_each_group(name, value))


def _values(field: Field, depth: int) -> st.SearchStrategy[Any]:
    if field.entry is not None:
        key, value = field.entry
        return st.dictionaries(_values(key, depth), _values(value, depth), max_size=3)
    if field.message is None:
        one = SCALARS[field.kind]
    elif depth == 0:
        one = st.just({})
    else:
        one = st.deferred(lambda: plain(field.message or "", depth - 1))
    return st.lists(one, max_size=3) if field.repeated else one


def _one_of_each_group(name: str, value: Plain) -> Plain:
    """The message with no more than one field set of each oneof."""
    groups = {field.name: field.oneof or field.name for field in SCHEMA.messages[name].fields}
    last = {groups[field]: field for field in value}
    return {field: value[field] for field in value if last[groups[field]] == field}


def ours(name: str, value: Plain) -> Any:
    """The plain message as one of our messages."""
    return getattr(messages, name)(
        **{python_name(field.name): _convert(field, value[field.name], ours) for field in _set(name, value)}
    )


def theirs(name: str, value: Plain) -> Any:
    """The plain message as a message of the official runtime."""
    return THEIRS[name](**{field.name: _convert(field, value[field.name], theirs) for field in _set(name, value)})


def _set(name: str, value: Plain) -> list[Field]:
    return [field for field in SCHEMA.messages[name].fields if field.name in value]


def _convert(field: Field, value: Any, build: Callable[[str, Plain], Any]) -> Any:
    if field.message is None:
        return value
    return [build(field.message, item) for item in value] if field.repeated else build(field.message, value)


def check_both_ways(name: str, value: Plain) -> None:
    mine, official = ours(name, value), theirs(name, value)
    assert THEIRS[name].FromString(bytes(mine)) == official
    parsed = type(mine).parse(official.SerializeToString())
    assert parsed == mine
    for field in _set(name, value):
        _check_presence(field, getattr(parsed, python_name(field.name)))


def _check_presence(field: Field, value: Any) -> None:
    """What was set is there, and has the type it is declared with, zero or not."""
    if field.repeated or field.entry is not None:
        assert isinstance(value, list if field.repeated else dict)
    elif field.message is not None:
        assert type(value) is getattr(messages, field.message)
    else:
        assert type(value) is type(EXTREMES[field.kind][0])


QUICK = settings(max_examples=4, deadline=None, database=None, suppress_health_check=list(HealthCheck))
HARD = settings(QUICK, max_examples=40)


@pytest.mark.parametrize("name", NAMES)
@QUICK
@given(data=st.data())
def test_round_trip(name: str, data: st.DataObject) -> None:
    check_both_ways(name, data.draw(plain(name)))


@pytest.mark.parametrize("name", WIDE)
@HARD
@given(data=st.data())
def test_round_trip_of_wide_messages(name: str, data: st.DataObject) -> None:
    check_both_ways(name, data.draw(plain(name, depth=3)))


@pytest.mark.parametrize("name", NAMES)
def test_every_field_alone(name: str) -> None:
    """Each field with each extreme value, and with its default, which only has an effect where there is presence."""
    check_both_ways(name, {})
    for field in SCHEMA.messages[name].fields:
        for value in _alone(field):
            check_both_ways(name, {field.name: value})


def _alone(field: Field) -> list[Any]:
    if field.entry is not None:
        return [{}, {"": ""}, {"k": "v", "ключ": "", "": "v"}]
    if field.message is not None:
        values: list[Any] = [{}]
    else:
        values = [*EXTREMES[field.kind], type(EXTREMES[field.kind][0])()]
    return [[], values, values + values] if field.repeated else values


@pytest.mark.parametrize("name", NAMES)
def test_unknown_fields_are_kept(name: str) -> None:
    """A newer server's fields do no harm, and are passed on by who parses and sends again."""
    value = {field.name: _alone(field)[-1] for field in SCHEMA.messages[name].fields if field.oneof is None}
    sent = theirs(name, value).SerializeToString()
    for raw in (sent + UNKNOWN, UNKNOWN + sent):
        parsed = getattr(messages, name).parse(raw)
        assert parsed == ours(name, value)
        assert bytes(parsed).endswith(UNKNOWN)
        assert THEIRS[name].FromString(bytes(parsed)) == THEIRS[name].FromString(raw)


def test_presence_tells_zero_from_absent() -> None:
    absent, zero = messages.SrfConfig(), messages.SrfConfig(auto_suspend_timeout_secs=0)
    assert (absent.auto_suspend_timeout_secs, zero.auto_suspend_timeout_secs) == (None, 0)
    assert (bytes(absent), bytes(zero)) == (b"", b"\x08\x00")
    assert messages.SrfConfig.parse(bytes(zero)).auto_suspend_timeout_secs == 0
    assert messages.SrfConfig.parse(b"").auto_suspend_timeout_secs is None
    assert bytes(messages.CreateVmRequest(config=messages.VmConfig())) == b"\x42\x00"


def test_a_oneof_holds_one() -> None:
    base = messages.MachineSpecBase.parse(bytes(messages.MachineSpecBase(snapshot="")))
    assert (base.team, base.snapshot) == (None, "")


def test_not_a_number_arrives() -> None:
    usage = messages.VmUsage(vcpu_hours=math.nan)
    assert math.isnan(THEIRS["VmUsage"].FromString(bytes(usage)).vcpu_hours)
    assert math.isnan(messages.VmUsage.parse(bytes(usage)).vcpu_hours)


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(ValueError, match="GetVmRequest: a text is not UTF-8"):
        messages.GetVmRequest.parse(b"\x0a\x02\xff\xfe")


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("CreateApiKeyResponse", "api_key"),
        ("CreateTokenResponse", "token"),
        ("InviteOrgMemberResponse", "accept_url"),
        ("OrgInviteInfo", "token"),
        ("RevokeOrgInviteRequest", "token"),
        ("SetVarRequest", "value"),
    ],
)
def test_secrets_are_not_shown(name: str, field: str) -> None:
    kind = getattr(messages, name)
    message = kind(**{field: "s3cret"})
    assert repr(message) == f"{name}({field}='[redacted]')"
    assert repr(kind()) == f"{name}()"
    assert getattr(message, field) == getattr(kind.parse(bytes(message)), field) == "s3cret"


def test_secrets_are_not_shown_in_messages_that_hold_them() -> None:
    members = messages.GetOrgMembersResponse(invites=[messages.OrgInviteInfo(token="s3cret", email="a@b.c")])
    assert "s3cret" not in repr(members)
    assert "a@b.c" in repr(members)


def test_fields_are_given_by_name() -> None:
    with pytest.raises(TypeError):
        messages.EnvVar("KEY", "value")  # type: ignore[call-arg]


CORE = {
    "Exec": {"exec"},
    "UploadFileStream": {"files"},
    "DownloadFileStream": {"files"},
    "StopVm": {"vm_lifecycle"},
    "ShareVm": {"vm_sharing"},
    "StreamLogs": {"logs"},
    "ListProxies": {"proxy"},
    "ListOrgs": {"org"},
    "Whoami": {"identity", "billing_info"},
    "GetConfig": {"identity", "billing_info"},
    "ForkVm": {"vm_fork", "vm_config"},
    "CreateVm": {"vm", "vm_config", "machine_spec", "custom_domain_info"},
}
"""The modules of messages that the calls of everyday work load."""

PROBE = """
import json, sys, time
import boxd.messages, boxd.methods, betterproto2
started = time.perf_counter()
getattr(boxd.methods, {name!r})
elapsed = time.perf_counter() - started
prefix = "boxd.messages."
print(json.dumps([elapsed, [name.removeprefix(prefix) for name in sys.modules if name.startswith(prefix)]]))
"""


@pytest.mark.parametrize("name", CORE)
def test_a_call_loads_its_own_messages_only(name: str) -> None:
    run = subprocess.run([sys.executable, "-c", PROBE.format(name=name)], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    elapsed, modules = json.loads(run.stdout)
    print(f"{name}: {elapsed * 1e3:.1f} ms to load {', '.join(sorted(modules))}")
    assert {module for module in modules if not module.startswith("_")} == CORE[name]


def test_the_package_of_messages_costs_nothing_by_itself() -> None:
    code = "import sys, boxd.messages; sys.exit('betterproto2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
