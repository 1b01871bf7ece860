"""What a hostile program in a box tries on the host, the emulator and the other boxes."""

from __future__ import annotations

import asyncio
import ctypes
import os
import platform
import secrets
import shutil
import socket
import stat
import threading
from pathlib import Path

import pytest

from boxd.emulator.errors import Code, EmulatorError
from boxd.emulator.sandbox import Machine, rootfs
from boxd.emulator.store import Store
from tests.emulator.support import asynchronous, machine_of, new_machine, read, run, sandbox_of, works, write

AS_ROOT = (
    # The groups of the host, where the root of a privileged box would have the number of the files' owner.
    "unshare -UrC true",
    "unshare -UrmC mount -t cgroup2 none /mnt",
    "unshare -Urm mount -t cgroup2 none /mnt",
    "unshare -Urm mount -t cgroup -o pids none /mnt",
    "unshare -Urm mount -t cgroup -o devices none /mnt",
    "mount -t cgroup -o memory none /mnt",
    "sh -c 'echo 9 > /proc/sys/user/max_cgroup_namespaces'",
    "unshare -Urm sh -c 'echo 9 > /proc/sys/user/max_cgroup_namespaces'",
    # The kernel's file systems, and what hides their parts.
    "unshare -Urmn mount -t sysfs none /mnt",
    "unshare -Urmpf mount -t proc none /mnt",
    "unshare -Urm mount -t debugfs none /mnt",
    "unshare -Urm mount -t devtmpfs none /mnt",
    "unshare -Urm umount /proc/keys",
    "unshare -Urm mount -o remount,rw /dev/null",
    "mount -t ext4 /dev/vda /mnt",
    "mount --bind / /mnt",
    "sh -c 'echo 1 > /proc/sys/vm/drop_caches'",
    "sh -c \"echo '|/tmp/x' > /proc/sys/kernel/core_pattern\"",
    "sh -c 'test -s /proc/vmallocinfo || test -s /proc/kpagecount || test -s /proc/keys'",
    "grep -q . /proc/slabinfo",
    "grep -q . /proc/key-users",
    "head -c 1 /proc/kmsg",
    "head -c 1 /proc/kcore",
    "find /sys -mindepth 1 -name '*' -exec false {} +",
    # Devices, the clock, the machine.
    "mknod /tmp/mem c 1 1",
    "mknod /tmp/disk b 254 0",
    "sh -c 'exec 3< /dev/mem'",
    "sh -c 'ls /dev/kmsg /dev/sd* /dev/vd* /dev/nvme* /dev/fuse /dev/kvm 2>/dev/null | grep .'",
    "date -s 2001-01-01",
    "nsenter -t 1 -p true",
    "nsenter --net=/proc/1/ns/net true",
)


@pytest.mark.parametrize("user", ["the machine user", "the box's root"])
@asynchronous
async def test_no_command_reaches_the_kernels_own(isolated: str, state: Path, user: str) -> None:
    sudo = "sudo " if user == "the box's root" else ""
    async with machine_of(isolated, state) as machine:
        got = [attempt for attempt in AS_ROOT if (await run(machine, f"{sudo}{attempt} >/dev/null 2>&1")).code == 0]
        # `find` succeeds where there is nothing for it to run on.
        assert got == ["find /sys -mindepth 1 -name '*' -exec false {} +"]
        assert (await run(machine, "ls -A /sys; echo alive")).out == "alive\n"


SYSCALLS = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
pair = (ctypes.c_long * 26)
calls = {
    "reboot": lambda: libc.reboot(0x1234567),
    "settimeofday": lambda: libc.settimeofday(pair(10**9, 0), None),
    "clock_settime": lambda: libc.clock_settime(0, pair(10**9, 0)),
    "adjtimex": lambda: libc.adjtimex(pair(1, 5)),
    "stime by adjtime": lambda: libc.adjtime(pair(1, 0), None),
    "swapon": lambda: libc.swapon(b"/etc/passwd", 0),
    "acct": lambda: libc.acct(b"/tmp"),
    "mount": lambda: libc.mount(b"none", b"/mnt", b"tmpfs", 0, None),
    "umount": lambda: libc.umount2(b"/proc/sys", 2),
    "pivot_root": lambda: libc.syscall(155, b"/", b"/mnt"),
    "sethostname": lambda: libc.sethostname(b"evil", 4),
    "setdomainname": lambda: libc.setdomainname(b"evil", 4),
    "klogctl": lambda: libc.klogctl(3, ctypes.create_string_buffer(10), 10) - 1,
    "init_module": lambda: libc.init_module(b"x", 1, b""),
    "delete_module": lambda: libc.delete_module(b"x", 0),
    "ptrace init": lambda: libc.ptrace(16, 1, 0, 0),
    "vm_readv init": lambda: libc.process_vm_readv(1, pair(), 0, pair(), 1, 0) - 1,
    "kill init": lambda: -1 if os.kill(1, 9) is None and os.path.exists("/proc/1") else 0,
    "nice": lambda: libc.nice(-20),
    "ioperm": lambda: libc.ioperm(0x70, 1, 1) if hasattr(libc, "ioperm") else -1,
    "unshare pid": lambda: libc.unshare(0x20000000),
    "open_by_handle_at": lambda: libc.open_by_handle_at(-100, (ctypes.c_int * 34)(8, 1, 2), 0),
    "fanotify": lambda: libc.fanotify_mark(libc.fanotify_init(4, 0), 0x10 | 1, 2, -100, b"/"),
    "setns": lambda: libc.setns(os.open("/proc/1/ns", os.O_RDONLY) if os.access("/proc/1/ns", 4) else -1, 0),
}
for name, call in calls.items():
    try:
        if call() >= 0:
            print(name)
    except (OSError, AttributeError):
        pass
"""


@asynchronous
async def test_no_system_call_reaches_the_host(isolated: str, state: Path) -> None:
    async with machine_of(isolated, state) as machine:
        await write(machine, "calls.py", SYSCALLS.encode())
        if (await run(machine, "command -v python3")).code != 0:
            pytest.skip("no python3 in boxes of this host")
        for sudo in ("", "sudo "):
            result = await run(machine, f"{sudo}python3 calls.py")
            assert (result.out, result.err) == ("", "")
        assert (await run(machine, "hostname")).out == "one\n"


@asynchronous
async def test_a_box_leaves_its_root_by_no_descriptor(isolated: str, state: Path) -> None:
    """chroot(2) leads out of a root that is only a directory; a box's is a mount, and nothing above it is there."""
    script = (
        "import os\n"
        "os.makedirs('/tmp/in', exist_ok=True)\n"
        "fd = os.open('/', os.O_RDONLY)\n"
        "os.chroot('/tmp/in')\n"
        "os.fchdir(fd)\n"
        "for _ in range(64): os.chdir('..')\n"
        "os.chroot('.')\n"
        "print(os.path.exists('/tmp/in'), os.stat('/').st_ino == os.fstat(fd).st_ino)\n"
        "print([name for name in os.listdir('/proc/self/fd') if os.readlink('/proc/self/fd/' + name)[:1] == '/'][1:])\n"
    )
    async with machine_of(isolated, state) as machine:
        if (await run(machine, "command -v python3")).code != 0:
            pytest.skip("no python3 in boxes of this host")
        await write(machine, "leave.py", script.encode())
        result = await run(machine, "sudo python3 leave.py")
        assert result.out.splitlines()[0] == "True True", result


@asynchronous
async def test_what_the_emulator_knows_is_nowhere_in_a_box(isolated: str, state: Path) -> None:
    """Neither its environment, nor its command line, nor its files, nor another box's secret."""
    mark = f"mark-{secrets.token_hex(8)}"
    os.environ["BOXD_TEST_MARK"] = mark
    try:
        async with sandbox_of(isolated, state) as sandbox:
            (state / "state.sqlite3").write_text(mark)
            await sandbox.prepare("other", "other")
            other = await sandbox.boot("other", "other", {"SECRET": mark})
            await run(other, f"echo {mark} > secret; sudo sh -c 'echo {mark} > /etc/secret; echo {mark} > /dev/shm/s'")
            machine = await new_machine(sandbox, "one")
            script = (
                "cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n';"
                f" cat {state}/state.sqlite3 {state}/disks/*/upper/*/etc/secret; cat /etc/secret /dev/shm/*;"
                " cat /proc/1/cwd/state.sqlite3 /proc/1/root/etc/secret /proc/*/root/etc/secret; ls -A /home /root"
            )
            for sudo in ("", "sudo "):
                await write(machine, "look", script.encode())
                result = await run(machine, f"{sudo}sh look 2>&1")
                assert mark not in result.out
                assert mark not in await told(machine, "/proc/self/environ")
                assert mark not in await told(machine, f"{state}/state.sqlite3")
    finally:
        del os.environ["BOXD_TEST_MARK"]


def _needs_root(state: Path) -> None:
    if works("root"):
        state.rmdir()
        pytest.skip("needs root")


async def told(machine: Machine, path: str) -> str:
    """What a download gives: the file, or its error."""
    try:
        return (await read(machine, path)).decode(errors="replace")
    except OSError as error:
        return str(error)


def test_the_session_keyring_of_the_host_is_not_a_boxs(isolated: str, state: Path) -> None:
    """Tried with a thread that has one of its own: a process inherits that of the thread that starts it."""
    number = {"x86_64": (248, 250), "aarch64": (217, 219)}.get(platform.machine())
    if number is None:
        pytest.skip("the numbers of add_key and keyctl on this machine are not known here")
    add_key, keyctl = number
    libc = ctypes.CDLL(None, use_errno=True)
    script = (
        "import ctypes\n"
        "libc = ctypes.CDLL(None)\n"
        f"print(libc.syscall({keyctl}, 10, -3, b'user', b'boxd-test', 0))\n"  # KEYCTL_SEARCH
    )

    async def search() -> None:
        async with machine_of(isolated, state) as machine:
            await write(machine, "search.py", script.encode())
            for sudo in ("", "sudo "):
                result = await run(machine, f"{sudo}python3 search.py")
                results.append(result.out.strip() or result.err)

    def in_a_session() -> None:
        if libc.syscall(keyctl, 1, None) < 0 or libc.syscall(add_key, b"user", b"boxd-test", b"secret", 6, -3) < 0:
            results.append("no keys")
            return
        results.append("ready" if libc.syscall(keyctl, 10, -3, b"user", b"boxd-test", 0) > 0 else "no keys")
        asyncio.run(search())

    results: list[str] = []
    thread = threading.Thread(target=in_a_session)
    thread.start()
    thread.join(60)
    if results == ["no keys"]:
        state.rmdir()
        pytest.skip("this kernel has no keys for us")
    if results[1:] and "python3" in results[1]:
        pytest.skip("no python3 in boxes of this host")
    assert results == ["ready", "-1", "-1"]


@asynchronous
async def test_abstract_sockets_of_the_host_are_not_there(isolated: str, state: Path) -> None:
    name = f"boxd-test-{secrets.token_hex(4)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(f"\0{name}")
        listener.listen()
        async with sandbox_of(isolated, state) as sandbox:
            if not sandbox.own_network:
                pytest.skip("no networks of boxes here")
            machine = await new_machine(sandbox, "one")
            if (await run(machine, "command -v python3")).code != 0:
                pytest.skip("no python3 in boxes of this host")
            script = f"import socket; socket.socket(socket.AF_UNIX).connect('\\0{name}')"
            await write(machine, "connect.py", script.encode())
            assert "ConnectionRefused" in (await run(machine, "sudo python3 connect.py")).err
            assert name not in (await run(machine, "cat /proc/net/unix")).out


@asynchronous
async def test_a_set_user_id_program_of_a_box_is_no_more_than_its_root(state: Path) -> None:
    """Nor can anybody on the host run it: the way to it is closed to other users."""
    _needs_root(state)
    async with machine_of("root", state) as machine:
        await run(machine, "sudo sh -c 'cp /bin/cat /home/boxd/suid; chmod 4755 /home/boxd/suid'")
        result = await run(machine, "./suid /proc/self/status")
        assert "Uid:\t1001\t0\t0" in result.out or "\t0\t0\t0" in result.out
        assert "CapEff:\t00000000a00425fb" in result.out
        assert stat.S_IMODE((state / "disks").stat().st_mode) == 0o700


def test_others_on_the_host_cannot_read_the_store(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        store = Store(str(tmp_path / "state.sqlite3"))
        store.save("kind", "key", {"secret": "x"})
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        store.close()
    finally:
        os.umask(old)
    assert set(modes.values()) == {0o600}, modes
    assert "state.sqlite3" in modes


def test_the_emulators_own_directories_are_hidden_wherever_they_are(tmp_path: Path) -> None:
    home = Path("/srv") if Path("/srv").is_dir() else Path("/boot")
    link = tmp_path / "link"
    link.symlink_to("/var/cache")
    assert rootfs.to_hide("/var/cache/state", str(home)) == ("/var/cache/state", str(home))
    assert rootfs.to_hide(f"{link}/state", "/") == ("/var/cache/state",)
    # Hidden as they are, or the homes of services.
    assert rootfs.to_hide("/tmp/state", "/root") == ()
    assert rootfs.to_hide("/tmp/state", "/usr") == ()
    assert rootfs.to_hide("/tmp/state", "/bin") == ()
    assert rootfs.to_hide("/tmp/state", "/nonexistent") == ()


def test_a_state_directory_behind_a_link_is_hidden(isolated: str) -> None:
    if not os.access("/var/cache", os.W_OK):
        pytest.skip("needs a directory of the host that boxes see")
    real = Path(f"/var/cache/boxd-test-{os.getpid()}")
    link = Path(f"/srv/boxd-test-{os.getpid()}")
    real.mkdir()
    link.symlink_to(real)
    try:

        @asynchronous
        async def look() -> None:
            async with machine_of(isolated, link) as machine:
                assert (await run(machine, f"sudo ls -A {real}/disks {link}/disks")).out == ""

        look()
    finally:
        link.unlink(missing_ok=True)
        shutil.rmtree(real)


@asynchronous
async def test_the_machine_user_is_in_no_group_of_the_host(state: Path) -> None:
    """Downloads have the rights of its commands, also where the emulator's own process is in more groups."""
    _needs_root(state)
    before = os.getgroups()
    os.setgroups([*before, 54321])
    try:
        async with machine_of("root", state) as machine:
            await run(machine, "sudo sh -c 'cd /home/boxd; echo x > f; chgrp 54321 f; chmod 640 f'")
            assert (await run(machine, "cat f")).code != 0
            with pytest.raises(PermissionError):
                await read(machine, "f")
    finally:
        os.setgroups(before)


def test_a_status_message_has_the_length_of_a_header() -> None:
    error = EmulatorError(Code.NOT_FOUND, f"reading {'x' * 100_000}: No such file or directory")
    assert len(error.message) < 1100
    assert error.message.startswith("reading xxx")
    assert error.message.endswith("x: No such file or directory")
