"""`BoxConfig` as the service takes it."""

from __future__ import annotations

from collections.abc import Mapping

from boxd.messages import vm_config as pb
from boxd.sizes import parse_size
from boxd.types.config import BoxConfig, LifecycleConfig, NetworkConfig


def to_vm_config(config: BoxConfig | None) -> pb.VmConfig | None:
    """The message for `config`; None where there is nothing in it to send. Raises `ValueError` for a bad size, and
    `TypeError` for what is no `BoxConfig`, and where it has something else than the parts of one."""
    if config is None:
        return None
    _check(config, BoxConfig, "config")
    _check(config.lifecycle, LifecycleConfig, "config.lifecycle")
    _check(config.network, NetworkConfig, "config.network")
    _check(config.env, Mapping, "config.env")
    if isinstance(config.cmd, str):
        raise TypeError("config.cmd is one string: give a list, the program and its arguments")
    message = pb.VmConfig(vcpu=config.vcpu, memory_bytes=_size(config.memory), disk_bytes=_size(config.disk))
    if config.lifecycle is not None:
        # The field for suspending has presence: a 0 is sent, and switches the timer off.
        message.srf = pb.SrfConfig(
            auto_suspend_timeout_secs=config.lifecycle.auto_suspend_timeout,
            auto_destroy_timeout_secs=config.lifecycle.auto_destroy_timeout,
        )
    if config.network is not None:
        proxies = [] if config.network.proxies is None else config.network.proxies
        message.network = pb.NetworkConfig(
            ssh=config.network.ssh, proxies=[pb.ProxyEntry(name=proxy.name, port=proxy.port) for proxy in proxies]
        )
    if config.volumes is not None:
        message.volumes = [
            pb.VolumeMount(disk_id=volume.disk_id, mount_path=volume.mount_path, read_only=volume.read_only)
            for volume in config.volumes
        ]
    return None if message == pb.VmConfig() else message


def _check(value: object, kind: type, name: str) -> None:
    if value is not None and not isinstance(value, kind):
        raise TypeError(f"{name} is of type {type(value).__name__}: use a {kind.__name__}")


def _size(value: str | int) -> int:
    return 0 if value == "" else parse_size(value)


def check_duration(name: str, seconds: int) -> None:
    """Refuse what no duration is. Raises `ValueError`."""
    if seconds < 0:
        raise ValueError(f"{name}={seconds!r}: use a positive number of seconds, or 0 for the default")
