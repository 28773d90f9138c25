"""What the paper published of Figure 6, as queries: lines and bars beside what is measured."""

from orchestrator.experiments.definitions import EXPERIMENTS

FIGURE = EXPERIMENTS["fddi"]
PREFIX = "the paper: "
"""Begins the names of published series."""


def values() -> dict[tuple[str, int], float]:
    """Bits per second by system and hogs, where the paper has a number."""
    found = {
        (row.system, row.hogs): FIGURE.published_mbps(*(row.system, row.hogs)) for row in FIGURE.published
    }
    return {key: mbps * 1e6 for key, mbps in found.items() if mbps is not None}


def systems() -> list[str]:
    """The systems that the paper has numbers of."""
    return sorted({system for system, _ in values()})


def line(system: str, hogs: str) -> str:
    """A query for what the paper has at the number of hogs that the query `hogs` gives now."""
    levels = ((level, bits) for (name, level), bits in values().items() if name == system)
    return " or ".join(f"({hogs} == {level}) * 0 + {bits:.0f}" for level, bits in sorted(levels))


def bars() -> str:
    """A query for all of it, labelled as results are."""
    return " or ".join(
        _constant(bits, {"system": PREFIX + system, "factors": f"{hogs} hogs"})
        for (system, hogs), bits in sorted(values().items())
    )


def ratios() -> str:
    """The same for the published ratios."""
    return " or ".join(
        _constant(one.value, {"ratio": f"{PREFIX}{one.of} / {one.to}", "factors": f"{hogs} hogs"})
        for one in FIGURE.published_ratios
        for hogs in one.hogs
    )


def _constant(value: float, labels: dict[str, str]) -> str:
    made = f"vector({value:g})"
    for name, text in labels.items():
        made = f'label_replace({made}, "{name}", "{text}", "", "")'
    return made
