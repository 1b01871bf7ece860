"""Starting, stopping and ending machines."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import boxd
from tests.acceptance.shell import sh

pytestmark = pytest.mark.anyio


async def status(client: Any, box: Any) -> str:
    """What the service says."""
    found: str = (await client.box.get(box.id)).status
    return found


async def test_stop_and_start(client: Any, new_box: Any) -> None:
    await new_box.write_file(b"kept", "file")
    assert await new_box.stop() is None
    assert (new_box.status, await status(client, new_box)) == ("stopped", "stopped")
    with pytest.raises(boxd.BoxdError, match="stopped") as caught:
        await new_box.exec("true")
    assert caught.value.grpc_code == 9
    with pytest.raises(boxd.BoxdError, match="stopped"):
        await new_box.write_file(b"x", "other")
    assert await new_box.start() is None
    assert (new_box.status, await status(client, new_box)) == ("running", "running")
    assert await new_box.read_file("file") == b"kept"


async def test_reboot_ends_the_processes_and_keeps_the_files(client: Any, new_box: Any) -> None:
    await new_box.write_file(b"kept", "file")
    async with await sh(new_box, "echo up; sleep 600", stream=True) as process:
        assert await process.stdout.read() == b"up\n"
        await new_box.reboot()
        with pytest.raises(boxd.BoxdError, match="stopped"):
            await process.wait()
    assert (new_box.status, await status(client, new_box)) == ("running", "running")
    assert await new_box.read_file("file") == b"kept"


async def test_suspend_and_resume(client: Any, new_box: Any) -> None:
    async with await sh(new_box, 'while read line; do echo "<$line>"; done', stream=True) as process:
        assert (await new_box.suspend()).suspend_us > 0
        assert (new_box.status, await status(client, new_box)) == ("suspended", "suspended")
        await process.stdin.write("while asleep\n")
        assert (await new_box.resume()).resume_us > 0
        assert (new_box.status, await status(client, new_box)) == ("running", "running")
        assert await process.stdout.read() == b"<while asleep>\n"


async def test_a_command_wakes_a_suspended_machine(client: Any, new_box: Any) -> None:
    await new_box.suspend()
    assert (await new_box.exec("echo", "awake")).stdout == "awake\n"
    assert await status(client, new_box) == "running"


async def test_a_stopped_machine_cannot_be_suspended(new_box: Any) -> None:
    await new_box.stop()
    with pytest.raises(boxd.BoxdError) as caught:
        await new_box.suspend()
    assert caught.value.grpc_code == 9
    assert new_box.status == "stopped"


async def test_destroy(client: Any, new_box: Any) -> None:
    assert await new_box.destroy() is None
    assert new_box.status == "destroyed"
    assert await status(client, new_box) == "destroyed"
    for call in (
        new_box.destroy,
        new_box.start,
        new_box.stop,
        new_box.reboot,
        new_box.suspend,
        new_box.resume,
        new_box.hibernate,
        new_box.wake,
        new_box.unshare,
        new_box.proxies,
        new_box.ports.list,
        new_box.backups.create,
        new_box.usage,
        lambda: new_box.exec("true"),
        lambda: new_box.read_file("x"),
        lambda: new_box.files.list("."),
    ):
        with pytest.raises(boxd.NotFoundError, match="destroyed"):
            await call()
    with pytest.raises(boxd.NotFoundError):
        await client.box.get(new_box.name)


async def test_destroy_ends_what_runs(new_box: Any) -> None:
    async with await sh(new_box, "echo up; sleep 600", stream=True) as process:
        assert await process.stdout.read() == b"up\n"
        await new_box.destroy()
        with anyio.fail_after(10), pytest.raises(boxd.BoxdError):
            await process.wait()


async def test_wait_until_ready(new_box: Any) -> None:
    assert await new_box.wait_until_ready() is None
    assert new_box.status == "running"


@pytest.mark.parametrize("end", ["stop", "destroy"])
async def test_waiting_for_what_will_not_become_ready(new_box: Any, end: str) -> None:
    await getattr(new_box, end)()
    with anyio.fail_after(10), pytest.raises(boxd.BoxdError, match="will not become ready") as caught:
        await new_box.wait_until_ready()
    assert new_box.status in str(caught.value)


async def test_waiting_has_an_end(new_box: Any) -> None:
    await new_box.suspend()
    with pytest.raises(boxd.TimeoutError, match=r"not ready after 0\.3 s: its status is 'suspended'"):
        await new_box.wait_until_ready(timeout=0.3, poll_interval=0.1)


async def test_share(client: Any, new_box: Any) -> None:
    with pytest.raises(boxd.BoxdError) as caught:
        await new_box.share()  # It is personal: there is nobody to share it with.
    assert caught.value.grpc_code == 9
    theirs = await client.box.create(org="local")
    assert await theirs.share() is None
    assert await theirs.unshare() is None
    await theirs.destroy()


async def test_logs(new_box: Any) -> None:
    text = b""
    async for chunk in new_box.stream_logs():
        text += chunk
    assert b"is up" in text


async def test_followed_logs(new_box: Any) -> None:
    text = b""
    logs = new_box.stream_logs(follow=True)
    async for chunk in logs:
        text += chunk
        if b"is up" in text and new_box.status == "running":
            await new_box.destroy()
    assert text.endswith(b"powered off\r\n")
    with pytest.raises(boxd.NotFoundError):
        await new_box.stream_logs().__anext__()
