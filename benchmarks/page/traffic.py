"""Traffic through a whole row of switches, that is another each time somebody looks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.client import Client, ClientError

RATES_MBPS = (1.0, 3.0)
EVERY_S = 0.5
SIZE = 1400


@contextmanager
def moving(client: Client, lab: str) -> Iterator[None]:
    """Datagrams from the first host to the last, so through every network, at a rate that changes."""
    hosts = client.lab(lab).hosts
    last = client.host(lab, hosts[-1]).interfaces[0].address
    client.start_workload(lab, hosts[-1], "sink", "linux-batch")
    source = client.start_workload(
        lab, hosts[0], "source", "linux-batch", to=last, rate_mbps=RATES_MBPS[0], size=SIZE
    )
    over = threading.Event()
    failed: list[ClientError] = []

    def change() -> None:
        turn = 0
        while not over.wait(EVERY_S):
            turn += 1
            rate = RATES_MBPS[turn % len(RATES_MBPS)]
            try:
                client.change_workload(lab, hosts[0], source.id, rate_mbps=rate)
            except ClientError as error:
                failed.append(error)
                return

    changing = threading.Thread(target=change, name="change the rate")
    changing.start()
    try:
        yield
    finally:
        over.set()
        changing.join()
    if failed:  # the page had less to draw than it should
        raise failed[0]
