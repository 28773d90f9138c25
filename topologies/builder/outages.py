"""Networks and links cut and healed, hosts stopped and started. What meets a cut is counted; see `gate`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from contextlib import closing

from topologies.builder import gate
from topologies.builder.control import standing
from topologies.builder.errors import LabError, NoSuchLab
from topologies.builder.netlink import Channel
from topologies.builder.netns import enter_namespace, in_thread
from topologies.cgroups import HostCgroup
from topologies.record import NetworkRecord, Record


def set_cut(record: Record, network: str, host: str | None, cut: bool) -> Record:
    """Cut a network, or with `host` that station's link to it, or heal it. No error when it is so already.

    Nothing enters or leaves what is cut. A frame that is in a station's own queue on a switched network is
    past the cut and arrives. Returns the record as it is then.

    Raises:
        NoSuchLab: the lab is gone, or has no such network or station.
        LabError: the kernel refused.
        LabBusy: the lab is being destroyed.
    """
    with standing(record, network) as current:
        changed = current.networks[network]
        if host is None:
            changed.cut = cut
        else:
            port = next((port for port in changed.port_details if port.host == host), None)
            if port is None:
                raise NoSuchLab(f"{host!r} is not a station of network {network!r} of lab {record.lab!r}")
            port.cut = cut
        with _explained(f"network {network!r} is not {'cut' if cut else 'healed'}"):
            _close(current, [changed])
        current.save()
        return current


def set_stopped(record: Record, host: str, stopped: bool) -> Record:
    """Stop a host: its processes are killed and nothing passes its ports any more; or let it start again.

    Returns the record as it is then. Raises as `set_cut`, and `CgroupError`.
    """
    with standing(record) as current:
        if host not in current.hosts:
            raise NoSuchLab(f"lab {record.lab!r} has no host {host!r}")
        entry = current.hosts[host]
        entry.stopped = stopped
        with _explained(f"host {host!r} is not {'stopped' if stopped else 'started'}"):
            _close(current, [current.networks[interface.network] for interface in entry.interfaces])
        current.save()
        if stopped:
            HostCgroup(entry.cgroup).kill()
        return current


def _close(record: Record, networks: Iterable[NetworkRecord]) -> None:
    """Close and open the gates as the record says."""

    def work() -> None:
        enter_namespace(record.namespace)
        with closing(Channel()) as channel:
            for network in networks:
                gate.settle(channel, record, network, anew=False)

    in_thread(work)


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NoSuchLab(f"{what}: {error.filename or error.strerror} is gone") from error
    except OSError as error:
        raise LabError(f"{what}: {error.strerror}") from error
