"""From a document whose factors have their levels to what is done in a trial."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.experiments.case import Budget, Case, Station
from orchestrator.experiments.own.document import Document, Network, Source
from orchestrator.experiments.own.faults import DocumentError
from orchestrator.experiments.own.route import Route
from orchestrator.experiments.timeline import Event
from topologies import Topology
from topologies.model import Impairments
from topologies.wiring import networks_of

CPU_PERIOD_US = 100_000
MIN_QUOTA_US = 1000
"""The kernel refuses smaller quotas."""


class Cases:
    """The trials on one way through a topology, with what happens in each."""

    def __init__(self, topology: Topology, way: Route, happening: Sequence[Event]) -> None:
        self._networks, self._way, self._events = networks_of(topology), way, tuple(happening)
        self._largest = way.largest(self._networks)

    def of(self, document: Document) -> Case:
        """What is done in the trials of this document. Raises DocumentError."""
        in_order = [document.workloads[name] for name in self._way.workloads]
        source = in_order[0]
        assert isinstance(source, Source)
        size, rate = self._sent(document, source)
        rates, losses = self._given(document)
        return Case(
            stations=tuple(
                Station(one.system) if isinstance(one, Source) else Station(one.system, one.queue)
                for one in in_order
            ),
            size=size,
            rate_mbps=rate,
            rates=rates,
            losses=losses,
            hogs={name: host.hogs for name, host in document.hosts.items()},
            budgets={
                name: Budget(max(MIN_QUOTA_US, round(host.cpu * CPU_PERIOD_US)), CPU_PERIOD_US)
                for name, host in document.hosts.items()
                if host.cpu is not None
            },
            events=self._events,
        )

    def _sent(self, document: Document, source: Source) -> tuple[int, float]:
        """Size and rate of what is sent. Raises DocumentError."""
        place = f"workloads.{self._way.workloads[0]}"
        if source.size is None:
            raise DocumentError([(f"{place}.size", "is required, here or as a factor")])
        if source.size > self._largest:
            message = f"must be at most {self._largest} on this way (its smallest MTU), not {source.size}"
            raise DocumentError([(f"{place}.size", message)])
        rate = source.rate if document.search is None else document.search.start
        if rate is None:
            raise DocumentError([(f"{place}.rate", "is required, here, as a factor or by `search`")])
        return source.size, rate

    def _given(self, document: Document) -> tuple[dict[str, float | None], dict[str, Impairments]]:
        """The rates of all networks that matter, and what those lose that lose something on purpose."""
        changing: dict[str, set[str]] = {"rate": set(), "loss": set()}
        for event in self._events:
            changing.setdefault(event.what, set()).add(event.target)
        lossy = changing["loss"] | {name for name, one in document.networks.items() if one.loss is not None}
        crossed = [name for leg in self._way.crossings for name in leg.networks]
        named = dict.fromkeys([*crossed, *sorted(changing["rate"] | lossy | set(document.networks))])
        rates = {name: _said(document, name).rate or self._networks[name].rate_mbps for name in named}
        losses = {}
        for name in sorted(lossy):
            loss, impairments = _said(document, name).loss, self._networks[name].impairments
            losses[name] = impairments if loss is None else impairments.model_copy(update={"loss": loss})
        return rates, losses


def _said(document: Document, network: str) -> Network:
    """What the document says of a network."""
    return document.networks.get(network, Network())
