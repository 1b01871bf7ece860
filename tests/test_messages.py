"""The generated messages against the official protobuf runtime, both ways, and what their import costs."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxd import messages
from tests.fixtures.contract import (
    EXTREMES,
    HARD,
    NAMES,
    QUICK,
    ROOT,
    SCHEMA,
    THEIRS,
    UNKNOWN,
    WIDE,
    Field,
    Plain,
    fields_of,
    ours,
    plain,
    python_name,
    theirs,
    values_alone,
)


def check_both_ways(name: str, value: Plain) -> None:
    mine, official = ours(name, value), theirs(name, value)
    assert THEIRS[name].FromString(bytes(mine)) == official
    parsed = type(mine).parse(official.SerializeToString())
    assert parsed == mine
    for field in fields_of(name, value):
        _check_presence(field, getattr(parsed, python_name(field.name)))


def _check_presence(field: Field, value: Any) -> None:
    """What was set is there, and has the type it is declared with, zero or not."""
    if field.repeated or field.entry is not None:
        assert isinstance(value, list if field.repeated else dict)
    elif field.message is not None:
        assert type(value) is getattr(messages, field.message)
    else:
        assert type(value) is type(EXTREMES[field.kind][0])


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
def test_every_fieldvalues_alone(name: str) -> None:
    """Each field with each extreme value, and with its default, which only has an effect where there is presence."""
    check_both_ways(name, {})
    for field in SCHEMA.messages[name].fields:
        for value in values_alone(field):
            check_both_ways(name, {field.name: value})


@pytest.mark.parametrize("name", NAMES)
def test_unknown_fields_are_kept(name: str) -> None:
    """A newer server's fields do no harm, and are passed on by who parses and sends again."""
    value = {field.name: values_alone(field)[-1] for field in SCHEMA.messages[name].fields if field.oneof is None}
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
