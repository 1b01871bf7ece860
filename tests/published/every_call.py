"""Every public method of the published client, once at least, against the server that the environment names.

Runs in the published client's Python. Each answer is checked; at the end it prints, as JSON, how many methods there are
and which of them were not called. It is also a program that our client must run, with the same answers; `read` and
`done` have the two places where the clients' surfaces differ.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import boxd
import boxd.aio

ORG = "local"


def watch() -> tuple[set[str], set[str]]:
    """Make the methods of all public classes note that they are called: the names of all, and those called so far."""
    known: set[str] = set()
    called: set[str] = set()
    # With those that have no public name, such as the type of a blocking client's process.
    modules = [boxd, boxd.aio, sys.modules[boxd.Compute.__module__]]
    values = [value for module in modules for name, value in vars(module).items() if not name.startswith("_")]
    for owner in {value for value in values if inspect.isclass(value) and value.__module__.startswith("boxd")}:
        for name, method in list(vars(owner).items()):
            if inspect.isfunction(method) and not name.startswith("_"):
                full = f"{owner.__module__}.{owner.__name__}.{name}"
                known.add(full)
                setattr(owner, name, noting(full, method, called))
    return known, called


def noting(full: str, method: Callable[..., Any], called: set[str]) -> Callable[..., Any]:
    """A method that notes its calls. Those on a watched method pass through."""

    @functools.wraps(method)
    def note(*args: Any, **options: Any) -> Any:
        called.add(full)
        return method(*args, **options)

    return note


def fails(kind: type[BaseException]) -> AbstractContextManager[None]:
    """The block must fail so."""

    class Fails(AbstractContextManager[None]):
        def __exit__(self, found: Any, error: Any, trace: Any) -> bool:
            assert isinstance(error, kind), f"{kind.__name__} was expected: {error!r}"
            return True

    return Fails()


def read(process: Any, output: str) -> bytes:
    """The next piece of an output: a method of the published blocking client, a reader of ours."""
    method = getattr(process, f"read_{output}", None) or getattr(process, output).read
    piece: bytes = method()
    return piece


def identity(c: Any) -> None:
    me, config = c.whoami(), c.config()
    assert me.user_id
    assert me.default_network_id
    assert isinstance(me.fingerprints, list)
    assert config.default_image
    assert config.zone
    assert ORG in [one.name for one in c.box.list_orgs()]


def boxes(c: Any) -> None:
    config = boxd.BoxConfig(vcpu=1, memory="512M", disk="5G", env={"WHO": "me"}, restart_policy="never")
    box = c.box.create("first", config=config)
    box.wait_until_ready(timeout=20)
    assert (box.status, box.exec("printenv", "WHO").stdout) == ("running", "me\n")
    assert c.box.get(box.id).restart_policy == "never"
    box.write_file("kept", "note")
    copy = c.box.fork("first", name="second", config=boxd.BoxConfig(vcpu=2))
    assert (copy.forked_from, copy.read_file("note")) == (box.id, b"kept")
    assert {one.name for one in c.box.list()} == {"first", "second"}
    box.stop()
    assert (box.status, c.box.get("first").status) == ("stopped", "stopped")
    with fails(boxd.BoxdError):
        box.exec("true")
    box.start()
    box.reboot()
    assert box.suspend().suspend_us > 0
    assert c.box.get("first").status == "suspended"
    assert box.resume().resume_us > 0
    assert c.box.get("first").status == "running"
    assert box.read_file("note") == b"kept"
    for one in (box, copy):
        one.destroy()
    with fails(boxd.NotFoundError):
        c.box.get("first")


def shared_boxes(c: Any) -> None:
    box = c.box.create("ours", org=ORG)
    assert c.box.get("ours", org=ORG).id == box.id
    assert [one.name for one in c.box.list(org=ORG)] == ["ours"]
    assert c.box.list() == []
    box.share()
    box.unshare()
    box.destroy()


def commands(box: Any) -> None:
    result = box.exec("sh", "-c", "echo $WORD; echo no >&2; exit 3", env={"WORD": "two words"})
    assert (result.stdout, result.stderr, result.exit_code, result.success) == ("two words\n", "no\n", 3, False)
    with fails(boxd.TimeoutError):
        box.exec("sleep", "60", timeout=0.3)
    process = box.exec("sh", "-c", "read line; echo $line; read line; echo $line >&2; cat; exit 4", stream=True)
    process.stdin.write("text\n")
    process.stdin.write(b"bytes\n")
    assert (read(process, "stdout"), read(process, "stderr")) == (b"text\n", b"bytes\n")
    process.stdin.write_eof()
    assert (list(process.iter_stdout()), list(process.iter_stderr()), process.wait()) == ([], [], 4)
    headless = box.exec("sh", "-c", "cat; echo end", stream=True, close_stdin=True)
    assert (b"".join(headless.iter_stdout()), headless.wait()) == (b"end\n", 0)
    ended = box.exec("sleep", "600", stream=True)
    ended.close()
    with fails(ValueError):
        box.exec("sh", stream=True, interactive=True, close_stdin=True)


def terminals(box: Any) -> None:
    assert box.exec("stty", "size", pty=True, cols=100, rows=30).stdout == "30 100\r\n"
    shell = box.exec("sh", "-c", "stty -echo; echo on; read x; stty size; cat", interactive=True, stream=True)
    assert read(shell, "stdout") == b"on\r\n"
    shell.resize(90, 20)
    shell.stdin.write("\n")
    assert read(shell, "stdout") == b"20 90\r\n"
    shell.stdin.write_eof()
    assert (shell.wait(), read(shell, "stderr")) == (0, b"")


def files(box: Any) -> None:
    everything = bytes(range(256)) * 1000
    Path("local.bin").write_bytes(everything)
    for source, path, read in (
        ("żółć", "a/text", "żółć".encode()),
        (everything, "/srv/b", everything),
        (b"", "c", b""),
    ):
        box.write_file(source, path)
        assert box.read_file(path) == read
    box.write_file(Path("local.bin"), "/tmp/local")
    assert box.read_file("/tmp/local") == everything
    with fails(boxd.NotFoundError):
        box.read_file("/nowhere")


def proxies(box: Any) -> None:
    made = box.create_proxy("api", port=3001)
    assert (made.name, made.vm_name, made.port, made.is_default) == ("api", box.name, 3001, False)
    box.set_proxy_port(3000)
    box.set_proxy_port(3002, name="api")
    assert {(one.name, one.port, one.is_default) for one in box.proxies()} == {("", 3000, True), ("api", 3002, False)}
    with fails(boxd.InvalidArgumentError):
        box.create_proxy("api")
    box.delete_proxy("api")
    assert [one.is_default for one in box.proxies()] == [True]


def logs(box: Any) -> None:
    assert b"".join(box.stream_logs())


def disks(c: Any, box: Any) -> None:
    disk = c.disk.create("data", "1G")
    assert (disk.name, disk.size_bytes, disk.status) == ("data", 1 << 30, "ready")
    assert [one.id for one in c.disk.list()] == [disk.id]
    for target in (box, box.id, box.name):
        disk.attach(target, "/mnt/data", read_only=target is box)
        assert ("ro," in box.exec("grep", " /mnt/data ", "/proc/mounts").stdout) == (target is box)
        disk.detach(target)
    disk.destroy()
    assert disk.status == "destroyed"
    assert c.disk.list() == []


def templates(c: Any) -> None:
    made = c.template.create("base", "ubuntu:latest", boxd.BoxConfig(vcpu=1, memory="1G"))
    assert [(one.id, one.vcpu, one.memory_bytes) for one in c.template.list()] == [(made.id, 1, 1 << 30)]
    for template in (made, made.id):
        box = c.template.create_vm(template, name="from-it", config=boxd.BoxConfig(memory="2G"))
        assert box.exec("hostname").stdout == "from-it\n"
        box.destroy()
    c.template.delete(made.id)
    with fails(boxd.NotFoundError):
        c.template.delete(made.id)


def names(c: Any, box: Any) -> None:
    c.domain.bind("app.example.com", box)
    c.domain.bind("api.example.com", box.name)
    assert {(one.domain, one.vm_id) for one in c.domain.list()} == {
        ("app.example.com", box.id),
        ("api.example.com", box.id),
    }
    c.domain.unbind("app.example.com")
    c.domain.unbind("api.example.com")
    with fails(boxd.NotFoundError):
        c.domain.unbind("app.example.com")
    made = c.network.create("private")
    assert not made.subnet
    assert [one.status for one in c.network.list() if one.id == made.id] == ["active"]


def credentials(c: Any) -> None:
    made = c.token.create(expires_in=600)
    assert 500 < made.expires_at - time.time() <= 600
    (known,) = c.token.list()
    assert known.expires_at - known.created_at == 600
    c.token.revoke(known.jti)
    assert c.token.list() == []
    with fails(boxd.NotFoundError):
        c.token.revoke(known.jti)


def billing(c: Any) -> None:
    assert all(plan.lookup_key and plan.vcpu for plan in c.billing.list_plans())
    assert c.billing.status().max_vms > 0
    assert c.billing.create_checkout_session("https://example.com/yes", "https://example.com/no")
    assert c.billing.create_billing_portal_session("https://example.com/")


async def done(value: Any) -> None:
    """Wait where our async client waits: writing is not awaited with the published one."""
    if inspect.isawaitable(value):
        await value


async def asynchronous() -> None:
    """What the blocking client has in another form."""
    async with boxd.aio.Compute() as c:
        box = await c.box.create("theirs", org=ORG, shared=True)
        process = await box.exec("sh", "-c", "cat; echo no >&2", stream=True)
        await done(process.stdin.write(b"in\n"))
        await process.stdin.drain()
        await done(process.stdin.write_eof())
        assert b"".join([piece async for piece in process.stdout]) == b"in\n"
        assert (await process.stderr.read(), await process.stderr.read(), await process.wait()) == (b"no\n", b"", 0)
        assert b"".join([piece async for piece in box.stream_logs()])
        answers = await asyncio.gather(*[box.exec("echo", str(number)) for number in range(20)])
        assert [one.stdout for one in answers] == [f"{number}\n" for number in range(20)]
        await box.destroy()


def main() -> None:
    known, called = watch()
    c = boxd.Compute()
    identity(c)
    boxes(c)
    shared_boxes(c)
    with c:
        box = c.box.create("main")
        for part in (commands, terminals, files, proxies, logs):
            part(box)
        disks(c, box)
        names(c, box)
        box.destroy()
        for part in (templates, credentials, billing):
            part(c)
    asyncio.run(asynchronous())
    print(json.dumps({"known": len(known), "missing": sorted(known - called)}))


if __name__ == "__main__":
    main()
