"""Receive steering: which CPUs run the kernel's receive work of an interface (`rps_cpus`).

Without it a veth's transmit runs the bridge, the shaper and the receiver's UDP input in the sender's context,
and the sender pays for everybody's work.
"""

from __future__ import annotations

import os

from topologies.builder.kernel import sysfs_of_thread
from topologies.builder.netns import enter_namespace
from topologies.builder.shaping import intermediates
from topologies.record import Record, Steering


def steer(record: Record) -> Steering:
    """Write every interface's CPU mask and read it back; runs in a thread of `in_thread`.

    Returns:
        the record's steering with `applied` true when the kernel confirmed every mask, or the reason why not.
    """
    plan = record.steering
    if not plan.host and not plan.network:
        return plan
    wrong: list[str] = []
    for name, cpus in plan.host.items():
        host = record.hosts[name]
        wrong += _steer_namespace(host.namespace, {interface.name: cpus for interface in host.interfaces})
    ports = {
        device: cpus
        for name, cpus in plan.network.items()
        for device in (*record.networks[name].ports, *intermediates(record.networks[name]))
    }
    wrong += _steer_namespace(record.namespace, ports) if ports else []
    if wrong:
        return plan.model_copy(update={"reason": f"the kernel did not take the mask of {wrong[0]}"})
    return plan.model_copy(update={"applied": True})


def _steer_namespace(namespace: str, devices: dict[str, list[int]]) -> list[str]:
    enter_namespace(namespace)
    sysfs = sysfs_of_thread()
    try:
        return [f"{namespace}/{name}" for name, cpus in devices.items() if not _write(sysfs, name, cpus)]
    finally:
        os.close(sysfs)


def _write(sysfs: int, name: str, cpus: list[int]) -> bool:
    wanted = sum(1 << cpu for cpu in set(cpus))
    try:
        file = os.open(
            f"devices/virtual/net/{name}/queues/rx-0/rps_cpus", os.O_RDWR | os.O_CLOEXEC, dir_fd=sysfs
        )
    except FileNotFoundError:
        return False  # a kernel without receive steering
    try:
        os.write(file, _mask(wanted).encode())
        return int(os.pread(file, 4096, 0).decode().replace(",", ""), 16) == wanted
    except OSError:
        return False
    finally:
        os.close(file)


def _mask(value: int) -> str:
    """A CPU mask as the kernel reads it: hexadecimal words of 32 bits, the highest first."""
    words = []
    while True:
        words.append(f"{value & 0xFFFFFFFF:08x}")
        value >>= 32
        if not value:
            return ",".join(reversed(words))
