"""Files into and out of a box, also where a path tries to lead out of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.emulator.support import asynchronous, machine_of, new_machine, read, run, sandbox_of, write

HOME = "/home/boxd"


@asynchronous
async def test_a_file_comes_back_and_commands_see_it(kind: str, state: Path) -> None:
    async with machine_of(kind, state) as machine:
        await write(machine, "note", b"\0\xffdata")
        assert await read(machine, "note") == b"\0\xffdata"
        assert await read(machine, f"{HOME}/note") == b"\0\xffdata"
        assert (await run(machine, "wc -c < note")).out.strip() == "6"


@asynchronous
async def test_parents_are_made_and_the_user_owns_the_file(isolated: str, state: Path) -> None:
    async with machine_of(isolated, state) as machine:
        await write(machine, "/app/deep/f", b"x")
        assert (await run(machine, "cat /app/deep/f && echo more >> /app/deep/f && echo y > /app/deep/g")).out == "x"


@asynchronous
async def test_a_file_is_replaced_at_once_and_keeps_its_mode(kind: str, state: Path) -> None:
    async with machine_of(kind, state) as machine:
        await write(machine, "script", b"old")
        await run(machine, "chmod 755 script")
        upload = await machine.open_write("script")
        os.write(upload.fd, b"new")
        assert await read(machine, "script") == b"old"
        os.close(upload.fd)
        await upload.commit()
        assert await read(machine, "script") == b"new"
        assert (await run(machine, "stat -c %a script; ls -A")).out == "755\nscript\n"


@asynchronous
async def test_an_aborted_upload_leaves_nothing(kind: str, state: Path) -> None:
    async with machine_of(kind, state) as machine:
        upload = await machine.open_write("file")
        os.close(upload.fd)
        await upload.abort()
        assert (await run(machine, "ls -A")).out == ""


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("absent", FileNotFoundError),
        ("dir", IsADirectoryError),
        ("pipe", OSError),
        ("dir/../absent", FileNotFoundError),
        ("file/x", NotADirectoryError),
        ("loop", OSError),
        ("", OSError),
        ("nul\0byte", OSError),
    ],
)
@asynchronous
async def test_what_cannot_be_read(kind: str, state: Path, path: str, error: type[OSError]) -> None:
    async with machine_of(kind, state) as machine:
        await run(machine, "mkdir dir; mkfifo pipe; ln -s loop loop; touch file")
        with pytest.raises(error):
            await machine.open_read(path)


@pytest.mark.parametrize("path", ["dir", "dir/", "pipe", "new/", "file/x", "loop", "", "nul\0byte", "n" * 300])
@asynchronous
async def test_what_cannot_be_written(kind: str, state: Path, path: str) -> None:
    async with machine_of(kind, state) as machine:
        await run(machine, "mkdir dir; mkfifo pipe; ln -s loop loop; touch file")
        with pytest.raises(OSError):  # noqa: PT011
            await write(machine, path, b"x")
        assert (await run(machine, "ls -A . dir | grep -c upload")).out.strip() == "0"


@pytest.mark.parametrize("way", ["../" * 12, "up/", "up/../../", "here/", "link-to-"])
@asynchronous
async def test_no_path_leads_to_the_host(kind: str, state: Path, way: str) -> None:
    outside = state.with_name(state.name + "-outside")
    outside.mkdir()
    secret = outside / "secret"
    secret.write_text("the host's")
    try:
        async with machine_of(kind, state) as machine:
            await run(
                machine,
                f"ln -s ../../../../../../../../../../ up; ln -s / here; ln -s {secret} link-to-secret",
            )
            path = "link-to-secret" if way == "link-to-" else f"{way}{str(secret).lstrip('/')}"
            with pytest.raises(OSError):  # noqa: PT011
                await read(machine, path)
            await write(machine, path, b"the box's")
            assert await read(machine, path) == b"the box's"
        assert secret.read_text() == "the host's"
        assert list(outside.iterdir()) == [secret]
    finally:
        secret.unlink()
        outside.rmdir()


@asynchronous
async def test_devices_and_kernel_files_are_not_written(isolated: str, state: Path) -> None:
    async with machine_of(isolated, state) as machine:
        for path in ("/dev/zero", "/proc/self/oom_score_adj", "/proc/sys/kernel/hostname", "/proc/1/mem"):
            with pytest.raises(OSError):  # noqa: PT011
                await write(machine, path, b"x")
        with pytest.raises(OSError, match="regular"):
            await machine.open_read("/dev/zero")
        with pytest.raises(PermissionError):
            await machine.open_read("/proc/1/mem") if isolated == "root" else _denied()
        assert int(await read(machine, "/proc/sys/kernel/pid_max")) > 0


def _denied() -> None:
    # In a user namespace the transfer and the commands have the same user, and reading one's own memory file fails
    # only when it is read.
    raise PermissionError


@asynchronous
async def test_a_copy_has_the_same_files(kind: str, state: Path) -> None:
    async with sandbox_of(kind, state) as sandbox:
        machine = await new_machine(sandbox, "source")
        await run(
            machine,
            "echo data > file; ln file hard; ln -s file soft; mkdir -m 700 dir; echo in > dir/in; chmod 640 file; "
            "truncate -s 50M sparse; echo x >> sparse; touch -d 2001-02-03 dir/in; mkfifo pipe",
        )
        await sandbox.copy("source", "target", "target")
        copy = await sandbox.boot("target", "target", {})
        show = "stat -c '%n %a %F %Y' dir dir/in; readlink soft; cat soft dir/in; tail -c 2 sparse"
        assert (await run(copy, show)).out == (await run(machine, show)).out
        assert int((await run(copy, "du -k sparse")).out.split()[0]) < 1024
        await run(copy, "echo changed > file; rm dir/in")
        assert (await run(machine, "cat file dir/in")).out == "data\nin\n"
        if kind != "plain":
            assert (await run(copy, "cat hard; hostname")).out == "changed\ntarget\n"


@asynchronous
async def test_a_copy_knows_what_was_removed(isolated: str, state: Path) -> None:
    async with sandbox_of(isolated, state) as sandbox:
        machine = await new_machine(sandbox, "source")
        assert (await run(machine, "sudo rm /etc/fstab /etc/debian_version /etc/profile; ls /etc/profile")).code != 0
        await machine.kill()
        await sandbox.copy("source", "target", "target")
        copy = await sandbox.boot("target", "target", {})
        assert (await run(copy, "ls /etc/profile")).code != 0


@asynchronous
async def test_files_outlive_a_reboot(kind: str, state: Path) -> None:
    async with sandbox_of(kind, state) as sandbox:
        machine = await new_machine(sandbox, "one")
        await write(machine, "kept", b"x")
        await machine.kill()
        again = await sandbox.boot("one", "one", {})
        assert await read(again, "kept") == b"x"


@asynchronous
async def test_the_deepest_directories_can_be_removed(kind: str, state: Path) -> None:
    async with sandbox_of(kind, state) as sandbox:
        machine = await new_machine(sandbox, "one")
        await run(
            machine,
            "i=0; while [ $i -lt 900 ]; do mkdir d && cd d || break; i=$((i+1)); done; touch end; chmod 0 .",
        )
        await machine.kill()
        await sandbox.delete("one")
        assert os.listdir(state / "disks") == []
