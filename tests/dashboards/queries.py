"""What a dashboard asks Prometheus."""

from collections.abc import Mapping
from typing import Any


def asked(board: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The queries of all panels, with the panel's title."""
    return [
        (panel["title"], target["expr"]) for panel in board["panels"] for target in panel.get("targets", ())
    ]


def variables(board: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The dashboard's variables."""
    return list(board["templating"].get("list", ()))
