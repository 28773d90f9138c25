"""Grafana's dashboards as code: `python -m dashboards.grafana` writes them as JSON into `FOLDER`.

Built with Grafana's own builders, which are generated from its schemas. The queries are those of
docs/metrics.md and of the recording rules beside Prometheus' configuration.
"""

from pathlib import Path

FOLDER = Path(__file__).parent / "dashboards"
