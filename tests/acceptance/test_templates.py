"""Templates."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

import boxd
from boxd import BoxConfig

pytestmark = pytest.mark.anyio


async def test_templates(client: Any) -> None:
    name = f"base-{secrets.token_hex(4)}"
    made = await client.template.create(name, "ubuntu:24.04", BoxConfig(vcpu=1, memory="4G"))
    assert (made.name, made.image, made.vcpu, made.memory_bytes) == (name, "ubuntu:24.04", 1, 4 << 30)
    assert made.status
    assert [one for one in await client.template.list() if one.id == made.id] == [made]
    first = await client.template.create_vm(made)
    second = await client.template.create_vm(made.id, name=f"{name}-2", config=BoxConfig(vcpu=2))
    try:
        assert (first.image, second.name) == ("ubuntu:24.04", f"{name}-2")
        found = await client.box.get(second.id)
        assert (found.image, found.vcpu, found.memory_bytes) == ("ubuntu:24.04", 2, 4 << 30)
        assert (await first.exec("echo", "up")).stdout == "up\n"
    finally:
        await first.destroy()
        await second.destroy()
    assert await client.template.delete(made.id) is None
    assert made.id not in [one.id for one in await client.template.list()]
    for call in (client.template.delete, client.template.create_vm):
        with pytest.raises(boxd.NotFoundError):
            await call(made.id)


async def test_a_template_that_cannot_be(client: Any) -> None:
    with pytest.raises(boxd.InvalidArgumentError):
        await client.template.create("")
    with pytest.raises(ValueError, match="not a size"):
        await client.template.create("base", config=BoxConfig(memory="lots"))
