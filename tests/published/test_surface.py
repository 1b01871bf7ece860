"""The whole surface of the published client against the emulator, and what the tables of its guide promise."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import trustme

from boxd import emulator, sizes
from boxd.emulator.errors import Code
from tests.fixtures.servers import Server, running
from tests.published.documentation import Documentation
from tests.published.programs import CLIENTS, OURS, PUBLISHED, Program

pytestmark = pytest.mark.slow

FIELDS = """
import json, sys
from boxd import Compute
with Compute() as c:
    made = c.box.create("one")
    boxes = {"create": made, "fork": c.box.fork("one", "two"), "list": c.box.list()[0], "get": c.box.get(made.id)}
    names = json.loads(sys.argv[2])
    print(json.dumps({way: {name: getattr(box, name) for name in names} for way, box in boxes.items()}))
"""
ERRORS = """
import boxd, sys
with boxd.Compute() as c:
    services = [c.box, c.template, c.disk, c.domain, c.network, c.token]
    for call in [c.whoami, c.config, c.billing.status, c.billing.list_plans, *(one.list for one in services)]:
        try:
            call()
        except boxd.BoxdError as error:
            print(type(error).__name__, error.grpc_code)
"""
RPCS = (
    *("Whoami", "GetConfig", "GetBilling", "ListPlans", "ListVms", "ListTemplates", "ListDisks"),
    *("ListDomains", "ListNetworks", "ListTokens"),
)
WHO = "from boxd import Compute\nwith Compute() as c:\n    print(c.whoami().user_id)\n"


@pytest.mark.parametrize("client", CLIENTS)
def test_every_method_is_served(client: str, program: Program, service: Server) -> None:
    if service.sandbox == "plain":
        pytest.skip("boxes have no names and no mounts of their own here")
    _call_all(client, program)


@pytest.mark.parametrize("client", CLIENTS)
def test_every_method_is_served_by_an_older_server(client: str, published_python: str, tmp_path: Path) -> None:
    with running("emulator", generation=1, get_by_name=False) as server:
        if server.sandbox == "plain":
            pytest.skip("boxes have no names and no mounts of their own here")
        _call_all(client, Program(server, {PUBLISHED: published_python, OURS: sys.executable}, str(tmp_path)))


def _call_all(client: str, program: Program) -> None:
    done = program.run(client, "every_call.py")
    assert done.status == 0, done.err
    report = json.loads(done.out)
    if client == PUBLISHED:
        assert (report["known"] > 80, report["missing"]) == (True, []), report


@pytest.mark.parametrize("client", CLIENTS)
def test_the_fields_of_a_box_are_filled_as_the_guide_says(
    client: str, documentation: Documentation, program: Program
) -> None:
    rows = documentation.table("Field", "create", "fork", "list", "get")
    names = [name for row in rows for name in row[0].split(", ")]
    assert len(names) > 8
    done = program.run(client, "run_example.py", program.plan(example=FIELDS), json.dumps(names))
    assert done.status == 0, done.err
    boxes = json.loads(done.out)
    for row in rows:
        for name in row[0].split(", "):
            for way, promised in zip(("create", "fork", "list", "get"), row[1:], strict=True):
                value = boxes[way][name]
                if name == "ssh_port":
                    assert value is None, "there is no SSH in the emulator"
                elif promised != "None":
                    assert value not in (None, ""), (name, way)
                elif way != "list":
                    # In lists the client has 0 or what the server sends, whatever its guide says.
                    assert not value, (name, way, value)


def test_the_classes_of_errors_are_those_of_the_guide(
    documentation: Documentation, published_python: str, tmp_path: Path
) -> None:
    expected = [
        (code, name) for name, codes in documentation.table("Class", "gRPC status") for code in codes.split(", ")
    ]
    faults = [f"{rpc}:{code.lower().replace('_', '-')}" for rpc, (code, _) in zip(RPCS, expected, strict=True)]
    with running("emulator", faults=faults, sdk_latest="0.1.99") as server:
        program = Program(server, {PUBLISHED: published_python}, str(tmp_path))
        done = program.run(PUBLISHED, "run_example.py", program.plan(example=ERRORS))
    assert done.status == 0, done.err
    assert done.out.splitlines() == [f"{name} {Code[code].value}" for code, name in expected]
    # The guide shows the notice of a newer version, which the header of the answers has brought.
    (shown,) = [text for text in documentation.blocks("").values() if "pip install" in text]
    assert done.err.split() == _with_versions(shown, "0.1.99", documentation.version).split()


def _with_versions(notice: str, latest: str, current: str) -> str:
    versions = iter((latest, current))
    return re.sub(r"\bv\d+\.\d+\.\d+", lambda _: f"v{next(versions)}", notice)


def test_the_schemes_of_an_address(published_python: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "0.0.0.0").private_key_and_cert_chain_pem
    certificate.write_to_path(str(tmp_path / "cert.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with emulator.running(sandbox="plain", tls_cert=str(tmp_path / "cert.pem")) as local:
        plain, tls = (url.rpartition(":")[2] for url in (local.api_url, local.tls_url))
        program = Program(local, {PUBLISHED: published_python}, str(tmp_path))  # type: ignore[arg-type]
        plan = program.plan(example=WHO)
        # A bare address is TLS unless it is local by its looks, which 0.0.0.0 is not.
        for url in (f"http://127.0.0.1:{plain}", f"127.0.0.1:{plain}", f"https://127.0.0.1:{tls}", f"0.0.0.0:{tls}"):
            variables = {"BOXD_API_URL": url, "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(tmp_path / "ca.pem")}
            done = program.run(PUBLISHED, "run_example.py", plan, **variables)
            assert (done.status, done.out) == (0, "local-user\n"), (url, done.err)


def test_sizes_are_read_alike(documentation: Documentation) -> None:
    examples = re.findall(r'"(\w+)" -> (\d+)', documentation.docstrings["boxd._utils.parse_size"])
    assert len(examples) >= 3
    assert [sizes.parse_size(text) for text, _ in examples] == [int(number) for _, number in examples]
