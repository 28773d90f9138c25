"""Prometheus' programs, where the machine has them."""

import shutil
from pathlib import Path

import pytest

DASHBOARDS = Path(__file__).parents[2] / "dashboards"
CONFIGURATION = DASHBOARDS / "prometheus"


def program(name: str) -> str:
    """The path of a program of the Debian package `prometheus`; without it the test is skipped."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"needs {name} (Debian package prometheus)")
    return path
