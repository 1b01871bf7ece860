"""The services against grpcio and protobuf alone: a server that answers as it is told, and reads each request with the
official runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest

import boxd
from boxd import methods
from boxd.messages import vm
from tests.acceptance.conftest import Connect
from tests.client.newer_cases import NEWER
from tests.client.service_cases import CASES, Case
from tests.fixtures.bridge import Bridge
from tests.fixtures.contract import THEIRS

pytestmark = pytest.mark.anyio

MACHINE = vm.GetVmResponse(vm_id="vm-1", name="one", status="running")


class Told(grpc.GenericRpcHandler):
    """Answers each call with what `answers` has for its RPC: the bytes of a message, or a status. To the rest with
    UNIMPLEMENTED."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes | grpc.StatusCode] = {}
        self.requests: list[tuple[str, bytes]] = []

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        rpc = details.method.rpartition("/")[2]
        if rpc not in self.answers:
            return None
        return grpc.unary_unary_rpc_method_handler(self._answer(rpc))

    def _answer(self, rpc: str) -> Callable[[bytes, grpc.ServicerContext], bytes]:
        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            self.requests.append((rpc, request))
            told = self.answers[rpc]
            if isinstance(told, grpc.StatusCode):
                context.abort(told, "as it was told")
            return told

        return answer


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Told, int]]:
    """The server, and its port."""
    told = Told()
    made = grpc.server(futures.ThreadPoolExecutor(2), handlers=(told,), options=[("grpc.so_reuseport", 0)])
    port = made.add_insecure_port("127.0.0.1:0")
    made.start()
    yield told, port
    made.stop(0).wait()


def parsed(rpc: str, data: bytes) -> Any:
    """A request as the official runtime reads it."""
    return THEIRS[getattr(methods, rpc).request.__name__].FromString(data)


@pytest.mark.parametrize("case", [*CASES, *NEWER], ids=lambda case: case.rpc)
async def test_a_call(case: Case, server: tuple[Told, int], compute: Connect) -> None:
    told, port = server
    told.answers = {"GetVm": bytes(MACHINE), case.rpc: bytes(case.response)}
    async with compute(token="test", api_url=f"http://127.0.0.1:{port}") as c:
        box = await c.box.get("vm-1")
        told.requests.clear()
        result = await case.call(c, box)
        told.answers[case.rpc] = grpc.StatusCode.RESOURCE_EXHAUSTED
        with pytest.raises(boxd.QuotaExceededError, match="as it was told"):
            await case.call(c, box)
        del told.answers[case.rpc]
        if case in NEWER:
            with pytest.raises(boxd.UnsupportedError, match=case.rpc):
                await case.call(c, box)
    assert (result._blocking._async if isinstance(result, Bridge) else result) == case.result
    sent = [(rpc, parsed(rpc, data)) for rpc, data in told.requests]
    assert sent == [(case.rpc, parsed(case.rpc, bytes(case.request)))] * 2
