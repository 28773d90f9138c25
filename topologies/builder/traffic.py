"""What crosses a lab's networks: read where all of them are, in their own namespace."""

from __future__ import annotations

from typing import Any

from topologies.builder import gate
from topologies.builder.errors import NoSuchLab
from topologies.builder.netns import enter_namespace, in_thread
from topologies.builder.shaping import devices
from topologies.builder.state import Passed, passed
from topologies.record import NetworkRecord, Record

Json = dict[str, Any]
_NOTHING = Passed(0, 0, 0, 0)


def traffic(record: Record) -> dict[str, Json]:
    """Of each network, cumulative since it was made: `bytes` that left it to its stations, as whole frames;
    `drops`, frames by place; and of each host's link `to_bytes` and `from_bytes`. `backlog_bytes` wait now.

    The places: `queue` (a shaper's was full), `impairment`, `cut`, and `rx_dropped` and `tx_dropped`, which
    the kernel counts at the network's devices. Each frame is in one of them.

    Raises:
        NoSuchLab: the lab's namespace is gone.
    """

    def read() -> dict[int, Passed]:
        enter_namespace(record.namespace)
        return passed()

    try:
        found = in_thread(read)
    except FileNotFoundError as error:
        raise NoSuchLab(f"there is no lab {record.lab!r}: {error.filename} is gone") from error
    return {name: _network(network, found) for name, network in record.networks.items()}


def _network(network: NetworkRecord, found: dict[int, Passed]) -> Json:
    drops = dict.fromkeys(("queue", "impairment", "cut", "rx_dropped", "tx_dropped"), 0)
    backlog, carried = 0, 0
    links: dict[str, Json] = {}
    for index in devices(network).values():
        device = found.get(index, _NOTHING)
        backlog += device.backlog_bytes
        drops["queue"] += device.queue_drops
        drops["rx_dropped"] += device.rx_dropped
    for port in network.port_details:
        device = found.get(port.index, _NOTHING)
        carried += device.tx_bytes
        if port.host is not None:
            # What one end of a trunk refuses, the other counts as received and dropped.
            drops["tx_dropped"] += device.tx_dropped
            link = links.setdefault(port.host, {"to_bytes": 0, "from_bytes": 0})
            link["to_bytes"] += device.tx_bytes
            link["from_bytes"] += device.rx_bytes
    try:
        lost_by_port = list(gate.counters(network))
    except OSError:  # the network is being taken down while we look
        lost_by_port = []
    for _, lost in lost_by_port:
        drops["impairment"] += lost["impairment_drops"]
        drops["cut"] += lost["cut_in_drops"] + lost["cut_out_drops"]
    return {"bytes": carried, "backlog_bytes": backlog, "drops": drops, "links": links}
