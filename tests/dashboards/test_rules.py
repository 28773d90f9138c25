"""Prometheus accepts its configuration, and the rules do what their own tests say."""

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.dashboards.programs import CONFIGURATION, program
from tests.support import PATIENCE_S

TESTS = sorted(CONFIGURATION.glob("*_test.yml"))


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(
        [program("promtool"), *map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_accepts_the_configuration_and_the_rules_that_it_names() -> None:
    promtool("check", "config", "--lint-fatal", CONFIGURATION / "prometheus.yml")


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.name)
def test_rules(file: Path) -> None:
    promtool("test", "rules", file)


def test_every_rule_has_a_test() -> None:
    tested = "".join(file.read_text() for file in TESTS)
    groups = [
        group
        for name in yaml.safe_load((CONFIGURATION / "prometheus.yml").read_text())["rule_files"]
        for group in yaml.safe_load((CONFIGURATION / name).read_text())["groups"]
    ]
    names = [rule.get("alert") or rule["record"] for group in groups for rule in group["rules"]]
    assert [name for name in names if name not in tested] == []
