"""The calls that change a machine as a whole: its status, name, size, labels and timers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from boxd import methods
from boxd.messages import vm_lifecycle
from boxd.resources.machine import Machine
from boxd.types.machines import ResizeResult, ResumeResult, SuspendResult

_LONGEST = 2**32 - 1


class Lifecycle(Machine):
    """A machine that can be started, stopped and changed."""

    async def start(self) -> None:
        """Start the machine from its disk. RPC: StartVm."""
        await self._session.unary(methods.StartVm, vm_lifecycle.StartVmRequest(vm_id=self._id))
        self._status = "running"

    async def stop(self) -> None:
        """Power the machine off: what is only in its memory is lost. RPC: StopVm."""
        await self._session.unary(methods.StopVm, vm_lifecycle.StopVmRequest(vm_id=self._id))
        self._status = "stopped"

    async def reboot(self) -> None:
        """Stop the machine and start it again. RPC: RebootVm."""
        await self._session.unary(methods.RebootVm, vm_lifecycle.RebootVmRequest(vm_id=self._id))
        self._status = "running"

    async def destroy(self) -> None:
        """Destroy the machine and its disk. RPC: DestroyVm."""
        await self._session.unary(methods.DestroyVm, vm_lifecycle.DestroyVmRequest(vm_id=self._id))
        self._status = "destroyed"

    async def suspend(self) -> SuspendResult:
        """Suspend the machine with its memory and its processes. RPC: SuspendVm."""
        response = await self._session.unary(methods.SuspendVm, vm_lifecycle.SuspendVmRequest(vm_id=self._id))
        self._status = "suspended"
        return SuspendResult(response.suspend_us)

    async def resume(self) -> ResumeResult:
        """Let a suspended machine go on. A command does so too. RPC: ResumeVm."""
        response = await self._session.unary(methods.ResumeVm, vm_lifecycle.ResumeVmRequest(vm_id=self._id))
        self._status = "running"
        return ResumeResult(response.resume_us)

    async def hibernate(self) -> None:
        """Write the machine's memory to disk and let go of it: longer to come back from than `suspend`, and cheaper to
        stay in. Raises `UnsupportedError` on an older server. RPC: HibernateVm."""
        await self._session.unary(methods.HibernateVm, vm_lifecycle.HibernateVmRequest(vm_id=self._id))
        self._status = "hibernated"

    async def wake(self) -> None:
        """Let a hibernated machine go on. A command does so too. Raises `UnsupportedError` on an older server.
        RPC: WakeVm."""
        await self._session.unary(methods.WakeVm, vm_lifecycle.WakeVmRequest(vm_id=self._id))
        self._status = "running"

    async def rename(self, name: str) -> None:
        """Give the machine another name, and so another address on the web. Raises `InvalidArgumentError` for a bad or
        taken name. RPC: RenameVm."""
        from boxd.messages.vm_settings import RenameVmRequest

        response = await self._session.unary(methods.RenameVm, RenameVmRequest(vm_id=self._id, new_name=name))
        self._name = response.name or name

    async def resize(self, vcpu: int = 0, memory: str | int = "") -> ResizeResult:
        """Change the number of CPUs, the size of the memory (`"8G"`, or an int of bytes), or both; what is left out
        stays. The machine may be rebooted for it: the result tells.

        Raises `ValueError` where nothing is to change and for a bad size, `QuotaExceededError` above what is allowed,
        and `UnsupportedError` on an older server. RPC: ResizeVm.
        """
        from boxd.messages.vm_settings import ResizeVmRequest
        from boxd.sizes import parse_size

        size = 0 if memory == "" else parse_size(memory)
        if not vcpu and not size:
            raise ValueError("resize needs `vcpu`, `memory` or both")
        _check_range("vcpu", vcpu)
        request = ResizeVmRequest(vm_id=self._id, vcpu=vcpu, memory_bytes=size)
        response = await self._session.unary(methods.ResizeVm, request)
        self._vcpu, self._memory_bytes = response.vcpu, response.memory_bytes
        return ResizeResult(response.vcpu, response.memory_bytes, response.rebooted)

    async def update_labels(
        self, labels: Mapping[str, str] | None = None, remove: Iterable[str] = (), replace: bool = False
    ) -> dict[str, str]:
        """Set `labels`, take away those named in `remove`, and return all the machine then has. With `replace`,
        `labels` are all it has afterwards. Raises `UnsupportedError` on an older server. RPC: UpdateVmLabels."""
        from boxd.messages.vm_settings import UpdateVmLabelsRequest

        request = UpdateVmLabelsRequest(
            vm=self._id,
            set={} if labels is None else {**labels},
            remove=_strings("remove", remove),
            replace_all=replace,
        )
        response = await self._session.unary(methods.UpdateVmLabels, request)
        self._labels = {**response.labels}
        return {**response.labels}

    async def set_auto_suspend(self, timeout: int) -> None:
        """Suspend the machine after `timeout` seconds without network traffic; 0 for never.
        RPC: SetAutoSuspendTimeout."""
        from boxd.messages.vm_settings import SetAutoSuspendTimeoutRequest

        _check_range("timeout", timeout)
        request = SetAutoSuspendTimeoutRequest(vm_id=self._id, timeout_secs=timeout)
        await self._session.unary(methods.SetAutoSuspendTimeout, request)
        self._auto_suspend_timeout_secs = timeout

    async def set_auto_hibernate(self, timeout: int) -> None:
        """Hibernate the machine after `timeout` seconds without network traffic; 0 for never.
        RPC: SetAutoHibernateTimeout."""
        from boxd.messages.vm_settings import SetAutoHibernateTimeoutRequest

        _check_range("timeout", timeout)
        request = SetAutoHibernateTimeoutRequest(vm_id=self._id, timeout_secs=timeout)
        await self._session.unary(methods.SetAutoHibernateTimeout, request)
        self._auto_hibernate_timeout_secs = timeout

    async def delete_after(self, seconds: int = 0, cron: str = "") -> int | None:
        """Destroy the machine `seconds` from now, or the next time that the cron expression `cron` fits; with neither,
        no longer. Returns the time in milliseconds since 1970, None where there is none.

        Raises `ValueError` where both are given, and `UnsupportedError` on an older server. RPC: SetDeleteAfter.
        """
        from boxd.messages.vm_settings import SetDeleteAfterRequest

        if seconds and cron:
            raise ValueError("delete_after takes `seconds` or `cron`, not both")
        if seconds < 0:
            raise ValueError(f"seconds={seconds!r}: use a positive number of seconds, or 0 for never")
        request = SetDeleteAfterRequest(vm_id=self._id, delete_after_secs=seconds, delete_after_cron=cron)
        response = await self._session.unary(methods.SetDeleteAfter, request)
        self._delete_at_ms = response.delete_at_ms or None
        return self._delete_at_ms

    async def set_networks(self, networks: Iterable[str]) -> list[str]:
        """Put the machine into these private networks, by their ids, and no others. Returns those it is in. Raises
        `NotFoundError`, and `UnsupportedError` on an older server. RPC: SetVmNetworks."""
        from boxd.messages.network import SetVmNetworksRequest

        request = SetVmNetworksRequest(vm_id=self._id, networks=_strings("networks", networks))
        return [*(await self._session.unary(methods.SetVmNetworks, request)).networks]

    async def set_egress_allow(self, entries: Iterable[str]) -> list[str]:
        """Let the machine reach these hosts or addresses only; with none, everything. Returns what is then allowed.
        Raises `InvalidArgumentError`, and `UnsupportedError` on an older server. RPC: SetVmEgressAllow."""
        from boxd.messages.network import SetVmEgressAllowRequest

        request = SetVmEgressAllowRequest(vm=self._id, entries=_strings("entries", entries))
        return [*(await self._session.unary(methods.SetVmEgressAllow, request)).entries]

    async def share(self) -> None:
        """Let everybody in the machine's organization see it. RPC: ShareVm."""
        from boxd.messages import vm_sharing

        await self._session.unary(methods.ShareVm, vm_sharing.ShareVmRequest(vm_id=self._id))

    async def unshare(self) -> None:
        """Make a shared machine private again. RPC: UnshareVm."""
        from boxd.messages import vm_sharing

        await self._session.unary(methods.UnshareVm, vm_sharing.UnshareVmRequest(vm_id=self._id))


def _check_range(name: str, value: int) -> None:
    if not 0 <= value <= _LONGEST:
        raise ValueError(f"{name}={value!r}: use a whole number from 0 to 2**32 - 1")


def _strings(name: str, values: Iterable[str]) -> list[str]:
    if isinstance(values, str):
        raise TypeError(f"`{name}` is one string: give a list of strings")
    return [*values]
