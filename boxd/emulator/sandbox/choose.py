"""Choosing the sandbox by trying: the first kind that runs a command in a box is taken."""

from __future__ import annotations

import os
import secrets
import sys

from . import base
from . import sudo as sudo_in_box
from .namespaces import NamespaceSandbox
from .plain import PlainSandbox


async def open_sandbox(
    state: str,
    *,
    remove_at_end: bool,
    kind: str = "auto",
    sudo: bool = True,
    network: str = "auto",
    lock: int | None = None,
) -> base.Sandbox:
    """A working sandbox over the directory `state`.

    `kind` is "auto", "namespaces" (an error when the kernel refuses them) or "plain". With `sudo`, a box's
    user can become its root. `network` is "auto", "isolated" (a network for each box, or an error) or "host" (the
    host's for all). `remove_at_end` removes `state` with everything in it at the end. Helper processes keep the
    descriptor `lock` open until nothing is left of their boxes. Raises
    `SandboxError` with the reason when the wanted kind does not work here.
    """
    refusals: list[str] = []
    sudo = sudo and sudo_in_box.host_helper() is not None
    if kind != "plain":
        for privileged, whole, in_memory in _candidates():
            try:
                sandbox = await NamespaceSandbox.start(
                    state,
                    privileged=privileged,
                    whole=whole,
                    in_memory=in_memory,
                    sudo=sudo,
                    remove_at_end=remove_at_end,
                    network=network,
                    lock=lock,
                )
                await _prove(sandbox)
                return sandbox
            except (base.SandboxError, OSError) as error:
                rights = "root" if privileged else "user namespace"
                refusals.append(f"{rights}: {error}")
    if kind == "namespaces":
        raise base.SandboxError("this machine gives no isolated boxes: " + "; ".join(dict.fromkeys(refusals)))
    if network == "isolated":
        raise base.SandboxError("a network for each box needs namespaces: " + "; ".join(refusals or ["not asked for"]))
    return PlainSandbox(state, remove_at_end, tuple(dict.fromkeys(refusals)))


def _candidates() -> list[tuple[bool, bool, bool]]:
    """(privileged, one overlay over the whole root, disks in memory), the best first."""
    if not sys.platform.startswith("linux"):
        return []
    ways = [(False, False)]
    if os.geteuid() == 0:
        ways = [(True, True), (True, False), *ways]
    return [(*way, in_memory) for in_memory in (False, True) for way in ways]


async def _prove(sandbox: NamespaceSandbox) -> None:
    """Try a sandbox. One in which nothing runs is closed, but its state is kept for the next. Raises the reason."""
    try:
        await _probe(sandbox)
    except BaseException:
        sandbox.keep_state()
        await sandbox.close()
        raise


async def _probe(sandbox: base.Sandbox) -> None:
    """Run one command and read one file in a box that is removed again."""
    name = f"probe-{secrets.token_hex(4)}"
    try:
        await sandbox.prepare(name, name)
        machine = await sandbox.boot(name, name, {})
        try:
            upload = await machine.open_write("probe/file")
            os.close(upload.fd)
            await upload.commit()
            process = await machine.spawn(base.Spawn(["sh", "-c", "cat probe/file"]))
            code = await process.wait()
            process.close()
        finally:
            await machine.kill()
    finally:
        await sandbox.delete(name)
    if code != 0:
        raise base.SandboxError(f"a first command in a box ended with exit code {code}")
