"""The error that every call can have: a credential that the server does not take."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import boxd
from boxd import aio
from boxd.messages import vm
from tests.acceptance.conftest import Connect
from tests.client.newer_cases import NEWER
from tests.client.service_cases import CASES, Case
from tests.fixtures.bridge import Bridge
from tests.fixtures.servers import Server

pytestmark = pytest.mark.anyio

MACHINE = vm.GetVmResponse(vm_id="vm-1", name="one", status="running")


def box_of(c: Any) -> Any:
    """A box of a client that could not ask for one."""
    if isinstance(c, Bridge):
        return Bridge(boxd.Box._wrap(aio.Box(c._blocking._async._session, MACHINE, full=True)))
    return aio.Box(c._session, MACHINE, full=True)


# Calls that have hardly any other error.
OTHERS: dict[str, Callable[[Any, Any], Awaitable[Any]]] = {
    "ListOrgs": lambda c, _: c.box.list_orgs(),
    "GetConfig": lambda c, _: c.config(),
    "ListDisks": lambda c, _: c.disk.list(),
    "ListDir": lambda _, box: box.files.exists("x"),
}


@pytest.mark.parametrize("rpc", OTHERS)
async def test_a_credential_that_is_not_taken_by_any(rpc: str, server: Server, compute: Connect) -> None:
    async with compute(token="not.a.token", api_url=server.api_url) as c:
        with pytest.raises(boxd.AuthenticationError):
            await OTHERS[rpc](c, box_of(c))


# What a server does not have it refuses before it looks at credentials.
SERVED = [case for case in (*CASES, *NEWER) if "BackupSchedule" not in case.rpc]


@pytest.mark.parametrize("case", SERVED, ids=lambda case: case.rpc)
async def test_a_credential_that_is_not_taken(case: Case, server: Server, compute: Connect) -> None:
    async with compute(token="not.a.token", api_url=server.api_url) as c:
        with pytest.raises(boxd.AuthenticationError) as caught:
            await case.call(c, box_of(c))
    assert caught.value.grpc_code == 16
