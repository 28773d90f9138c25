"""A Prometheus as it is shipped, beside an orchestrator, for tests."""

import json
import shutil
import signal
import socket
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.dashboards.programs import CONFIGURATION, program
from tests.orchestrator.processes import started, until_ended
from tests.support import PATIENCE_S, wait_until

SHIPPED = "127.0.0.1:8351"
"""The orchestrator that the shipped configuration watches."""


class Prometheus:
    """A running Prometheus, asked through its HTTP API."""

    def __init__(self, address: str) -> None:
        self._address = address

    def ask(self, path: str, **parameters: Any) -> Any:
        """The data of an answer. Raises AssertionError with what Prometheus has against the question."""
        url = f"{self._address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None

    def now(self, query: str) -> list[dict[str, Any]]:
        """The series of an instant query."""
        return list(self.ask("query", query=query)["result"])

    def over(self, query: str, begin: float, end: float) -> list[dict[str, Any]]:
        """The series of a query with a value each second."""
        return list(self.ask("query_range", query=query, start=begin, end=end, step=1)["result"])

    def ready(self) -> bool:
        """Whether it answers."""
        try:
            return bool(self.now("vector(1)"))
        except (OSError, AssertionError):
            return False


@contextmanager
def prometheus(orchestrator: str, directory: Path) -> Iterator[Prometheus]:
    """Prometheus with the shipped configuration, watching the orchestrator at that address instead."""
    binary = program("prometheus")
    shutil.copytree(CONFIGURATION, directory / "configuration")
    file = directory / "configuration" / "prometheus.yml"
    shipped = file.read_text()
    assert SHIPPED in shipped
    file.write_text(shipped.replace(SHIPPED, orchestrator.removeprefix("http://")))
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = (
        binary,
        f"--config.file={file}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address={address}",
        "--log.level=error",
    )
    with started(*command) as process:
        running = Prometheus(f"http://{address}")
        wait_until(lambda: process.poll() is not None or running.ready(), "Prometheus to answer")
        assert process.poll() is None, process.stderr and process.stderr.read()
        yield running
        process.send_signal(signal.SIGTERM)
        assert until_ended(process) == 0
