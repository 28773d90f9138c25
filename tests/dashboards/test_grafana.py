"""The dashboards' files are those that the code makes, and fit together."""

import json
import re
from pathlib import Path

import pytest
import yaml

from dashboards.grafana import FOLDER
from dashboards.grafana.all import documents
from dashboards.grafana.layout import TAG
from dashboards.grafana.panels import DATASOURCE
from orchestrator.metrics import AGENT_PROCESS
from tests.dashboards.programs import CONFIGURATION, DASHBOARDS
from tests.dashboards.queries import panels, variables

METRICS = DASHBOARDS.parent / "docs" / "metrics.md"
PROVISIONING = DASHBOARDS / "grafana" / "provisioning"
FILES = sorted(FOLDER.glob("*.json"))


def test_the_files_are_what_the_code_makes() -> None:
    stale = "run .venv/bin/python -m dashboards.grafana and commit what it writes"
    assert {file.name: file.read_text() for file in FILES} == documents(), stale


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_dashboard_is_whole(file: Path) -> None:
    text = file.read_text()
    board = json.loads(text)
    assert (board["uid"], TAG in board["tags"]) == (file.stem, True)
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(set(numbers)) == len(numbers)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
    assert len(set(places)) == len(places)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in board["panels"])
    known = {one.name for one in variables(text)} | {"__range"}
    for panel in panels(text):
        used = {name for expr in panel.exprs for name in re.findall(r"\$(\w*[a-z]\w*)", expr)}
        assert used <= known, f"{panel.title}: {sorted(used - known)}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_dashboard_asks_for_documented_metrics_and_rules_that_there_are(file: Path) -> None:
    rules = {
        rule["record"]
        for group in yaml.safe_load((CONFIGURATION / "recording.yml").read_text())["groups"]
        for rule in group["rules"]
    }
    metrics = set(re.findall(r"^\| `(\w+)`", METRICS.read_text(), re.MULTILINE))
    text = file.read_text()
    exprs = [expr for panel in panels(text) for expr in panel.exprs]
    exprs += [one.series for one in variables(text)]
    named = {name for expr in exprs for name in re.findall(r"transship[_:][\w:]+", expr)}
    named = {name for name in named if not name.startswith(f"{AGENT_PROCESS}_process_")}
    assert named <= metrics | rules, sorted(named - metrics - rules)


def test_the_datasource_that_is_provisioned_is_the_one_that_is_asked() -> None:
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert (source["type"], source["uid"]) == (DATASOURCE.type_val, DATASOURCE.uid)
    scraped = yaml.safe_load((CONFIGURATION / "prometheus.yml").read_text())["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scraped
