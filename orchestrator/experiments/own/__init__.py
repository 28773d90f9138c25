"""Experiments that users write: a topology, workloads, factors, a plan, in a few lines of YAML or JSON."""

from pathlib import Path

SCHEMA_FILE = Path(__file__).with_name("schema.json")
"""The published JSON Schema of what they write."""
