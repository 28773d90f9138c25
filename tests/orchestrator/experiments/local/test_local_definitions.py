"""The shipped experiments within one host as data, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from agents.errors import Problem
from orchestrator.api import models
from orchestrator.engine import LocalEngine
from orchestrator.experiments.definitions import Options
from orchestrator.experiments.local.definition import LOCAL, LocalDefinition
from orchestrator.experiments.local.plan import local_plan
from orchestrator.experiments.local.scenes import SCENES
from topologies import resolve


def test_every_one_has_a_scene_and_a_topology_with_its_host() -> None:
    assert set(LOCAL) == {"ipc", "video", "cp"}
    for name, definition in LOCAL.items():
        assert name == definition.name and definition.scene in SCENES
        assert definition.host in resolve(definition.topology).hosts


def test_every_row_is_there_once_with_those_it_is_compared_with() -> None:
    groups = {
        name: [[cell.system for cell in group] for group in one.groups()] for name, one in LOCAL.items()
    }
    full = ["linux", "shipping-to-copy", "copy-to-shipping", "copy", "shipping"]
    pair, three = ["linux", "shipping"], ["linux", "shipping", "copy"]
    assert groups["ipc"] == [*2 * [pair, pair, full], *5 * [pair]]
    assert groups["video"] == 3 * [pair] + [three] + 3 * [pair] + [three] + 8 * [pair]
    assert groups["cp"] == [["linux", "shipping"]]


@pytest.mark.parametrize(
    "change",
    [
        {"unknown": 1},
        {"scene": "dance"},
        {"rows": []},
        {"rows": [{"systems": ["linux"]}, {"systems": ["linux"]}]},
        {"rows": [{"systems": ["linux"], "factors": {"map": ["full"]}}, {"systems": ["shipping"]}]},
        {"claims": [{"of": "copy", "to": "shipping", "at_least": 1}]},
        {"claims": [{"of": "shipping", "to": "linux"}]},
    ],
)
def test_a_definition_that_makes_no_sense_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        LocalDefinition.model_validate(LOCAL["ipc"].model_dump() | change)


def test_quick_is_one_trial_unless_told_otherwise() -> None:
    assert local_plan(Options(quick=True)).trials == 1
    assert local_plan(Options(quick=True, trials=3)).trials == 3
    assert local_plan(Options()).trials == 7


def test_a_profile_that_an_experiment_does_not_have_is_refused() -> None:
    engine = LocalEngine()
    assert engine.topology("ipc", {})["name"] == "one-host"
    with pytest.raises(Problem) as refused:
        engine.topology("ipc", {"profile": "scaled"})
    assert (refused.value.status, refused.value.field) == (422, "profile")
    assert "experiment ipc has no profile 'scaled'; it has period" in str(refused.value)


def test_the_catalogue_has_all_of_them_in_one_shape() -> None:
    found = {one["name"]: models.ExperimentView(**one) for one in LocalEngine().experiments()}
    assert set(found) == {"fddi", "ipc", "video", "cp"}
    assert found["video"].topologies == {"period": "one-host"}
    assert found["ipc"].systems == ["linux", "shipping-to-copy", "copy-to-shipping", "copy", "shipping"]
