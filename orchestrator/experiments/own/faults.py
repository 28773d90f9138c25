"""What is wrong with a document, and where."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from orchestrator.experiments.own.document import Document
from topologies.loader import in_words

MOST = 20
"""A document that is wrong everywhere is reported up to this many places."""
KINDS = ("source", "forwarder", "sink")

Fault = tuple[str, str]
"""The place (`workloads.relay.host`) and what is wrong there."""


class DocumentError(Exception):
    """A document that makes no experiment; `faults` has every place."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults[:MOST]
        super().__init__("; ".join(f"{place}: {message}" for place, message in self.faults))


def read(value: Mapping[str, Any]) -> Document:
    """A document from JSON. Raises DocumentError."""
    try:
        return Document.model_validate(value)
    except ValidationError as error:
        found = [_fault(item) for item in error.errors(include_url=False, include_context=False)]
    raise DocumentError(list(dict.fromkeys(found)))


def _fault(item: Any) -> Fault:
    message = in_words(item["msg"]).removeprefix("Value error, ")
    place = item["loc"]
    # Where a field may be of several kinds, pydantic adds the kind to the place.
    if place[:1] == ("workloads",) and len(place) > 2 and place[2] in KINDS:
        place = (*place[:2], *place[3:])
    elif place[:1] in (("factors",), ("topology",)):
        place = (*place[:1], *place[2:])
    shown = ".".join(str(part) for part in place if part != "[key]")
    match item["type"]:
        case "extra_forbidden":
            return shown, "is not a field known here"
        case "missing":
            return shown, "is required"
        case "union_tag_not_found" | "union_tag_invalid":
            return f"{shown}.workload", f"must be one of {', '.join(KINDS)}"
    return shown, f"{message}, not {brief(item['input'])}"


def brief(value: object) -> str:
    """A value as it was written, cut where it is long."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
