"""The client program that the Connect project's conformance runner drives: cases come on the standard input, results go
to the standard output, each a length and a protobuf message. Run by `scripts/conformance`, which compiles the runner's
message definitions first.

    python -m tests.conformance.client asyncio|trio|blocking CASES

CASES is a file to which a line for each case goes, for the totals.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TextIO

import anyio
import anyio.to_thread
from connectrpc.conformance.v1.client_compat_pb2 import ClientCompatRequest, ClientCompatResponse

from boxd import _portal
from tests.conformance.calls import AsyncDriver, BlockingDriver, Driver, drive
from tests.conformance.cases import Channels, describe, run_case

#: Cases that run at the same time.
PARALLEL = 32

_SIZE = struct.Struct(">I")
_writing = threading.Lock()


def read_case(log: TextIO) -> ClientCompatRequest | None:
    """The next case; None at the end of the input."""
    head = sys.stdin.buffer.read(_SIZE.size)
    if not head:
        return None
    case = ClientCompatRequest.FromString(sys.stdin.buffer.read(*_SIZE.unpack(head)))
    print(*describe(case), case.test_name, sep="\t", file=log)
    return case


def write_result(response: ClientCompatResponse) -> None:
    """Report one case."""
    data = response.SerializeToString()
    with _writing:
        sys.stdout.buffer.write(_SIZE.pack(len(data)) + data)
        sys.stdout.buffer.flush()


async def answer(case: ClientCompatRequest, channels: Channels, driver: Driver) -> None:
    """Run one case and report it. What is no outcome of the call is the program's own failure, and is reported so."""
    response = ClientCompatResponse(test_name=case.test_name)
    try:
        response.response.CopyFrom(await run_case(case, channels.get(case), driver))
    except Exception as exc:
        response.error.message = f"{type(exc).__name__}: {exc}"
    write_result(response)


async def main(log: TextIO) -> None:
    """All cases on one event loop."""
    channels = Channels()
    slots = anyio.Semaphore(PARALLEL)

    async def one(case: ClientCompatRequest, driver: Driver) -> None:
        try:
            await answer(case, channels, driver)
        finally:
            slots.release()

    async with anyio.create_task_group() as tasks:
        driver = AsyncDriver(tasks)
        while (case := await anyio.to_thread.run_sync(read_case, log)) is not None:
            await slots.acquire()
            tasks.start_soon(one, case, driver)
    await channels.aclose()


def blocking(log: TextIO) -> None:
    """All cases in threads, every operation a hop to the background loop."""
    channels = Channels()
    driver = BlockingDriver()

    def one(case: ClientCompatRequest) -> None:
        drive(answer(case, channels, driver))

    with ThreadPoolExecutor(PARALLEL) as pool:
        while (case := read_case(log)) is not None:
            pool.submit(one, case)
    _portal.run(channels.aclose())


def _stop(number: int, frame: Any) -> None:
    os._exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    with open(sys.argv[2], "w") as cases:
        if sys.argv[1] == "blocking":
            blocking(cases)
        else:
            anyio.run(main, cases, backend=sys.argv[1])
