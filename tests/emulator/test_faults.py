"""Faults on demand, seen from this client and from the wire."""

from __future__ import annotations

import time
from typing import Any

import pytest
from grpclib import Status
from grpclib.exceptions import StreamTerminatedError

import boxd
from boxd import aio, emulator
from boxd import messages as pb
from boxd.emulator.faults import Faults, parse
from tests.emulator.support import asynchronous
from tests.emulator.test_server import emulator as grpclib_client
from tests.emulator.test_server import status_of


def compute(local: emulator.Local) -> boxd.Compute:
    return boxd.Compute(token=local.token, api_url=local.api_url)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("unavailable", boxd.ConnectionError),
        ("quota", boxd.QuotaExceededError),
        ("internal", boxd.InternalError),
        ("unknown", boxd.InternalError),
        ("deadline-exceeded", boxd.TimeoutError),
        ("unauthenticated", boxd.AuthenticationError),
        ("reset", boxd.ConnectionError),
        ("stream-reset", boxd.BoxdError),
    ],
)
def test_a_call_fails_as_often_as_asked_for(kind: str, error: type[Exception]) -> None:
    # CreateVm is never sent again by the client once it was sent: what happens is seen.
    with emulator.running(sandbox="plain") as local, compute(local) as c:
        assert c.whoami().user_id
        fault = local.faults.add(kind, "CreateVm", times=1)
        with pytest.raises(error):
            c.box.create("one")
        assert fault.struck == 1
        assert c.box.create("two").name == "two"
        assert [box.name for box in c.box.list()] == ["two"]


def test_latency_and_its_removal() -> None:
    with emulator.running(sandbox="plain", faults=("Whoami:latency:seconds=0.2",)) as local, compute(local) as c:
        c.config()
        begin = time.monotonic()
        c.whoami()
        assert time.monotonic() - begin >= 0.2
        local.faults.clear()
        begin = time.monotonic()
        c.whoami()
        assert time.monotonic() - begin < 0.2


def test_goaway_sends_the_call_to_another_connection() -> None:
    with emulator.running(sandbox="plain") as local, compute(local) as c:
        box = c.box.create()
        process = box.exec("cat", stream=True)
        process.stdin.write(b"before ")
        fault = local.faults.add("goaway", "CreateVm", times=1)
        # Not processed, so the client may send even this one again; and the running command does not notice.
        assert c.box.create("two").name == "two"
        assert fault.struck == 1
        process.stdin.write(b"after")
        process.stdin.write_eof()
        assert b"".join(process.stdout) == b"before after"
        assert process.wait() == 0


def test_a_connection_that_breaks_in_the_middle_of_output() -> None:
    with emulator.running(sandbox="plain") as local, compute(local) as c:
        box = c.box.create()
        local.faults.add("reset", "Exec", after=1)
        with pytest.raises(boxd.ConnectionError) as caught:
            box.exec("sh", "-c", "echo first; sleep 0.5; echo second")
        assert caught.value.stdout == "first\n"


def test_a_slow_boot() -> None:
    with emulator.running(sandbox="plain") as local, compute(local) as c:
        local.faults.add("slow-boot", seconds=0.3, times=1)
        begin = time.monotonic()
        c.box.create()
        assert time.monotonic() - begin >= 0.3


@asynchronous
async def test_faults_on_the_wire() -> None:
    async with grpclib_client(sandbox="plain") as client:
        client.local.faults.add("unavailable", "Get*", message="come back later")
        status = await status_of(client("GetConfig", pb.GetConfigRequest()))
        assert status == (Status.UNAVAILABLE, "come back later")
        assert (await client("Whoami", pb.WhoamiRequest())).user_id
        client.local.faults.add("stream-reset", "Whoami", times=1)
        with pytest.raises(StreamTerminatedError):
            await client("Whoami", pb.WhoamiRequest())
        assert (await client("Whoami", pb.WhoamiRequest())).user_id


@asynchronous
async def test_an_async_program_with_an_emulator_of_its_own() -> None:
    async with (
        emulator.Emulator(emulator.Options(sandbox="plain")) as local,
        aio.Compute(token=local.token, api_url=local.api_url) as c,
    ):
        local.faults.add("quota", "CreateVm")
        with pytest.raises(boxd.QuotaExceededError, match="on demand"):
            await c.box.create()


def test_probability_is_per_call() -> None:
    faults = Faults(seed=7)
    fault = faults.add("internal", probability=0.25)
    struck = sum(bool(faults.take("Exec")) for _ in range(1000))
    assert 200 < struck < 300
    assert fault.struck == struck
    faults.remove(fault)
    assert faults.take("Exec") == []


@pytest.mark.parametrize(
    "text", ["Exec", "Exec:nonsense", "Exec:reset:times", "Exec:reset:x=1", "*:latency", "*:reset:probability=2"]
)
def test_faults_that_cannot_be(text: str) -> None:
    with pytest.raises(ValueError, match="fault"):
        parse(text)


def test_the_text_of_a_fault() -> None:
    fault = parse("Exec:unavailable:times=2:probability=0.5:after=1:message=busy now")
    made: Any = (fault.method, fault.kind, fault.times, fault.probability, fault.after, fault.message)
    assert made == ("Exec", "unavailable", 2, 0.5, 1, "busy now")
