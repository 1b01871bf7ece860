"""What a box cannot do to the host or to another box, tried from inside."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.emulator.support import (
    asynchronous,
    machine_of,
    mounts,
    new_machine,
    processes,
    run,
    sandbox_of,
    until,
    works,
)

ROOT = Path(__file__).parents[2]


def test_nothing_written_in_a_box_is_on_the_host(isolated: str, state: Path) -> None:
    mark, passing = Path(f"/etc/boxd-test-{os.getpid()}"), Path("/tmp/boxd-test")
    profile = Path("/etc/profile").read_bytes()

    @asynchronous
    async def damage() -> None:
        script = f"echo mine > {mark} && rm -f /etc/profile && cat {mark}; echo x > {passing}; rm -rf /usr/share/doc"
        async with machine_of(isolated, state) as machine:
            assert (await run(machine, f"sudo sh -c '{script}'")).out == "mine\n"

    damage()
    assert not mark.exists()
    assert not passing.exists()
    assert Path("/etc/profile").read_bytes() == profile


@asynchronous
async def test_boxes_see_neither_the_host_nor_each_other(isolated: str, state: Path) -> None:
    async with sandbox_of(isolated, state) as sandbox:
        one, two = await new_machine(sandbox, "one"), await new_machine(sandbox, "two")
        await run(
            one,
            "sleep 7654321 >/dev/null 2>&1 & echo secret > mine; echo x > /tmp/shared; echo x > /dev/shm/s",
        )
        listing = (await run(two, "ps -e -o args; ls -A /home/boxd /tmp /dev/shm; hostname; id -un")).out
        assert "7654321" not in listing
        assert "mine" not in listing
        assert "shared" not in listing
        assert "\ntwo\n" in listing
        assert len((await run(two, "ps -e --no-headers")).out.splitlines()) == 3
        assert (await run(two, "sudo sh -c 'kill -9 -1'")).code in (137, 0)
        assert "7654321" in (await run(one, "ps -e -o args")).out


@asynchronous
async def test_the_state_directory_is_hidden(isolated: str, state: Path) -> None:
    outside = Path(f"/var/lib/boxd-test-{os.getpid()}") if os.access("/var/lib", os.W_OK) else None
    async with machine_of(isolated, state) as machine:
        assert (await run(machine, f"sudo ls -A {state}")).out == ""
    if outside is not None:
        outside.mkdir()
        async with machine_of(isolated, outside) as machine:
            assert (await run(machine, f"sudo ls -A {outside}; sudo umount {outside}; sudo ls -A {outside}")).out == ""


@pytest.mark.parametrize(
    "attempt",
    [
        "umount /proc/sys",
        "mount -o remount,rw /proc/sys",
        "sh -c 'echo boxd > /proc/sys/kernel/domainname'",
        "sh -c 'echo h > /proc/sysrq-trigger'",
        "mount -t tmpfs none /mnt",
        "mount -t proc none /mnt",
        "unshare -m true",
        "unshare -Urm mount -o remount,rw /proc/sys",
        "unshare -Urm umount /proc/sys",
        "unshare -Urm mount -t proc none /mnt",
        "mknod /tmp/disk b 8 0",
        "chmod 600 /dev/null",
        "chown 5 /dev/zero",
        "hostname other",
        "cat /proc/1/environ",
        "ls /proc/1/root/",
        "cat /proc/1/fd/3",
        "readlink /proc/1/exe",
        "nsenter -t 1 -m true",
        "nsenter -t 1 -U true",
        "chroot /proc/1/root true",
        "dmesg",
    ],
)
@asynchronous
async def test_the_boxes_root_has_no_power_outside(isolated: str, state: Path, attempt: str) -> None:
    modes = [os.stat(f"/dev/{name}").st_mode for name in ("null", "zero")]
    async with machine_of(isolated, state) as machine:
        if attempt == "chmod 600 /dev/null" and isolated == "user-namespace":
            pytest.skip("the node belongs to a user that this namespace does not know, unless root runs the tests")
        if attempt == "chown 5 /dev/zero" and isolated == "user-namespace":
            pytest.skip("as above")
        result = await run(machine, f"sudo {attempt}")
        assert result.code != 0, result
        assert (await run(machine, "echo alive")).out == "alive\n"
    assert modes == [os.stat(f"/dev/{name}").st_mode for name in ("null", "zero")]


@asynchronous
async def test_the_init_process_cannot_be_killed_or_traced(isolated: str, state: Path) -> None:
    async with machine_of(isolated, state) as machine:
        await run(machine, "sudo sh -c 'kill -9 1; kill -STOP 1; kill -TERM 1'")
        await run(machine, "sudo python3 -c 'import ctypes; print(ctypes.CDLL(None).ptrace(16, 1, 0, 0))'")
        assert (
            await run(machine, "echo alive; cat /proc/1/cmdline | tr '\\0' ' '")
        ).out.strip() == "alive\nboxd-init one"


@asynchronous
async def test_without_sudo_there_is_no_way_to_root(tmp_path: Path) -> None:
    if works("root"):
        pytest.skip("commands run as the box's root in a user namespace")
    state = tmp_path / "state"
    async with sandbox_of("root", state, sudo=False) as sandbox:
        machine = await new_machine(sandbox, "one")
        assert (await run(machine, "sudo id")).code != 0
        assert "NoNewPrivs:\t1" in (await run(machine, "cat /proc/self/status")).out


@asynchronous
async def test_sudo_is_root_with_few_capabilities(isolated: str, state: Path) -> None:
    async with machine_of(isolated, state) as machine:
        assert (
            await run(machine, "sudo -n id -u; sudo A=b sh -c 'echo $A'; sudo -u root -- echo ok")
        ).out == "0\nb\nok\n"
        assert (await run(machine, "sudo -u nobody id")).code == 1
        assert "00000000a00425fb" in (await run(machine, "sudo grep CapEff /proc/self/status")).out


@asynchronous
async def test_mounts_and_processes_are_gone_afterwards(isolated: str, state: Path) -> None:
    before = mounts()
    async with sandbox_of(isolated, state) as sandbox:
        for number in range(3):
            machine = await new_machine(sandbox, f"box-{number}")
            await run(machine, "setsid sleep 7650001 >/dev/null 2>&1 & echo")
        assert mounts() == before
        await until(lambda: len(processes("sleep\x007650001")) == 3)
    await until(lambda: not processes("sleep\x007650001") and not processes(str(state)))
    assert mounts() == before


UNPRIVILEGED = """
import asyncio, os, sys, types
for name in ("boxd", "boxd.emulator"):
    module = types.ModuleType(name)
    module.__path__ = [os.path.join(sys.argv[1], *name.split("."))]
    sys.modules[name] = module
from boxd.emulator.sandbox import Spawn, open_sandbox

async def main():
    sandbox = await open_sandbox(sys.argv[2], remove_at_end=True)
    await sandbox.prepare("one", "one")
    machine = await sandbox.boot("one", "one", {})
    upload = await machine.open_write("/app/f")
    os.write(upload.fd, b"from the host\\n")
    os.close(upload.fd)
    await upload.commit()
    command = "cat /app/f; id -u; hostname; echo x > /etc/new && ls /etc/new; ps -e | wc -l"
    process = await machine.spawn(Spawn(("sh", "-c", command)))
    while data := await process.stdout.read():
        print(data.decode(), end="")
    process.close()
    await sandbox.close()
    print(sandbox.name, os.path.exists(sys.argv[2]))

asyncio.run(main())
"""


def test_an_ordinary_user_gets_isolated_boxes(tmp_path: Path) -> None:
    """The unprivileged way for real: as a user who is not root, where one who may run the interpreter can be had."""
    if os.geteuid() != 0 or not sys.platform.startswith("linux"):
        pytest.skip("needs root, to become somebody else")
    become = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "env", "-i"]
    for python in (sys.executable, "/usr/bin/python3"):
        version = "import sys; sys.exit(sys.version_info < (3, 10))"
        if subprocess.run([*become, python, "-c", version], capture_output=True, check=False).returncode == 0:
            break
    else:
        pytest.skip("no interpreter here can be run by another user")
    made = subprocess.run([*become, "mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip()
    command = [*become, python, "-B", "-c", UNPRIVILEGED, str(ROOT), made]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if "plain True" in result.stdout:
        pytest.skip("this machine's kernel gives ordinary users no namespaces")
    assert result.stdout.split("\n") == [
        "from the host",
        "0",
        "one",
        "/etc/new",
        "5",
        "namespaces False",
        "",
    ], result
