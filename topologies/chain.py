"""`chain,N`: N workstations in a row on N-1 rings; every inner one forwards, as in the paper's Figure 5."""

from __future__ import annotations

from topologies.model import MAX_HOSTS, Host, Network, Topology, TopologyError

FDDI_RATE_MBPS = 100.0
FDDI_MTU = 4352


def chain(workstations: int) -> Topology:
    """A chain of FDDI rings; neighbours alternate between CPUs 0 and 1, so none pays for the next one's work.

    Raises:
        TopologyError: fewer than 2 workstations or more than a lab can hold.
    """
    if not 2 <= workstations <= MAX_HOSTS:
        message = f"a chain has 2 to {MAX_HOSTS} workstations, not {workstations}"
        raise TopologyError([{"place": "chain", "line": None, "message": message}])
    names = [f"w{number}" for number in range(1, workstations + 1)]
    rings = {
        f"ring-{number}": Network(
            medium="shared",
            rate_mbps=FDDI_RATE_MBPS,
            mtu=FDDI_MTU,
            stations=[names[number - 1], names[number]],
            cpus=[0],
        )
        for number in range(1, workstations)
    }
    return Topology(
        name="chain",
        description=f"{workstations} workstations on {workstations - 1} FDDI rings.",
        hosts={name: Host(cpus=[position % 2]) for position, name in enumerate(names)},
        networks=rings,
    )


def chain_from(spec: str) -> Topology:
    """The chain that `chain,N` names."""
    count = spec.partition(",")[2]
    if not (count.isascii() and count.isdigit() and len(count) <= 9):
        message = f"write chain,N with N a whole number, not {spec!r}"
        raise TopologyError([{"place": "chain", "line": None, "message": message}])
    return chain(int(count))
