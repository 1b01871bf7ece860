"""What is around each example of the published client's guide, and what must have come of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """One example: the heading that it is below and its number there, or the name and number of a docstring."""

    heading: str
    number: int = 0
    before: str = ""
    """Makes what the example takes for granted."""
    after: str = ""
    """Says what must be true after it: see run_example.py for the names that it has."""
    out: str = ""
    """A pattern for all that it prints."""
    unless: str = ""
    again: str = ""
    """See run_example.py."""
    raises: str = ""
    """The exception that it shows."""
    defect: str = ""
    """The exception with which it ends with the published client, by a defect of that client. Not with ours."""
    out_of_ours: str = ""
    """What it prints more with ours, where `defect` does not end it."""
    isolated: bool = False
    """Whether the box needs a file system of its own."""

    def __str__(self) -> str:
        return f"{self.heading}-{self.number}"


CLIENT = """
from boxd import Compute
c = Compute()
"""
BOX = f"""{CLIENT}
box = c.box.create(name="my-vm")
"""
ASYNC_CLIENT = """
from boxd.aio import Compute
c = Compute()
"""
LOCAL_FILE = """
from pathlib import Path
Path("local").mkdir()
Path("local/file.py").write_text("a local file")
"""
# Stand-ins for the programs that the examples start. The box's user has the right to make them executable.
PROGRAMS = f"""{CLIENT}
from boxd import BoxConfig
box = c.box.create(config=BoxConfig(env={{"PATH": "bin:/usr/local/bin:/usr/bin:/bin"}}))
box.write_file("#!/bin/sh\\ncat $1", "bin/python")
box.write_file("#!/bin/sh\\necho $1 ready; echo slowly >&2; exit 3", "bin/cargo")
box.write_file("#!/bin/sh\\ncat; echo $2", "bin/claude")
assert box.exec("chmod", "755", "bin/python", "bin/cargo", "bin/claude").success
box.write_file("the script", "script.py")
"""
HELLO = 'assert (result.stdout, result.stderr, result.exit_code) == ("hello\\n", "", 0)'

GUIDE = [
    Case("Quick Start", after=f'{HELLO}\nassert box.status == "destroyed"', out="hello\n\n"),
    Case("Authentication", before=CLIENT, after="assert shown[0].whoami() == shown[2].whoami() == c.whoami()"),
    Case("Configuration", before=CLIENT, after="assert shown[0].whoami() == c.whoami()"),
    Case(
        "Configuration",
        1,
        before=f"""{CLIENT}
import socket
asked = set()
def refuse(host, *arguments, **options):
    asked.add(host if isinstance(host, str) else host.decode())
    raise socket.gaierror(socket.EAI_NONAME, "refused by the test")
""",
        # Both addresses of the example have one host. It must be asked for, whatever the variables say.
        after="""
socket.getaddrinfo = refuse
try:
    shown[0].whoami()
except Exception as refused:
    pass
assert len(asked) == 1 and f"http://{asked.pop()}:" in example
""",
    ),
    # It reboots a box that it has stopped, which is refused, and goes on with one that it has destroyed.
    Case(
        "VM Lifecycle",
        before=CLIENT,
        unless="BoxdError",
        again="""
if box.status == "destroyed":
    box = c.box.create()
else:
    box.start()
""",
        after="""
assert [one.id for one in boxes] == [found.id] == [forked.forked_from]
assert (found.name, forked.name) == ("my-vm", "f1")
assert s.suspend_us > 0 and r.resume_us > 0
assert c.box.get(box.id).status == box.status == "running"
assert len(redone) == 2 and "reboot" in redone[0] and "suspend" in redone[1]
""",
    ),
    Case(
        "BoxConfig",
        before=CLIENT,
        after="""
kept = c.box.get("my-vm")
assert (kept.restart_policy, kept.auto_suspend_timeout_secs) == ("always", 300)
assert box.exec("printenv", *config.env).stdout.split() == list(config.env.values())
""",
    ),
    Case(
        "Exec",
        before=PROGRAMS,
        after="""
assert (r.stdout, r.stderr, r.exit_code, r.success) == ("the script", "", 0, True)
assert shown[:4] == ["the script", "", 0, True] and shown[4].stdout == "bar\\n"
assert exit_code == 3
assert (b"".join(r2.iter_stdout()).decode().strip() in example, r2.wait()) == (True, 0)
assert error is None or "stdin" in str(error)
""",
        out="build ready\n",
        defect="AttributeError",
        out_of_ours="0\n",
    ),
    Case(
        "Files",
        before=BOX + LOCAL_FILE + 'box.write_file(b"{}", "/app/output.json")',
        after="""
assert data == b"{}"
for name in ("bin", "txt"):
    assert f'"{box.read_file(f"/app/file.{name}").decode()}"' in example
assert box.read_file("/app/file.py") == b"a local file"
""",
    ),
    Case(
        "Proxies",
        before=BOX,
        after="""
assert [one.is_default for one in shown[0]] == [True]
assert (proxy.name, proxy.port, proxy.vm_name) == ("api", 3001, "my-vm")
assert proxy.domain.startswith("api.my-vm.")
assert [(one.port, one.is_default) for one in box.proxies()] == [(3000, True)]
""",
    ),
    Case(
        "Templates",
        before=CLIENT,
        after="""
assert [(one.id, one.name, one.image, one.vcpu, one.memory_bytes) for one in shown[0]] == [
    (t.id, t.name, t.image, 2, 4 << 30)
]
assert [box.name, big.name] == ["from-t", "from-t-big"]
assert {c.box.get(one.id).image for one in (box, big)} == {t.image}
assert c.template.list() == []
""",
    ),
    # A disk is attached once at a time: it is taken off before it is attached in another way.
    Case(
        "Disks",
        before=BOX,
        unless="BoxdError",
        again='d.detach("my-vm")',
        after="""
assert shown[1:] == ["data", 10 << 30, "ready"]
assert ["read_only" in line for line in redone] == [True]
assert c.disk.list() == []
""",
        isolated=True,
    ),
    Case("Domains", before=BOX, after="assert d.vm_id == box.id\nassert c.domain.list() == []", out=r"\S+ -> \S+\n"),
    Case(
        "Networks",
        before=CLIENT,
        after="""
listed = {one.id: one for one in c.network.list()}
assert n.id != named.id and {n.id, named.id} <= set(listed)
assert "/" in listed[n.id].subnet
""",
        out=r"(\S+ [0-9.]+/\d+ \w+\n)+",
    ),
    Case(
        "Tokens",
        before=CLIENT + "import time",
        after="""
assert t.token.startswith("eyJ") and 3500 < t.expires_at - time.time() < 3700
assert (info.expires_at, info.expires_at - info.created_at) == (t.expires_at, 3600)
assert c.token.list() == []
""",
    ),
    Case(
        "Identity",
        before=CLIENT,
        after="""
assert shown == [me.user_id, me.fingerprints, me.default_network_id, cfg.default_image, cfg.zone]
assert me.user_id and me.default_network_id.startswith("net-")
assert f'"{cfg.default_image}"' in example and cfg.zone
""",
    ),
    Case("Identity", 1, out=r"on \d+\.\d+\.\d+\S*\n"),
    Case(
        "Errors",
        before=CLIENT,
        after="""
assert shown == [...] and "box" not in globals()
errors = [AuthenticationError, NotFoundError, QuotaExceededError, InvalidArgumentError, TimeoutError, InternalError]
assert all(issubclass(one, BoxdError) for one in [*errors, ConnectionError])
""",
    ),
    Case(
        "Errors",
        1,
        before=f"""{CLIENT}
from boxd import BoxdError, QuotaExceededError
try:
    while True:
        c.box.create()
except QuotaExceededError:
    pass
""",
        after="assert shown == [...]",
        raises="QuotaExceededError",
    ),
    Case("Sync vs Async", after="with Compute() as c:\n    assert c.whoami().user_id"),
    Case("Sync vs Async", 1, after=HELLO),
]

DOCSTRINGS = [
    Case("boxd", after=f'{HELLO}\nassert box.status == "destroyed"', out="hello\n\n"),
    Case("boxd", 1, after=HELLO, out="hello\n\n"),
    Case("boxd.aio", after=HELLO, out="hello\n\n"),
    Case("boxd._sync.Compute", before=CLIENT, after=HELLO, out="hello\n\n"),
    Case("boxd.client.Compute", before=ASYNC_CLIENT, after='assert box.name == "my-vm" and box.id'),
    Case(
        "boxd.box.Box.write_file",
        before=ASYNC_CLIENT + LOCAL_FILE + "box = await c.box.create()",
        after='assert await box.read_file("/app/file.py") == b"a local file"\nawait c.close()',
    ),
    Case(
        "boxd.billing.BillingService",
        before=ASYNC_CLIENT,
        after="""
assert plans and plans[0].vcpu and current.max_vms
assert bool(subscribed) == ("url" not in globals())
await c.close()
""",
        out=r"(Upgrade at: \S+\n)?",
    ),
]
