"""The dashboards' files are those that the code makes, and fit together."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards.grafana import FOLDER
from dashboards.grafana.all import documents
from dashboards.grafana.layout import TAG
from dashboards.grafana.panels import DATASOURCE
from tests.dashboards.programs import CONFIGURATION, DASHBOARDS
from tests.dashboards.queries import asked, variables

PROVISIONING = DASHBOARDS / "grafana" / "provisioning"
FILES = sorted(FOLDER.glob("*.json"))


def load(file: Path) -> Any:
    return json.loads(file.read_text())


def test_the_files_are_what_the_code_makes() -> None:
    stale = "run .venv/bin/python -m dashboards.grafana and commit what it writes"
    assert {file.name: file.read_text() for file in FILES} == documents(), stale


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_dashboard_is_whole(file: Path) -> None:
    board = load(file)
    assert (board["uid"], TAG in board["tags"]) == (file.stem, True)
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(set(numbers)) == len(numbers)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
    assert len(set(places)) == len(places)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in board["panels"])
    known = {one["name"] for one in variables(board)} | {"__range"}
    for title, expr in asked(board):
        used = set(re.findall(r"\$(\w*[a-z]\w*)", expr))
        assert used <= known, f"{title}: {sorted(used - known)}"


def test_the_datasource_that_is_provisioned_is_the_one_that_is_asked() -> None:
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert (source["type"], source["uid"]) == (DATASOURCE.type_val, DATASOURCE.uid)
    scraped = yaml.safe_load((CONFIGURATION / "prometheus.yml").read_text())["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scraped
