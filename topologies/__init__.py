"""Topologies: the description of a lab, its shipped files, and the builder that makes it real."""

from topologies.loader import load_topology
from topologies.model import Host, Link, Medium, Network, Topology, TopologyError
from topologies.sources import resolve, shipped

__all__ = [
    "Host",
    "Link",
    "Medium",
    "Network",
    "Topology",
    "TopologyError",
    "load_topology",
    "resolve",
    "shipped",
]
