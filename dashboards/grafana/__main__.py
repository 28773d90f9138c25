"""Writes the dashboards."""

from dashboards.grafana import FOLDER
from dashboards.grafana.all import documents

for name, text in documents().items():
    (FOLDER / name).write_text(text, encoding="utf-8")
