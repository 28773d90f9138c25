"""Documents for tests: one that is right, to be changed, and the examples of the page that users read."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

from orchestrator.experiments.own.experiment import Own, build
from orchestrator.experiments.own.faults import read
from orchestrator.shipped import checked
from topologies import load_topology
from topologies.yaml_text import parse

PAGE = Path(__file__).parents[4] / "docs" / "experiments.md"
TWO_FDDI: dict[str, Any] = {
    "name": "mine",
    "topology": "two-fddi",
    "workloads": {
        "from": {"workload": "source", "host": "source", "to": "relay", "rate": 60.0, "size": 4300},
        "relay": {"workload": "forwarder", "host": "middle", "to": "into"},
        "into": {"workload": "sink", "host": "sink"},
    },
    "factors": {"system": ["linux", "shipping"], "hogs": [0, 1]},
    "plan": {"trials": 2, "warmup": 0.1, "duration": 0.5, "seed": 1},
}


def changed(*changes: tuple[str, Any]) -> dict[str, Any]:
    """`TWO_FDDI` with values at places such as `plan.trials`; None takes one away."""
    document = copy.deepcopy(TWO_FDDI)
    for place, value in changes:
        *path, last = place.split("/")
        at = document
        for part in path:
            at = at.setdefault(part, {})
        if value is None:
            del at[last]
        else:
            at[last] = value
    return document


def own(document: dict[str, Any]) -> Own:
    """A document as the orchestrator takes it."""
    found = read(document)
    return build(found, load_topology(checked(found.topology)))


def examples() -> dict[str, dict[str, Any]]:
    """The worked examples by name, as the page has them."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    documents = [parse(block)[0] for block in blocks]
    return {document["name"]: document for document in documents}
