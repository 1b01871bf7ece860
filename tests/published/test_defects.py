"""What the published client cannot do by defects of its own: each program fails with it and works with ours.

The emulator is the same for both, so that none of these is a property of the server. The most visible one, that
`interactive=True` gives no process unless `stream=True` is said too, ends an example of the published guide.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

import pytest

from tests.published.cases import BOX
from tests.published.programs import OURS, PUBLISHED, Program

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Defect:
    """A program, and patterns for what it prints with each client."""

    name: str
    code: str
    published: str
    ours: str


DEFECTS = [
    # It leaves gRPC's limit of 4 MiB for a received message as it is, so that larger files can be sent, not fetched.
    Defect(
        "files over 4 MiB",
        """
box.write_file(bytes(5_000_000), "big")
try:
    print(box.read_file("big") == bytes(5_000_000))
except Exception as error:
    print(type(error).__name__, error.grpc_code, error)
""",
        published=r"QuotaExceededError 8 .*4194304.*\n",
        ours=r"True\n",
    ),
    # The command runs to its end without input, and what comes back is its result.
    Defect(
        "interactive without stream",
        """
shell = box.exec("cat", interactive=True)
try:
    shell.stdin.write("typed\\n")
    shell.stdin.write_eof()
    print("typed" in next(iter(shell.iter_stdout())).decode())
except AttributeError:
    print(type(shell).__name__)
""",
        published=r"ExecResult\n",
        ours=r"True\n",
    ),
    # Its loop is run by whoever calls, which neither works where a loop runs already, as in a notebook, ...
    Defect(
        "in a running event loop",
        """
import asyncio
async def program():
    return c.whoami().user_id
try:
    print(asyncio.run(program()))
except RuntimeError:
    print("RuntimeError")
""",
        published=r"RuntimeError\n",
        ours=r"local-user\n",
    ),
    # ... nor in two threads at once, which its guide advises for reading both outputs, ...
    Defect(
        "both outputs in two threads",
        """
import threading
process = box.exec("sh", "-c", "echo ready; sleep 1; echo no >&2", stream=True)
ready = next(iter(process.iter_stdout()))
ends = []
def collect(output):
    try:
        ends.append(b"".join(output))
    except RuntimeError as error:
        ends.append(error)
other = threading.Thread(target=collect, args=[process.iter_stderr()])
other.start()
collect(process.iter_stdout())
other.join()
print(*sorted(str(end) if isinstance(end, bytes) else type(end).__name__ for end in ends))
""",
        published=r"(RuntimeError b'no\\n'|RuntimeError b'')\n",
        ours=r"b'' b'no\\n'\n",
    ),
    # ... and nothing is sent, not even the command, before somebody waits for something.
    Defect(
        "input without a call that waits",
        """
import time
beside = Compute().box.get(box.id)
process = box.exec("sh", "-c", "cat > got", stream=True)
process.stdin.write("typed")
process.stdin.write_eof()
until = time.monotonic() + (1 if published else 10)
while (got := beside.exec("cat", "got").stdout) != "typed" and time.monotonic() < until:
    time.sleep(0.02)
print(repr(got))
""",
        published=r"''\n",
        ours=r"'typed'\n",
    ),
    Defect(
        "in a forked child",
        """
import os, signal
c.whoami()
child = os.fork()
if child == 0:
    signal.alarm(2 if published else 20)
    try:
        os._exit(0 if c.whoami().user_id else 1)
    except BaseException:
        os._exit(2)
print("works" if os.waitpid(child, 0)[1] == 0 else "crashes, hangs or fails")
""",
        published=r"crashes, hangs or fails\n",
        ours=r"works\n",
    ),
    # Its guide says that arguments win over variables; the key from the environment wins over a token.
    Defect(
        "a token beside the variables",
        """
from boxd import AuthenticationError
try:
    print(Compute(token="eyJ.no.token").whoami().user_id)
except AuthenticationError:
    print("refused")
""",
        published=r"local-user\n",
        ours=r"refused\n",
    ),
    # Its guide has ConnectionError for that; what comes is the error of the package underneath.
    Defect(
        "an exchange that is not there",
        """
from boxd import BoxdError
try:
    Compute(api_key="bxd_1", exchange_url="http://127.0.0.1:1/").whoami()
except Exception as error:
    print(isinstance(error, BoxdError), type(error).__name__)
""",
        published=r"False ConnectError\n",
        ours=r"True ConnectionError\n",
    ),
]


@pytest.mark.parametrize("client", [PUBLISHED, OURS])
@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_a_defect(defect: Defect, client: str, program: Program) -> None:
    if "fork" in defect.name and sys.platform == "win32":
        pytest.skip("there is no fork")
    plan = program.plan(before=f"{BOX}\npublished = {client == PUBLISHED}", example=defect.code)
    done = program.run(client, "run_example.py", plan)
    assert done.status == 0, done.err
    pattern = defect.published if client == PUBLISHED else defect.ours
    assert re.fullmatch(pattern, done.out), (done.out, done.err)
    if client == OURS:
        assert done.err == ""
