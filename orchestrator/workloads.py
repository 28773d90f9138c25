"""What a person asks of a workload, in the words of the lab, as the specification that its agent takes."""

import ipaddress
import re
import secrets
from collections.abc import Mapping
from typing import Any

from agents.errors import Problem

PORT = 9000
"""Where workloads receive unless another port is given."""
WARMUP_S = 0.1
"""A source's first datagram goes ahead, so that those after it do not wait for an address, and get lost."""
IP_AND_UDP = 28
"""Bytes of headers: a datagram of the network's MTU less these is not cut into fragments."""

FIELDS = {
    "source": {"to": True, "rate_mbps": True, "size": False, "port": False, "duration_s": False},
    "forwarder": {"to": True, "port": False, "network": False, "size": False},
    "sink": {"port": False, "network": False, "size": False},
}
"""The fields of each workload of datagrams, and whether it needs them; others have `params` alone."""

Json = dict[str, Any]


def specification(hosts: Mapping[str, Any], host: str, asked: Mapping[str, Any]) -> Json:
    """The agent's specification of the workload asked for on `host`; `hosts` as in the lab's record.

    Raises Problem 422 naming the field.
    """
    kind = asked["workload"]
    fields = FIELDS.get(kind, {})
    for name in ("to", "port", "network", "rate_mbps", "size", "duration_s"):
        if asked[name] is not None and name not in fields:
            has = f"has {', '.join(fields)}" if fields else "has params alone"
            raise Problem(422, f"{name}: a {kind} has no such field; it {has}", name)
        if asked[name] is None and fields.get(name):
            raise Problem(422, f"{name}: a {kind} needs it", name)
    made: Json = {}
    if fields:
        ways = {"source": _source, "forwarder": _forwarder, "sink": _sink}
        made = ways[kind](hosts, host, asked)
    return {"workload": kind, "system": asked["system"], "params": {**made, **asked["params"]}}


def _source(hosts: Mapping[str, Any], host: str, asked: Mapping[str, Any]) -> Json:
    out, remote = _destination(hosts, host, asked["to"])
    made = {
        "local": f"{out['address']}:{asked['port'] or 0}",
        "remote": remote,
        "rate_mbps": asked["rate_mbps"],
        "size": asked["size"] or out["mtu"] - IP_AND_UDP,
        "warmup_s": WARMUP_S,
        # Numbers begin anew with each source, so a sink must be able to tell one from another.
        "flow": secrets.randbelow(2**32 - 1) + 1,
    }
    return made | ({"duration_s": asked["duration_s"]} if asked["duration_s"] else {})


def _forwarder(hosts: Mapping[str, Any], host: str, asked: Mapping[str, Any]) -> Json:
    out, remote = _destination(hosts, host, asked["to"])
    others = [one for one in hosts[host]["interfaces"] if one is not out] or [out]
    return {
        "local": _listening(host, others, asked),
        "out_local": out["address"],
        "remote": remote,
        **_size(asked),
    }


def _sink(hosts: Mapping[str, Any], host: str, asked: Mapping[str, Any]) -> Json:
    return {"local": _listening(host, hosts[host]["interfaces"], asked), "flow": 0, **_size(asked)}


def _size(asked: Mapping[str, Any]) -> Json:
    return {"size": asked["size"]} if asked["size"] else {}


def _listening(host: str, interfaces: list[Json], asked: Mapping[str, Any]) -> str:
    """The address and port at which a workload takes in what comes from `network`."""
    network = asked["network"]
    found = [one for one in interfaces if network in (None, one["network"])]
    if len(found) != 1:
        names = ", ".join(str(one["network"]) for one in interfaces)
        given = "none given" if network is None else f"{network!r} given"
        raise Problem(
            422, f"network: {given}, the one that {host!r} takes datagrams from expected: {names}", "network"
        )
    return f"{found[0]['address']}:{asked['port'] or PORT}"


def _destination(hosts: Mapping[str, Any], host: str, to: str) -> tuple[Json, str]:
    """The interface of `host` towards `to` (HOST, ADDRESS, either with :PORT), and the address there."""
    match = re.fullmatch(r"([^:]{1,64})(?::([0-9]{1,5}))?", to)
    if match is None or not 0 < int(match[2] or PORT) < 65536:
        raise Problem(422, f"to: {to!r} given, HOST:PORT or ADDRESS:PORT expected", "to")
    name, port = match[1], int(match[2] or PORT)
    ours = hosts[host]["interfaces"]
    if name in hosts:
        for out in ours:
            for theirs in hosts[name]["interfaces"]:
                if theirs["network"] == out["network"]:
                    return out, f"{theirs['address']}:{port}"
        networks = ", ".join(str(one["network"]) for one in ours) or "none"
        raise Problem(422, f"to: {name!r} is on no network of {host!r}, whose networks are: {networks}", "to")
    try:
        address = ipaddress.IPv4Address(name)
    except ValueError:
        known = ", ".join(hosts)
        raise Problem(422, f"to: {name!r} given, one of {known} or an IPv4 address expected", "to") from None
    for out in ours:
        if address in ipaddress.ip_network(f"{out['address']}/{out['prefix']}", strict=False):
            return out, f"{address}:{port}"
    nets = ", ".join(f"{one['address']}/{one['prefix']}" for one in ours) or "none"
    raise Problem(422, f"to: {name!r} is on no network of {host!r}, whose addresses are: {nets}", "to")


PARAMS_FIELDS = {
    "params.remote": "to",
    "params.local": "port",
    "params.rate_mbps": "rate_mbps",
    "params.size": "size",
    "params.duration_s": "duration_s",
}


def in_our_words(problem: Problem, kind: str) -> Problem:
    """An agent's refusal with the field as the request had it."""
    field = PARAMS_FIELDS.get(problem.field or "", problem.field) if kind in FIELDS else problem.field
    return Problem(problem.status, problem.detail, field, problem.problems)
