"""Generates `docs/api.md`: every call of the client with its RPCs, and every RPC with its calls.

Both come from the async classes: a method's docstring names its RPCs after `RPC:` or `RPCs:`.
"""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass
from pathlib import Path

from codegen.blocking import MODULES, load_module
from codegen.schema import load

FILE = "docs/api.md"
EMULATOR = "boxd/emulator"
TESTS = "tests/acceptance/rpcs.json"
"""For each RPC the modules of acceptance tests that make it; `tests/acceptance/record.py` writes it."""
SERVICE = "proto/boxd/api/v1/service.proto"
#: How an object of each class that makes calls is written in an example, and what it is.
OBJECTS = {
    "Compute": ("c", "The client"),
    "BoxService": ("c.box", "Machines"),
    "Box": ("box", "A machine"),
    "FileService": ("box.files", "Its files"),
    "PortService": ("box.ports", "Its exposed ports"),
    "CheckpointService": ("box.checkpoints", "Its checkpoints"),
    "BackupService": ("box.backups", "Its backups"),
    "SnapshotService": ("c.snapshot", "Snapshots"),
    "TemplateService": ("c.template", "Templates"),
    "DiskService": ("c.disk", "Disks"),
    "DiskHandle": ("disk", "A disk"),
    "DomainService": ("c.domain", "Domains"),
    "NetworkService": ("c.network", "Networks"),
    "TokenService": ("c.token", "Tokens"),
    "ApiKeyService": ("c.api_key", "API keys"),
    "EnvService": ("c.env", "Environment variables"),
    "SecretService": ("c.secret", "Secrets"),
    "OrgService": ("c.org", "Organizations"),
    "BillingService": ("c.billing", "Billing and usage"),
}
_ORGANIZATIONS = "administration of an organization, for its web console"
_TEAMS = "teams within an organization, for its web console"
#: The RPCs that no call makes, and why.
WITHOUT_CALL = {
    "SetOrgContext": "calls name the organization that they are about; a context kept in the server would be shared "
    "by all of a user's programs",
    "DesktopTunnel": "a screen for people, not for programs",
    "ListProxyNodes": "tells where the service's own proxies are",
    "UpdateMachineSpec": "edits the console's description of a machine; what a program changes has calls of its own",
    "SetBotProtection": "a setting of the web front, for the web console",
    "SetIdleIgnoreOutbound": "fine tuning of a timer, for the web console",
    **dict.fromkeys(("CreateTeam", "ListTeams", "GetTeam", "RenameTeam", "DestroyTeam"), _TEAMS),
    **dict.fromkeys(("AddTeamMember", "RemoveTeamMember", "SetTeamMemberRole", "SetTeamDefaultSnapshot"), _TEAMS),
    **dict.fromkeys(("GetOrgDomain", "SetOrgDomain", "ClearOrgDomain"), _ORGANIZATIONS),
    **dict.fromkeys(("GetOrgBackupsDefault", "SetOrgBackupsDefault"), _ORGANIZATIONS),
    **dict.fromkeys(("GetOrgBotProtectionDefault", "SetOrgBotProtectionDefault"), _ORGANIZATIONS),
    **dict.fromkeys(("GetOrgIdleIgnoreOutboundDefault", "SetOrgIdleIgnoreOutboundDefault"), _ORGANIZATIONS),
    **dict.fromkeys(("GetOrgMachineDefaults", "SetOrgMachineDefaults"), _ORGANIZATIONS),
}


@dataclass(frozen=True)
class CallRow:
    """A public method that makes calls."""

    cls: str
    name: str
    signature: str
    returns: str
    rpcs: tuple[str, ...]
    summary: str

    @property
    def path(self) -> str:
        """As an example writes it, without arguments."""
        return f"{OBJECTS.get(self.cls, (self.cls, ''))[0]}.{self.name}"


def generate(root: Path) -> dict[str, str]:
    """The text of `docs/api.md`, by its path relative to the root."""
    rows = calls(root)
    text = [_HEAD]
    for cls, (prefix, title) in OBJECTS.items():
        text.append(f"\n## {title}: `{prefix}`\n\n| call | returns | RPC | |\n|---|---|---|---|\n")
        text += [
            f"| `{row.name}{row.signature}` | `{row.returns}` | {', '.join(row.rpcs)} | {row.summary} |\n"
            for row in rows
            if row.cls == cls
        ]
    text.append(_RPCS)
    makers = callers(root)
    served, tested = handlers(root), tests(root)
    for rpc, generation in generations(root).items():
        made = ", ".join(f"`{path}`" for path in makers.get(rpc, ()))
        there = "yes" if rpc in served else "no"
        by = _some(tested.get(rpc, []))
        text.append(f"| {rpc} | {generation} | {made or f'none: {WITHOUT_CALL[rpc]}'} | {there} | {by} |\n")
    return {FILE: "".join(text)}


def calls(root: Path) -> list[CallRow]:
    """Every public method that names an RPC, in the order of the sources."""
    known = set(generations(root))
    rows: list[CallRow] = []
    for path in MODULES:
        for cls in load_module(root, path).classes:
            found = {
                node.name: row
                for node in cls.body
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (row := _row(cls.name, node, known))
            }
            rows += found.values()
    return rows


def callers(root: Path) -> dict[str, list[str]]:
    """For each RPC the calls that make it."""
    found: dict[str, list[str]] = {}
    for row in calls(root):
        for rpc in row.rpcs:
            found.setdefault(rpc, []).append(row.path)
    return found


def handlers(root: Path) -> set[str]:
    """The RPCs that the emulator has a handler for: a method of this name that takes a request and its context."""
    by_handler = {re.sub(r"(?<!^)(?=[A-Z])", "_", rpc).lower(): rpc for rpc in generations(root)}
    found = set()
    for path in (root / EMULATOR).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.name not in by_handler:
                continue
            if [arg.arg for arg in node.args.args][2:] == ["context"]:
                found.add(by_handler[node.name])
    return found


def tests(root: Path) -> dict[str, list[str]]:
    """For each RPC the modules of acceptance tests that make it, as they were last recorded."""
    path = root / TESTS
    found: dict[str, list[str]] = json.loads(path.read_text()) if path.exists() else {}
    return found


def generations(root: Path) -> dict[str, str]:
    """For each RPC `1`, `2` or `both`: which servers have it."""
    schema = load(root)
    text = (root / SERVICE).read_text()
    found = {}
    for rpc in sorted(schema.rpcs, key=lambda one: one.name):
        comment, _, _ = text.partition(f"  rpc {rpc.name}(")
        lines = re.split(r"\n(?!  //)", comment.rstrip())[-1]
        words = " ".join(line.strip().removeprefix("//").strip() for line in lines.splitlines())
        only = re.search(r"Generation ([12]) only", words)
        found[rpc.name] = only[1] if only else "both"
    return found


def _some(names: list[str]) -> str:
    """A few names, and how many there are more."""
    shown = ", ".join(f"`{name}`" for name in names[:4]) or "none"
    return f"{shown} and {len(names) - 4} more" if len(names) > 4 else shown


def _row(cls: str, node: ast.FunctionDef | ast.AsyncFunctionDef, known: set[str]) -> CallRow | None:
    text = " ".join((ast.get_docstring(node) or "").split())
    names = [word for part in re.findall(r"RPCs?: (.*)", text) for word in re.findall(r"\w+", part) if word in known]
    if not names or node.name.startswith("_"):
        return None
    summary = re.match(r"(.*?[.])(?: |$)", text)
    returns = "None" if node.returns is None else ast.unparse(node.returns).replace("builtins.", "").replace("|", r"\|")
    arguments = _signature(node.args)
    return CallRow(cls, node.name, arguments, returns, tuple(dict.fromkeys(names)), summary[1] if summary else "")


def _signature(args: ast.arguments) -> str:
    """The arguments with their defaults, without annotations."""
    plain = args.args[1:]
    missing = len(plain) - len(args.defaults)
    parts = [
        arg.arg if at < missing else f"{arg.arg}={ast.unparse(args.defaults[at - missing])}"
        for at, arg in enumerate(plain)
    ]
    if args.vararg is not None:
        parts.append(f"*{args.vararg.arg}")
    elif args.kwonlyargs:
        parts.append("*")
    for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True):
        parts.append(arg.arg if default is None else f"{arg.arg}={ast.unparse(default)}")
    return f"({', '.join(parts)})"


_HEAD = """\
<!-- GENERATED by scripts/gen.py from the docstrings in boxd/. Do not edit. -->
# The calls

Every call of `boxd` that reaches the service. Those of `boxd.aio` are the same, awaited. `c` is a `Compute`, `box` a
`Box`, `disk` a `DiskHandle`. Where a call takes a machine it takes a `Box`, a name or an id; a name or an id costs a
GetVm. The docstrings say what each raises.
"""

_RPCS = """
## RPCs

The service exists in two generations. A server that does not know a call's RPC answers UNIMPLEMENTED, which is an
`UnsupportedError` that names it. The tests are those of `tests/acceptance`, which run on asyncio, on trio and blocking,
against the emulator and against grpcio: they see each of the calls above succeed and fail with both servers.

| RPC | generation | call | emulator | tests |
|---|---|---|---|---|
"""
