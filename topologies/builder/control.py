"""A lab that stands: its counters, and its networks' rates and impairments changed, losing no packet."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import closing

from topologies.builder import gate
from topologies.builder.errors import LabError, NoSuchLab, Unsupported
from topologies.builder.lock import locked
from topologies.builder.netlink import Channel
from topologies.builder.netns import enter_namespace, in_thread
from topologies.builder.reshape import reshape, with_rate
from topologies.builder.shaping import intermediates
from topologies.builder.state import backlog_dropped, namespace_counters
from topologies.builder.steering import steer
from topologies.model import MAX_RATE_MBPS, MIN_RATE_MBPS, Impairments
from topologies.record import NetworkRecord, Record, read_record

_WAIT_SECONDS = 30.0


@contextlib.contextmanager
def standing(record: Record, network: str | None = None) -> Iterator[Record]:
    """The lab of `record` as it is now, held against everybody else who would change it.

    Raises:
        NoSuchLab: the lab is gone, or has no such network.
        LabBusy: somebody else holds it for long.
    """
    run_root = record.run_dir.parent
    with locked(record.lab, run_root, create=False, wait_seconds=_WAIT_SECONDS) as run_dir:
        current = read_record(record.lab, run_root) if run_dir is not None else None
        if current is None or current.state != "deployed":
            raise NoSuchLab(f"there is no lab {record.lab!r}")
        if network is not None and network not in current.networks:
            raise NoSuchLab(f"lab {record.lab!r} has no network {network!r}")
        yield current


def set_network(
    record: Record, network: str, rate_mbps: float | None, impairments: Impairments | None = None
) -> Record:
    """Change the rate of a network, or lift it with None, and what it loses; no packet under way is lost.

    Links with a rate of their own keep it. One exception: a switched network that was deployed without a rate
    has no queues, and may lose frames in the moment it first gets them. The pattern of what is lost begins
    anew with every call that gives impairments; None leaves them as they are. Returns the record then.

    Raises:
        NoSuchLab: the lab is gone, or has no such network.
        Unsupported: this kernel has no such impairment.
        LabError: a rate outside 1 to 10000 Mb/s, or the kernel refused.
        LabBusy: the lab is being destroyed.
    """
    if rate_mbps is not None and not MIN_RATE_MBPS <= rate_mbps <= MAX_RATE_MBPS:
        raise LabError(f"rate_mbps must be {MIN_RATE_MBPS:g} to {MAX_RATE_MBPS:g}, not {rate_mbps}")
    with standing(record, network) as current:
        old = current.networks[network]
        new = with_rate(old, rate_mbps).model_copy(
            update={"impairments": old.impairments if impairments is None else impairments}
        )
        if old == new and (impairments is None or not impairments.loss):
            return current
        # Written first: until the kernel agrees, the record names more than there is, never less.
        current.networks[network] = new
        current.save()
        try:
            in_thread(lambda: _change(current, network, old, anew=impairments is not None))
        except (OSError, Unsupported) as error:
            current.networks[network] = old.model_copy(update={"gate": new.gate})
            with contextlib.suppress(OSError, Unsupported):
                in_thread(lambda: _change(current, network, new, anew=impairments is not None))
            current.save()
            if isinstance(error, Unsupported):
                raise
            raise LabError(f"network {network!r} stays as it was: {error.strerror}") from error
        current.save()
        return current


def counters(record: Record) -> dict[str, int]:
    """Every counter of a lab's networks and interfaces, cumulative since the lab was made.

    `<host>.<interface>.<field>` and `<network>.<port or shaper>.<field>` with the fields of
    `state.namespace_counters`, and of `gate.FIELDS` where a network has ever had a loss or a cut;
    `cpu<N>.backlog_dropped` counts for the whole machine since it started.

    Raises:
        NoSuchLab: the lab's namespaces are gone.
    """
    try:
        return in_thread(lambda: _counters(record))
    except FileNotFoundError as error:
        raise NoSuchLab(f"there is no lab {record.lab!r}: {error.filename} is gone") from error


def _counters(record: Record) -> dict[str, int]:
    found = backlog_dropped()
    for name, host in record.hosts.items():
        enter_namespace(host.namespace)
        devices = namespace_counters()
        for interface in host.interfaces:
            found.update(_named(name, interface.name, devices))
    enter_namespace(record.namespace)
    devices = namespace_counters()
    for name, network in record.networks.items():
        for device in (*network.ports, *intermediates(network)):
            found.update(_named(name, device, devices))
        lost = dict(gate.counters(network))
        for port in network.ports:
            found.update(_named(name, port, lost))
    return found


def _named(owner: str, device: str, devices: dict[str, dict[str, int]]) -> dict[str, int]:
    return {f"{owner}.{device}.{field}": value for field, value in devices.get(device, {}).items()}


def _change(record: Record, name: str, old: NetworkRecord, *, anew: bool) -> None:
    """Make a network what the record says; it is `old`."""
    network = record.networks[name]
    enter_namespace(record.namespace)
    with closing(Channel()) as channel:
        made = reshape(channel, old, network)
        gate.settle(channel, record, network, anew=anew)
    if made:
        steer(record)
