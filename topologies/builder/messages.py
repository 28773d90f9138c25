"""The netlink messages of a lab, encoded by pyroute2, each ready to be sent in a batch.

Interface numbers are chosen by the plan rather than the kernel, so that a whole batch can be written before
the first answer comes back.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from pyroute2.netlink import nla, nlmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

IFF_UP = 1
ETH_P_ALL_NETWORK_ORDER = 0x0300
TC_H_ROOT = 0xFFFFFFFF
INGRESS_HANDLE = 0xFFFF0000
CLSACT_PARENT = 0xFFFFFFF1
INGRESS_FILTERS = 0xFFFFFFF2  # TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)
EGRESS_FILTERS = 0xFFFFFFF3
SHAPER_HANDLE = 0x10000
_SHAPER_QUEUE, _DELAY_HANDLE = 0x10001, 0x20000
REDIRECT_PRIORITY = 10
"""Filters with a smaller priority, such as planted faults, run before the redirect to a shared medium."""

_NEWLINK, _DELLINK, _NEWADDR, _DELADDR = 16, 17, 20, 21
_NEWQDISC, _NEWTFILTER, _DELTFILTER = 36, 44, 45
_REQUEST = 0x1
_CREATE, _EXCLUSIVE, _REPLACE = 0x400, 0x200, 0x100
_TC_ACT_STOLEN = 4
_MIRRED_EGRESS_REDIRECT = 1
_LINKLAYER_ETHERNET = 1


@dataclass(frozen=True)
class Message:
    """An encoded request and the words that an error about it should carry."""

    data: bytes
    attempted: str


class _tbf(nla):  # type: ignore[misc]
    # pyroute2's own TBF sends a rate table and a burst in scheduler ticks; TCA_TBF_BURST is exact.
    nla_map = (
        ("TCA_TBF_UNSPEC", "none"),
        ("TCA_TBF_PARMS", "parms"),
        ("TCA_TBF_RTAB", "none"),
        ("TCA_TBF_PTAB", "none"),
        ("TCA_TBF_RATE64", "uint64"),
        ("TCA_TBF_PRATE64", "uint64"),
        ("TCA_TBF_BURST", "uint32"),
    )

    class parms(nla):  # type: ignore[misc]
        fields = (
            ("cell_log", "B"),
            ("linklayer", "B"),
            ("overhead", "H"),
            ("cell_align", "h"),
            ("mpu", "H"),
            ("rate", "I"),
            ("peak_spec", "Q"),
            ("peak", "I"),
            ("limit", "I"),
            ("buffer", "I"),
            ("mtu", "I"),
        )


class _netem(nla):  # type: ignore[misc]
    fields = tuple((name, "I") for name in ("latency", "limit", "loss", "gap", "duplicate", "jitter"))
    nla_map = (
        *((f"NETEM_{number}", "none") for number in range(10)),
        ("TCA_NETEM_LATENCY64", "int64"),
        ("TCA_NETEM_JITTER64", "int64"),
        *((f"NETEM_{number}", "none") for number in (12, 13)),
        ("TCA_NETEM_PRNG_SEED", "uint64"),
    )


class _mirred(nla):  # type: ignore[misc]
    nla_map = (("UNSPEC", "none"), ("TM", "none"), ("TCA_MIRRED_PARMS", "parms"))

    class parms(nla):  # type: ignore[misc]
        fields = tuple(
            (name, "I") for name in ("index", "capab", "action", "refs", "binds", "eaction", "ifindex")
        )


class _u32(nla):  # type: ignore[misc]
    nla_map = (
        *((f"U32_{number}", "none") for number in range(5)),
        ("TCA_U32_SEL", "selector"),
        ("TCA_U32_POLICE", "none"),
        ("TCA_U32_ACT", "actions"),
    )

    class selector(nla):  # type: ignore[misc]
        fields = (
            ("flags", "B"),
            ("shift", "B"),
            ("nkeys", "B"),
            ("pad", "B"),
            ("offsets", "Q"),
            ("hash_mask", "I"),
            ("key_mask", "I"),
            ("key_value", "I"),
            ("key_offset", "i"),
            ("key_offset_mask", "I"),
        )

    class actions(nla):  # type: ignore[misc]
        nla_map = (("UNSPEC", "none"), ("FIRST", "action"))

        class action(nla):  # type: ignore[misc]
            nla_map = (("UNSPEC", "none"), ("TCA_ACT_KIND", "asciiz"), ("TCA_ACT_OPTIONS", "mirred"))
            mirred = _mirred


class _bpf(nla):  # type: ignore[misc]
    nla_map = (
        *((f"BPF_{number}", "none") for number in range(6)),
        ("TCA_BPF_FD", "uint32"),
        ("TCA_BPF_NAME", "asciiz"),
        ("TCA_BPF_FLAGS", "uint32"),
    )


def _traffic_class(of_options: Any) -> Any:
    # A class for each kind: pyroute2 keeps what it compiled of a class in the first one of a family.
    class traffic(nlmsg):  # type: ignore[misc]
        fields = (
            ("family", "B"),
            ("pad1", "B"),
            ("pad2", "H"),
            ("index", "i"),
            ("handle", "I"),
            ("parent", "I"),
            ("info", "I"),
        )
        nla_map = (("TCA_UNSPEC", "none"), ("TCA_KIND", "asciiz"), ("TCA_OPTIONS", "options"))
        options = of_options

    return traffic


_plain, _shaper, _delayer, _classifier, _program = (
    _traffic_class(kind) for kind in (nla, _tbf, _netem, _u32, _bpf)
)


def _encode(message: Any, kind: int, flags: int, attempted: str) -> Message:
    message["header"]["type"] = kind
    message["header"]["flags"] = _REQUEST | flags
    message.encode()
    return Message(bytes(message.data), attempted)


def _link(index: int, name: str, kind: str, attributes: list[Any], data: list[Any]) -> ifinfmsg:
    message = ifinfmsg()
    message["index"] = index
    message["flags"] = message["change"] = IFF_UP
    information: list[Any] = [("IFLA_INFO_KIND", kind)]
    if data:
        information.append(("IFLA_INFO_DATA", {"attrs": data}))
    message["attrs"] = [("IFLA_IFNAME", name), *attributes, ("IFLA_LINKINFO", {"attrs": information})]
    return message


def bridge(index: int, name: str, mac: str, mtu: int) -> Message:
    """A bridge, up: no spanning tree, no multicast snooping, so that it sends nothing of its own."""
    data = [("IFLA_BR_STP_STATE", 0), ("IFLA_BR_FORWARD_DELAY", 0), ("IFLA_BR_MCAST_SNOOPING", 0)]
    message = _link(index, name, "bridge", [("IFLA_MTU", mtu), ("IFLA_ADDRESS", mac)], data)
    return _encode(message, _NEWLINK, _CREATE | _EXCLUSIVE, f"making bridge {name}")


def ifb(index: int, name: str, mtu: int) -> Message:
    """An intermediate device, up: frames redirected to it leave through its shaper and go on their way."""
    message = _link(index, name, "ifb", [("IFLA_MTU", mtu)], [])
    return _encode(message, _NEWLINK, _CREATE | _EXCLUSIVE, f"making device {name}")


def cable(index: int, name: str, mac: str, mtu: int, master: int, peer: dict[str, Any]) -> Message:
    """A veth pair: a port of bridge `master`, up, and its peer, which is still down.

    A peer cannot come up in the same message: it does not know its other end yet. `peer` has index, name, mac
    and, unless it stays here, `namespace` (a descriptor).
    """
    # `mtu` on a veth sets one end only, so both are given.
    other: list[Any] = [
        ("IFLA_IFNAME", peer["name"]),
        ("IFLA_MTU", mtu),
        ("IFLA_ADDRESS", peer["mac"]),
        ("IFLA_NUM_TX_QUEUES", 1),
        ("IFLA_NUM_RX_QUEUES", 1),
    ]
    if "namespace" in peer:
        other.append(("IFLA_NET_NS_FD", peer["namespace"]))
    far = {"index": peer["index"], "attrs": other}
    attributes = [
        ("IFLA_MTU", mtu),
        ("IFLA_ADDRESS", mac),
        ("IFLA_NUM_TX_QUEUES", 1),
        ("IFLA_NUM_RX_QUEUES", 1),
        ("IFLA_MASTER", master),
    ]
    message = _link(index, name, "veth", attributes, [("VETH_INFO_PEER", far)])
    attempted = f"making interface {peer['name']} and its port {name}"
    return _encode(message, _NEWLINK, _CREATE | _EXCLUSIVE, attempted)


def enslave(index: int, name: str, master: int) -> Message:
    """Make an interface a port of a bridge, and bring it up."""
    message = ifinfmsg()
    message["index"] = index
    message["flags"] = message["change"] = IFF_UP
    message["attrs"] = [("IFLA_MASTER", master)]
    return _encode(message, _NEWLINK, 0, f"adding {name} to its bridge")


def up(index: int, name: str) -> Message:
    """Bring an interface up."""
    message = ifinfmsg()
    message["index"] = index
    message["flags"] = message["change"] = IFF_UP
    return _encode(message, _NEWLINK, 0, f"bringing {name} up")


def mtu(index: int, name: str, size: int) -> Message:
    """Let an interface take packets of another size."""
    message = ifinfmsg()
    message["index"] = index
    message["attrs"] = [("IFLA_MTU", size)]
    return _encode(message, _NEWLINK, 0, f"setting the MTU of {name}")


def delete(index: int, name: str) -> Message:
    """Remove an interface, and the other end of a cable with it."""
    message = ifinfmsg()
    message["index"] = index
    return _encode(message, _DELLINK, 0, f"removing {name}")


def remove_address(index: int, name: str, ip: str, prefix: int) -> Message:
    """Take an IPv4 address from an interface."""
    message = ifaddrmsg()
    message["family"] = 2
    message["index"] = index
    message["prefixlen"] = prefix
    message["attrs"] = [("IFA_LOCAL", ip)]
    return _encode(message, _DELADDR, 0, f"taking the address {ip}/{prefix} from {name}")


def address(index: int, name: str, ip: str, prefix: int, broadcast: str) -> Message:
    """Give an interface its IPv4 address."""
    message = ifaddrmsg()
    message["family"] = 2
    message["index"] = index
    message["prefixlen"] = prefix
    message["attrs"] = [("IFA_LOCAL", ip), ("IFA_ADDRESS", ip), ("IFA_BROADCAST", broadcast)]
    return _encode(message, _NEWADDR, _CREATE | _EXCLUSIVE, f"giving {name} the address {ip}/{prefix}")


def _traffic_message(kind: Any, index: int, handle: int, parent: int, name: str) -> Any:
    message = kind()
    message["index"] = index
    message["handle"] = handle
    message["parent"] = parent
    message["attrs"] = [("TCA_KIND", name)]
    return message


def shaper(index: int, name: str, rate_bytes: int, burst: int, limit: int) -> Message:
    """A token bucket as the root qdisc, made or changed in place: bytes per second, bytes, bytes."""
    message = _traffic_message(_shaper, index, SHAPER_HANDLE, TC_H_ROOT, "tbf")
    parameters = {"linklayer": _LINKLAYER_ETHERNET, "rate": rate_bytes, "limit": limit, "buffer": 1}
    options = [("TCA_TBF_PARMS", parameters), ("TCA_TBF_BURST", burst)]
    message["attrs"].append(("TCA_OPTIONS", {"attrs": options}))
    return _encode(message, _NEWQDISC, _CREATE | _REPLACE, f"shaping {name} to {rate_bytes} bytes/s")


def delay(index: int, name: str, delay_ns: int, jitter_ns: int, seed: int, limit: int) -> Message:
    """Let frames wait in a shaper's queue (netem), made or changed in place: nanoseconds, and frames."""
    message = _traffic_message(_delayer, index, _DELAY_HANDLE, _SHAPER_QUEUE, "netem")
    attributes = [
        ("TCA_NETEM_LATENCY64", delay_ns),
        ("TCA_NETEM_JITTER64", jitter_ns),
        ("TCA_NETEM_PRNG_SEED", seed),  # kernels before 6.5 do not know it and pass over it
    ]
    message["attrs"].append(("TCA_OPTIONS", {"limit": limit, "attrs": attributes}))
    return _encode(message, _NEWQDISC, _CREATE | _REPLACE, f"delaying what passes {name}")


def classify(index: int, name: str) -> Message:
    """Give an interface a place for filters on what comes in (clsact)."""
    message = _traffic_message(_plain, index, INGRESS_HANDLE, CLSACT_PARENT, "clsact")
    return _encode(message, _NEWQDISC, _CREATE | _EXCLUSIVE, f"adding the classifier of {name}")


def redirect(index: int, name: str, target: int) -> Message:
    """Send every frame that comes in to the interface numbered `target`."""
    message = _traffic_message(_classifier, index, 0, INGRESS_FILTERS, "u32")
    message["info"] = REDIRECT_PRIORITY << 16 | ETH_P_ALL_NETWORK_ORDER
    mirred = {"action": _TC_ACT_STOLEN, "eaction": _MIRRED_EGRESS_REDIRECT, "ifindex": target}
    action = {
        "attrs": [
            ("TCA_ACT_KIND", "mirred"),
            ("TCA_ACT_OPTIONS", {"attrs": [("TCA_MIRRED_PARMS", mirred)]}),
        ]
    }
    options = [
        # Terminal; its one key, mask 0, looks at the Ethernet header, which the shortest frame has, too.
        ("TCA_U32_SEL", {"flags": 1, "nkeys": 1, "key_offset": -14}),
        ("TCA_U32_ACT", {"attrs": [("FIRST", action)]}),
    ]
    message["attrs"].append(("TCA_OPTIONS", {"attrs": options}))
    return _encode(message, _NEWTFILTER, _CREATE | _EXCLUSIVE, f"redirecting {name}")


def filter_program(
    index: int, name: str, priority: int, program: int, title: str, where: int = INGRESS_FILTERS
) -> Message:
    """Run a loaded program (a descriptor), whose result is the verdict, on what comes in or goes out."""
    message = _traffic_message(_program, index, 1, where, "bpf")
    message["info"] = priority << 16 | ETH_P_ALL_NETWORK_ORDER
    options = [("TCA_BPF_FD", program), ("TCA_BPF_NAME", title), ("TCA_BPF_FLAGS", 1)]
    message["attrs"].append(("TCA_OPTIONS", {"attrs": options}))
    return _encode(message, _NEWTFILTER, _CREATE | _EXCLUSIVE, f"adding a filter to {name}")


def remove_filter(index: int, name: str, priority: int, kind: str, where: int = INGRESS_FILTERS) -> Message:
    """Remove every filter of one priority and kind (`u32`, `bpf`) from what comes in (or goes out)."""
    message = _traffic_message(_plain, index, 0, where, kind)
    message["info"] = priority << 16 | ETH_P_ALL_NETWORK_ORDER
    return _encode(message, _DELTFILTER, 0, f"removing a filter of {name}")


def numbered(message: Message, sequence: int) -> bytes:
    """The bytes of a message with an acknowledgement asked for and a sequence number set."""
    data = bytearray(message.data)
    (flags,) = struct.unpack_from("=H", data, 6)
    struct.pack_into("=HI", data, 6, flags | 0x4, sequence)
    return bytes(data)
