"""What Prometheus finds and reads: where labs are, what the orchestrator says of itself."""

from typing import Any

from agents.families import Page, table
from orchestrator import run_metrics
from orchestrator.metrics import AGENT_PROCESS, FAMILIES, Counts
from orchestrator.run_metrics import RunMetrics
from orchestrator.store import Run
from tests.agents.test_metrics import DOCUMENT, samples
from tests.orchestrator.api import Api

LABS = "/discovery/prometheus"


async def scraped(api: Api, path: str = "/metrics") -> dict[str, dict[tuple[str, ...], float]]:
    """Values by name and labels."""
    async with api.client.get(path) as answer:
        text = await answer.read()
        assert (answer.status, answer.headers["Content-Type"]) == (
            200,
            "text/plain; version=0.0.4; charset=utf-8",
        )
    return {
        name: {tuple(one.labels.values()): one.value for one in found}
        for name, found in samples(text).items()
    }


def test_the_document_has_every_family() -> None:
    assert table(FAMILIES) in DOCUMENT.read_text(), f"print(table(FAMILIES)), and put it into {DOCUMENT}"


async def test_labs_that_are_ready_are_found_and_no_others(api: Api) -> None:
    assert await api.send("GET", LABS) == []
    await api.lab("one")
    target = {
        "targets": [f"127.0.0.1:{api.client.port}"],
        "labels": {"__metrics_path__": "/api/v1/labs/one/metrics", "lab": "one"},
    }
    assert await api.send("GET", LABS) == [target]
    assert (await scraped(api, "/api/v1/labs/one/metrics"))["transship_network_up"] == {("one", "ring-a"): 1}
    await api.send("DELETE", "/api/v1/labs/one", status=202)
    assert await api.send("GET", LABS) == []


async def test_the_orchestrator_says_how_it_is(api: Api) -> None:
    await api.lab("one")
    await api.run("fddi")
    await api.run("broken")
    await api.send("GET", "/api/v1/labs/none", status=404)
    found = await scraped(api)
    labs, runs = found["transship_labs"], found["transship_runs"]
    assert {labels: count for labels, count in labs.items() if count} == {("ready",): 1}
    assert {labels: count for labels, count in runs.items() if count} == {("done",): 1, ("failed",): 1}
    assert {("deploying",), ("failed",)} <= set(labs) and {("queued",), ("interrupted",)} <= set(runs)
    assert found["transship_agent_up"] == {("local",): 1}
    requests = found["transship_http_requests_total"]
    assert requests[("4xx",)] == 1 and requests[("2xx",)] > 3
    assert found["process_resident_memory_bytes"][()] > 1 << 20 and "process_open_fds" in found
    assert f"{AGENT_PROCESS}_process_cpu_seconds_total" in found
    api.keeper.state = "down"
    assert (await scraped(api))["transship_agent_up"] == {("local",): 0}
    api.keeper.state = "up"


async def test_trials_are_counted_with_few_labels(api: Api) -> None:
    assert api.client.app is not None
    counts = Counts()

    def run(experiment: str, **options: Any) -> Run:
        return Run("20260101-000000-aaaaaa", experiment, options, None)

    kept = {"system": "linux", "valid": True, "balanced": True, "factors": "", "summary": {}}
    for _ in range(2):
        counts.trial(run("fddi"), kept)
    counts.trial(run("fddi"), {**kept, "valid": False, "balanced": False})
    counts.trial(run("mine", document={}), {**kept, "system": "whatever a user writes"})
    assert counts.trials == {
        **{("fddi", "linux", "valid"): 2, ("fddi", "linux", "invalid"): 1},
        **{("own", "other", "valid"): 1, ("own", "other", "invalid"): 0},
    }
    assert counts.unbalanced == {"fddi": 1, "own": 0}


async def test_the_trials_of_a_run_are_counted(api: Api) -> None:
    await api.run("fddi")
    found = await scraped(api)
    assert found["transship_trials_total"] == {
        **{("fddi", "linux", "valid"): 2, ("fddi", "linux", "invalid"): 0},
    }
    assert found["transship_books_unbalanced_total"] == {("fddi",): 0}


async def test_a_run_says_how_far_it_is_and_then_what_it_found(api: Api) -> None:
    run = (await api.send("POST", "/api/v1/runs", {"experiment": "endless"}, 202))["id"]
    found = await api.until(lambda: scraped(api), lambda found: "transship_run_trials_done" in found)
    assert list(found["transship_run_info"]) == [(run, "endless", f"endless-{run[-6:]}")]
    assert found["transship_run_trials_done"] == {(run,): 0}
    assert found["transship_run_trials_planned"] == {(run,): 2}
    await api.send("DELETE", f"/api/v1/runs/{run}", status=202)
    await api.ended(run)
    run = (await api.run("fddi"))["id"]
    found = await scraped(api)
    assert not {name for name in found if name.startswith("transship_run_")}
    case = (run, "fddi", "linux", "0 hogs")
    values = found["transship_result_bytes_per_second"]
    assert {labels[-1]: value for labels, value in values.items()} == {
        **{"median": 93e6 / 8, "low": 92.5e6 / 8, "high": 93.5e6 / 8},
    }
    assert {labels[:-1] for labels in values} == {case}
    assert (found["transship_result_trials"], found["transship_result_loss_ratio"]) == (
        {case: 2},
        {case: 0.25},
    )


def test_what_a_run_says_ends_with_the_first_trial_of_the_next_and_invalid_trials_say_nothing() -> None:
    results = RunMetrics()
    kept = {"system": "shipping", "valid": True, "factors": "map none", "summary": {"value": 2.0}}

    def said() -> dict[tuple[str, ...], float]:
        page = Page(run_metrics.FAMILIES)
        results.add(page)
        found = samples(page.text()).get("transship_result_bytes_per_second", [])
        return {(one.labels["run"], one.labels["statistic"]): one.value for one in found}

    results.trial(Run("first", "ipc", {}, None), "ipc", kept)
    results.trial(Run("first", "ipc", {}, None), "ipc", {**kept, "valid": False, "summary": {"value": 9.0}})
    assert said() == {("first", name): 2e6 for name in ("median", "low", "high")}
    results.trial(Run("second", "ipc", {}, None), "ipc", {**kept, "valid": False})
    assert said() == {}


def test_metrics_have_base_units_and_counters_are_called_so() -> None:
    from agents.metrics import LAB

    for family in (*LAB, *FAMILIES):
        assert family.name.endswith("_total") == (family.kind == "counter"), family.name
        assert not any(word in family.name for word in ("mbps", "usec", "_ms", "mb_")), family.name
