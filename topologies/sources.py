"""Finding a topology by what a user types: a shipped name, `chain,N`, or a YAML file."""

from __future__ import annotations

from pathlib import Path

from topologies.chain import chain_from
from topologies.loader import load_topology
from topologies.model import Topology, TopologyError

_FOLDER = Path(__file__).parent


def shipped() -> dict[str, Path]:
    """The topologies that come with Transship, by name."""
    return {path.stem: path for path in sorted(_FOLDER.glob("*.yaml"))}


def resolve(spec: str) -> Topology:
    """The topology that `spec` names: `two-fddi`, `chain,5`, `lab.yaml`, `my.py:MyTopo`, `linear,200`.

    Raises:
        TopologyError: nothing goes by that name, or what does is wrong.
    """
    known = shipped()
    if spec in known:
        return load_topology(known[spec])
    if spec.startswith("chain,"):
        return chain_from(spec)
    path = Path(spec)
    if path.suffix in {".yaml", ".yml", ".json"}:
        return load_topology(path)
    from topologies.mininet_adapter import MININET_NAMES, load_topo  # Mininet loads only when asked for

    if ".py:" in spec or spec.split(",")[0] in MININET_NAMES:
        return load_topo(spec)
    names = ", ".join(known)
    message = f"no topology {spec!r}: give one of {names}, chain,N, a .yaml file, file.py:Topo or linear,N"
    raise TopologyError([{"place": "", "line": None, "message": message}])
