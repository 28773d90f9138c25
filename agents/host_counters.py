"""The cumulative counters of one host, read inside its network namespace."""

from __future__ import annotations

from pathlib import Path

SOFTIRQ_FIELD = 7
"""Of a `cpuN` line of /proc/stat, counted from its name: ticks in softirq, for the whole machine."""


def read_network(proc: Path = Path("/proc")) -> dict[str, int]:
    """`udp.*` and `ip.*` as the kernel names them in /proc/net/snmp, such as `udp.RcvbufErrors`."""
    found: dict[str, int] = {}
    names: dict[str, list[str]] = {}
    for line in (proc / "self/net/snmp").read_text().splitlines():
        group, _, rest = line.partition(":")
        if group not in ("Udp", "Ip"):
            continue
        if group not in names:  # the first line of a group has the names, the second the values
            names[group] = rest.split()
            continue
        for name, value in zip(names[group], rest.split(), strict=True):
            found[f"{group.lower()}.{name}"] = int(value)
    return found


def read_softirq(proc: Path = Path("/proc")) -> dict[str, int]:
    """`softirq.cpu<N>_ticks`: work that no cgroup pays for, by CPU of the machine (1/100 s usually)."""
    found: dict[str, int] = {}
    for line in (proc / "stat").read_text().splitlines():
        fields = line.split()
        if fields and fields[0].startswith("cpu") and fields[0] != "cpu":
            found[f"softirq.{fields[0]}_ticks"] = int(fields[SOFTIRQ_FIELD])
    return found


def kernel_drops(proc: Path = Path("/proc")) -> dict[str, int]:
    """Datagrams that the host's kernel had and gave to nobody, by place."""
    found = read_network(proc)
    full = found["udp.RcvbufErrors"]
    return {
        "socket_buffer": full,
        "no_socket": found["udp.NoPorts"],
        # RcvbufErrors are in it; what is left are checksums and memory.
        "udp_errors": max(found["udp.InErrors"] - full, 0),
        "ip_discards": found["ip.InDiscards"],
    }
