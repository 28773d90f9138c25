"""A user relies on: the published schema is that of the model, and accepts the shipped files."""

from __future__ import annotations

import json

import jsonschema
import pytest
import yaml

from topologies import shipped
from topologies.schema import SCHEMA_FILE, schema_text


def test_the_published_schema_is_not_stale() -> None:
    assert SCHEMA_FILE.read_text() == schema_text(), "run: python -m topologies.schema"


@pytest.mark.parametrize("name", shipped())
def test_the_schema_accepts_what_is_shipped(name: str) -> None:
    schema = json.loads(SCHEMA_FILE.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(shipped()[name].read_text()), schema)


@pytest.mark.parametrize(
    "change", [{"colour": 1}, {"networks": {"r": {"rate_mbps": 0}}}, {"hosts": {"-rf": {}}}, {"hosts": {}}]
)
def test_the_schema_refuses_what_the_loader_refuses(change: dict[str, object]) -> None:
    value = yaml.safe_load(shipped()["two-fddi"].read_text()) | change
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(value, json.loads(SCHEMA_FILE.read_text()))
