"""All dashboards, as the files that Grafana reads."""

import json

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards.grafana import fddi, lab, overview, runs, stack


def documents() -> dict[str, str]:
    """The text of every dashboard's file, by the file's name."""
    made = (module.dashboard().build() for module in (overview, lab, fddi, stack, runs))
    return {
        f"{one.uid}.json": json.dumps(one, cls=JSONEncoder, indent=1, sort_keys=True) + "\n" for one in made
    }
