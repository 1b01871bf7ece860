"""What becomes of a command: an exit, a signal, a deadline, a machine that is stopped, a lost connection, nothing."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import anyio
import pytest

from boxd.errors import (
    BoxdError,
    BoxStoppedError,
    ConnectionError,
    ExecError,
    ExitUnknownError,
    InternalError,
    TimeoutError,
)
from boxd.messages.exec import ExecChunk
from boxd.messages.vm import GetVmResponse
from boxd.resources import outcome
from boxd.transport import ConnectFailed, ConnectionLost, DeadlineExceeded, RpcError, StatusCode, StreamReset
from boxd.types.exec import ExecResult
from tests.client.fakes import FakeCall, FakeChannel
from tests.client.test_exec import box_on, err, out

pytestmark = pytest.mark.anyio


def test_a_signal_is_read_from_the_exit_status() -> None:
    codes = {0: None, 1: None, 127: None, 128: None, 129: 1, 137: 9, 143: 15, 192: 64, 193: None, 255: None}
    assert {code: ExecResult("", "", code).signal for code in codes} == codes


def test_check() -> None:
    good = ExecResult("out", "err", 0)
    assert good.check() is good
    bad = ExecResult("out", "first\nno such thing \n\n", 3)
    with pytest.raises(ExecError, match=r"^the command ended with exit status 3: no such thing$") as caught:
        bad.check()
    error = caught.value
    assert (error.result, error.stdout, error.stderr, error.grpc_code) == (bad, bad.stdout, bad.stderr, None)
    for same in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (same.result, str(same), same.stderr) == (bad, str(error), bad.stderr)
    with pytest.raises(ExecError, match=r"exit status 137, as after signal 9$") as caught:
        ExecResult(b"", b"", 137).check()
    assert caught.value.stdout == b""


async def test_check_as_an_option() -> None:
    channel = FakeChannel(calls=[FakeCall([ExecChunk(exit_code=1)]), FakeCall([out(b"\xff"), ExecChunk()])])
    with pytest.raises(ExecError):
        await box_on(channel).exec("false", check=True)
    assert await box_on(channel).exec("true", check=True, text=False) == ExecResult(b"\xff", b"", 0)


LOST = [ConnectionLost("gone"), StreamReset("reset", StatusCode.INTERNAL), None]
REFUSED = RpcError("the box is stopped", StatusCode.FAILED_PRECONDITION, origin="server")


async def fails(channel: FakeChannel, stream: bool, **options: Any) -> BoxdError:
    """The error of a command, run in one of the two ways, that has written something."""

    async def run() -> None:
        found = await box_on(channel).exec("x", stream=stream, **options)
        await found.wait()

    with pytest.raises(BoxdError) as caught:
        await run()
    error = caught.value
    assert (error.stdout, error.stderr) == (("a", "b") if options.get("text", True) else (b"a", b"b"))
    return error


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("failure", LOST)
@pytest.mark.parametrize("status", ["stopped", "destroyed", "failed"])
async def test_a_machine_that_is_off_is_the_reason(stream: bool, failure: RpcError | None, status: str) -> None:
    script = [[out(b"a"), err(b"b")], *([] if failure is None else [failure])]
    channel = FakeChannel({"GetVm": GetVmResponse(vm_id="vm-1", status=status)}, [FakeCall(script)])
    error = await fails(channel, stream)
    assert isinstance(error, BoxStoppedError)
    assert error.status == status
    assert f"the machine is {status}" in str(error)
    assert error.grpc_code == (None if failure is None else int(failure.code))
    assert error.__cause__ is not None
    assert pickle.loads(pickle.dumps(error)).status == status


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("failure", "kind"), [(LOST[0], ConnectionError), (LOST[1], InternalError), (LOST[2], ExitUnknownError)]
)
@pytest.mark.parametrize("text", [False, True])
async def test_a_machine_that_runs_is_not(
    stream: bool, failure: RpcError | None, kind: type[BoxdError], text: bool
) -> None:
    script = [[out(b"a"), err(b"b")], *([] if failure is None else [failure])]
    channel = FakeChannel({"GetVm": GetVmResponse(vm_id="vm-1", status="running")}, [FakeCall(script)])
    assert type(await fails(channel, stream, text=text)) is kind


@pytest.mark.parametrize("stream", [False, True])
async def test_a_machine_that_is_gone(stream: bool) -> None:
    gone = RpcError("no such machine", StatusCode.NOT_FOUND, origin="server")
    channel = FakeChannel({"GetVm": gone}, [FakeCall([[out(b"a"), err(b"b")], LOST[0]])])
    error = await fails(channel, stream)
    assert isinstance(error, BoxStoppedError)
    assert error.status == "destroyed"


async def test_what_the_service_says_is_enough() -> None:
    """The machine may run again when its status is asked for."""
    channel = FakeChannel({"GetVm": GetVmResponse(status="running")}, [FakeCall([[out(b"a"), err(b"b")], REFUSED])])
    error = await fails(channel, False)
    assert isinstance(error, BoxStoppedError)
    assert (error.status, error.grpc_code) == ("", 9)


@pytest.mark.parametrize(
    ("failure", "kind"),
    [(DeadlineExceeded("late"), TimeoutError), (ConnectFailed("refused", unprocessed=True), ConnectionError)],
)
async def test_what_needs_no_explanation_asks_nothing(failure: RpcError, kind: type[BoxdError]) -> None:
    channel = FakeChannel(calls=[FakeCall([[out(b"a"), err(b"b")], failure])])
    assert type(await fails(channel, False)) is kind
    assert [name for name, _ in channel.requests] == ["Exec"]


async def test_a_service_that_does_not_tell_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome, "_ASK_SECONDS", 0.02)

    class Silent(FakeChannel):
        async def unary(self, method: Any, request: Any, **options: Any) -> Any:
            await anyio.sleep_forever()

    channel = Silent(calls=[FakeCall([[out(b"a"), err(b"b")], LOST[0]])])
    with anyio.fail_after(5):
        assert type(await fails(channel, False)) is ConnectionError
