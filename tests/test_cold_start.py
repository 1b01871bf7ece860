"""What a program's first calls load: each module that they do not need is time that a short-lived function waits."""

from __future__ import annotations

import sys

import pytest

from tests.fixtures.servers import Server
from tests.test_readme import run

COMMANDS = """
import sys
from boxd import Compute

c = Compute()
assert c.whoami().user_id
box = c.box.create()
assert box.exec("echo", "one").stdout == "one\\n"
with box.exec("cat", stream=True) as process:
    process.stdin.write(b"two")
    process.stdin.write_eof()
    assert process.stdout.read() == b"two"
    assert process.wait() == 0
print(*(name for name in sys.argv[1:] if name in sys.modules))
c.close()
"""


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio has no timeout() before 3.11, so that anyio's is used")
@pytest.mark.parametrize("credential", ["BOXD_TOKEN", "BOXD_API_KEY"])
def test_calls_and_commands_load_neither_anyios_backend_nor_httpx(emulator: Server, credential: str) -> None:
    unwanted = (
        "anyio._backends._asyncio",
        "httpx",
        "httpcore",
        "h2",
        "boxd.transport.proxy",
        "boxd.transport.stats",
        "boxd.emulator",
    )
    given = {"BOXD_TOKEN": emulator.token, "BOXD_API_KEY": emulator.api_key}[credential]
    places = {"BOXD_API_URL": emulator.api_url, "BOXD_EXCHANGE_URL": emulator.exchange_url}
    done = run(sys.executable, "-c", COMMANDS, *unwanted, **places, **{credential: given})
    assert (done.stderr, done.stdout) == ("", "\n")
