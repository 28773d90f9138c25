"""`python -m topologies.schema` writes `schema.json`, the published JSON Schema of a topology file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from topologies.model import Topology

SCHEMA_FILE = Path(__file__).with_name("schema.json")


def schema_text(model: type[BaseModel] = Topology) -> str:
    """The schema of a model as it is published, with a final newline."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}
    _close(schema)
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


def _close(node: Any) -> None:
    # A mapping by name lists the pattern of its keys, but pydantic's schema lets any other key pass.
    if isinstance(node, dict):
        if "patternProperties" in node:
            node["additionalProperties"] = False
        node = list(node.values())
    if isinstance(node, list):
        for inner in node:
            _close(inner)


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
