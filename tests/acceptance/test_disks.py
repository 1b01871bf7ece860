"""Disks."""

from __future__ import annotations

import os
import secrets
from typing import Any

import pytest

import boxd
from tests.acceptance.shell import until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.environ.get("BOXD_TEST_SANDBOX") == "plain", reason="plain boxes have no mounts"),
]


async def made(client: Any) -> Any:
    """A disk that is ready."""
    name = f"data-{secrets.token_hex(4)}"
    disk = await client.disk.create(name, "64M")
    assert (disk.name, disk.size_bytes, disk.attachments) == (name, 64 << 20, [])

    async def ready() -> bool:
        return bool((await listed(client, disk)).status == "ready")

    await until(ready)
    return disk


async def listed(client: Any, disk: Any) -> Any:
    """The disk as the list has it."""
    (found,) = [one for one in await client.disk.list() if one.id == disk.id]
    return found


async def test_a_disk_keeps_its_files_from_machine_to_machine(client: Any, new_box: Any) -> None:
    disk = await made(client)
    other = await client.box.create()
    try:
        assert await disk.attach(new_box, "/mnt/data") is None
        assert (await listed(client, disk)).attachments == [
            boxd.DiskAttachment(new_box.id, new_box.name, "/mnt/data", "rw")
        ]
        done = await new_box.exec("sudo", "sh", "-c", "echo kept >/mnt/data/file")
        assert done.success, done.stderr
        with pytest.raises(boxd.BoxdError):  # One machine at a time.
            await disk.attach(other.id, "/mnt/data")
        with pytest.raises(boxd.BoxdError):
            await disk.destroy()
        assert await disk.detach(new_box.name) is None
        await disk.attach(other.name, "/mnt/elsewhere", read_only=True)
        assert (await other.exec("cat", "/mnt/elsewhere/file")).stdout == "kept\n"
        assert not (await other.exec("sudo", "touch", "/mnt/elsewhere/new")).success
        await disk.detach(other)
    finally:
        await other.destroy()
    assert (await listed(client, disk)).attachments == []
    assert await disk.destroy() is None
    assert disk.status == "destroyed"
    assert [one for one in await client.disk.list() if one.id == disk.id and one.status != "destroyed"] == []


async def test_what_is_no_disk(client: Any) -> None:
    disk = await made(client)
    for name in ("No Name", "a" * 64, disk.name):
        with pytest.raises(boxd.InvalidArgumentError):
            await client.disk.create(name, "64M")
    await disk.destroy()


async def test_what_cannot_be_attached(client: Any, box: Any) -> None:
    disk = await made(client)
    with pytest.raises(boxd.NotFoundError, match="nowhere"):
        await disk.attach("nowhere", "/mnt/data")
    with pytest.raises(boxd.BoxdError):  # It is not attached.
        await disk.detach(box)
    await disk.destroy()
    with pytest.raises(boxd.BoxdError):
        await disk.attach(box, "/mnt/data")
    with pytest.raises(boxd.NotFoundError):
        await disk.destroy()
