"""`python -m orchestrator.experiments.own.schema` writes `schema.json`, the published JSON Schema of an
experiment's document."""

from __future__ import annotations

from orchestrator.experiments.own import SCHEMA_FILE
from orchestrator.experiments.own.document import Document
from topologies.schema import schema_text as text_of


def schema_text() -> str:
    """The schema as it is published, with a final newline."""
    return text_of(Document)


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
