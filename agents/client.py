"""What a machine agent is asked, from the other side of its Unix socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, cast
from urllib.parse import urlencode

from agents.errors import AgentError
from agents.pictures import Picture, picture_of
from agents.tokens import Tokens
from agents.transport import UnixTransport, path_of

__all__ = ["AgentError", "Json", "Machine", "MachineClient"]

Json = dict[str, Any]
Place = tuple[str, ...]
"""Where frames cross: ("hosts", HOST, "interfaces", INTERFACE) or ("networks", NETWORK)."""


class Conversation(Protocol):
    """Two sides that send each other bytes and text."""

    async def receive(self) -> bytes | str | None:
        """What comes next; None at the end."""
        ...

    async def send(self, data: bytes | str) -> None:
        """Sends it. Raises `ConnectionResetError` when nobody is there any more."""
        ...


SLOW_S = 600.0
"""Seconds allowed to deploy or destroy a lab; 200 hosts take a few."""
USUAL_S = 180.0
"""Seconds allowed to anything else; more than a machine agent allows a workload and its manager to start."""


class Machine(Protocol):
    """One machine, as the orchestrator and the experiments see it.

    `MachineClient` is the real one. Every method raises `AgentError`.
    """

    async def health(self) -> Json:
        """{"status": "ok", "pid", "run_root", "labs": number}."""
        ...

    async def notices(self, after: int, wait_s: float) -> list[Json]:
        """What happened to hosts' agents after that number: [{"number", "lab", "host", "state": "running" |
        "failed", "message"}]; waits up to `wait_s` (at most 30 s) for the first."""
        ...

    async def deploy(self, lab: str, topology: Mapping[str, Any]) -> Json:
        """Deploys `topology` (the JSON of `topologies.model.Topology`) and returns the lab's Record.

        A lab of the same name and topology is returned as it is; of another topology it is a 409.
        """
        ...

    async def labs(self) -> list[Json]:
        """The deployed labs: [{"lab", "topology": name, "hosts": [names], "networks": [names]}]."""
        ...

    async def lab(self, lab: str) -> Json:
        """The fields of the lab's Record, and "agents": {host: {"state": "none" | "starting" |
        "running" | "failed", "pid": int | None, "message": str}}."""
        ...

    async def destroy(self, lab: str) -> None:
        """Destroys the lab and all that runs in it; a lab that is not there is destroyed already."""
        ...

    async def difference(self, lab: str, topology: Mapping[str, Any]) -> list[Json]:
        """What `apply` would change, changing nothing: [{"change": "add" | "remove" | "change",
        "kind": "host" | "network" | "interface" | "trunk", "name", "fields": {field: [old, new]}}]."""
        ...

    async def apply(self, lab: str, topology: Mapping[str, Any]) -> Json:
        """Makes a deployed lab what `topology` says, touching only the difference: {"changes", "record"}.

        Hosts that stay keep their processes. A failure leaves the lab as it was, or, should that be
        impossible, refusing all (409) but to be destroyed or deployed anew.
        """
        ...

    async def counters(self, lab: str) -> dict[str, int]:
        """Cumulative counters of the lab's interfaces, shapers and networks."""
        ...

    async def look(self, lab: str) -> Json:
        """All that is watched of a lab, in one look: `agents.machine_look.look` says what."""
        ...

    async def lab_metrics(self, lab: str) -> bytes:
        """The metrics of all hosts and networks of a lab in Prometheus' text format."""
        ...

    async def set_network(
        self,
        lab: str,
        network: str,
        rate_mbps: float | None,
        impairments: Mapping[str, Any] | None = None,
    ) -> Json:
        """Changes a network's rate (Mb/s, None: not shaped) without a gap; returns the lab's Record.

        `impairments` are those of `topologies.model.Impairments`, such as {"loss": 0.01, "seed": 7}, and
        begin anew; None leaves them as they are.
        """
        ...

    async def cut(self, lab: str, network: str, host: str | None = None) -> Json:
        """Cuts a network, or with `host` that station's link to it; returns the lab's Record.

        What meets the cut is counted: `<network>.<port>.cut_in_drops` and `cut_out_drops` (IPv4 frames from
        and for the station), `cut_other_drops`. Cutting what is cut changes nothing.
        """
        ...

    async def heal(self, lab: str, network: str, host: str | None = None) -> Json:
        """The reverse of `cut`; a host's link stays cut when its network is healed. Returns the Record."""
        ...

    async def stop_host(self, lab: str, host: str) -> Json:
        """Kills all that runs on the host and lets nothing pass its ports, counted as for a cut; returns the
        Record. Requests to the host are refused (409) until it is started."""
        ...

    async def start_host(self, lab: str, host: str) -> Json:
        """Lets a stopped host be used again; nothing runs on it. Returns the lab's Record."""
        ...

    async def set_budget(self, lab: str, host: str, quota_us: int | None, period_us: int) -> None:
        """Lets the host's work have `quota_us` of CPU time per `period_us`; None: no limit."""
        ...

    async def set_hogs(self, lab: str, host: str, count: int) -> Json:
        """Makes exactly `count` CPU hogs compete on the host: {"count", "running", "pids"}."""
        ...

    async def hogs(self, lab: str, host: str) -> Json:
        """The host's CPU hogs, as of `set_hogs`."""
        ...

    async def host_counters(self, lab: str, host: str) -> dict[str, int]:
        """Cumulative counters of the host: CPU by group, UDP, IP, softirq; and `hogs.running`."""
        ...

    async def start(self, lab: str, host: str, spec: Mapping[str, Any]) -> str:
        """Starts {"workload", "system", "params", "sample_s"}; returns its id once it said that it is ready.

        With `sample_s` (seconds, not null) its final state has a "series" of its counters."""
        ...

    async def workloads(self, lab: str, host: str, over_s: float = 0.0) -> list[Json]:
        """The states, as of `workload`, of what runs and of what ended lately, oldest first.

        With `over_s` (at most 30 s) it takes that long, and "per_second" is how fast each counter grew.
        """
        ...

    async def workload(self, lab: str, host: str, workload_id: str, wait_s: float = 0.0) -> Json:
        """A workload's state; waits up to `wait_s` (at most 30 s) for it to end, without polling it.

        {"id", "workload", "system", "pid", "state": "running" | "done" | "failed", "message",
        "params": {...}, "counters": {name: int}, "result": {...} | None, "manager": its state | None,
        "series": {"interval_s", "t_ns": [int], "counters": {name: [int]}} | None}
        """
        ...

    async def tell(self, lab: str, host: str, workload_id: str, command: Mapping[str, Any]) -> None:
        """Hands a running workload a command, such as {"command": "expect", "count": 1000}."""
        ...

    async def change(self, lab: str, host: str, workload_id: str, change: Mapping[str, Any]) -> Json:
        """Gives a running source another "rate_mbps" or "size", and returns its state."""
        ...

    async def stop(self, lab: str, host: str, workload_id: str) -> Json:
        """Stops a workload (one that has ended stays as it is) and returns its final state."""
        ...

    async def picture(self, lab: str, host: str, workload_id: str, width: int | None = None) -> Picture:
        """What a display shows now, at most `width` pixels wide."""
        ...

    async def metrics(self, lab: str, host: str) -> bytes:
        """The host's metrics in Prometheus' text format."""
        ...

    async def exec(self, lab: str, host: str, argv: Sequence[str]) -> Json:
        """Runs a command on the host, without a shell, for at most 30 s: {"exit", "stdout", "stderr",
        "truncated"}; `exit` is negative for a signal."""
        ...

    def capture(
        self, lab: str, place: Place, limit: int | None, snaplen: int
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The frames that cross a host's interface or a network, as a pcapng stream that goes on until
        `limit` of them, if there is one, or the end of the context."""
        ...

    def console(
        self, lab: str, host: str, options: Mapping[str, str]
    ) -> AbstractAsyncContextManager[Conversation]:
        """A login shell on the host: bytes are what is typed and shown; text is JSON, {"rows", "columns"} to
        it, {"exit"} from it. `options`: rows, columns, terminal."""
        ...


class MachineClient:
    """A `Machine` over the machine agent's Unix socket; an async context manager.

    `epitaph` may say how the agent's process ended; whoever started it knows, the socket does not. `tokens`
    are those that the agent was started with, if any.
    """

    def __init__(
        self,
        socket_path: Path | str,
        epitaph: Callable[[], str | None] | None = None,
        tokens: Tokens | None = None,
    ) -> None:
        self.socket_path = Path(socket_path)
        self._transport = UnixTransport(socket_path, "the machine agent", epitaph, tokens)

    async def __aenter__(self) -> MachineClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Gives the connections back; a later request opens new ones."""
        await self._transport.close()

    async def health(self) -> Json:
        return await self._json("GET", "/health")

    async def notices(self, after: int, wait_s: float) -> list[Json]:
        answer = await self._json("GET", f"/notices?after={after}&wait_s={wait_s:g}")
        return cast(list[Json], answer["notices"])

    async def deploy(self, lab: str, topology: Mapping[str, Any]) -> Json:
        return await self._json("PUT", path_of("labs", lab), dict(topology), timeout_s=SLOW_S)

    async def labs(self) -> list[Json]:
        return cast(list[Json], (await self._json("GET", "/labs"))["labs"])

    async def lab(self, lab: str) -> Json:
        return await self._json("GET", path_of("labs", lab))

    async def destroy(self, lab: str) -> None:
        await self._text("DELETE", path_of("labs", lab), timeout_s=SLOW_S)

    async def difference(self, lab: str, topology: Mapping[str, Any]) -> list[Json]:
        answer = await self._json("POST", path_of("labs", lab, "difference"), dict(topology))
        return cast(list[Json], answer["changes"])

    async def apply(self, lab: str, topology: Mapping[str, Any]) -> Json:
        return await self._json("POST", path_of("labs", lab, "apply"), dict(topology), timeout_s=SLOW_S)

    async def counters(self, lab: str) -> dict[str, int]:
        return await self._json("GET", path_of("labs", lab, "counters"))

    async def look(self, lab: str) -> Json:
        return await self._json("GET", path_of("labs", lab, "look"))

    async def lab_metrics(self, lab: str) -> bytes:
        return await self._transport.request("GET", path_of("labs", lab, "metrics"), timeout_s=USUAL_S)

    async def set_network(
        self,
        lab: str,
        network: str,
        rate_mbps: float | None,
        impairments: Mapping[str, Any] | None = None,
    ) -> Json:
        body: Json = {"rate_mbps": rate_mbps}
        if impairments is not None:
            body["impairments"] = dict(impairments)
        return await self._json("PUT", path_of("labs", lab, "networks", network), body)

    async def cut(self, lab: str, network: str, host: str | None = None) -> Json:
        return await self._json("POST", _link(lab, network, host) + "/cut")

    async def heal(self, lab: str, network: str, host: str | None = None) -> Json:
        return await self._json("POST", _link(lab, network, host) + "/heal")

    async def stop_host(self, lab: str, host: str) -> Json:
        return await self._json("POST", path_of("labs", lab, "hosts", host, "stop"))

    async def start_host(self, lab: str, host: str) -> Json:
        return await self._json("POST", path_of("labs", lab, "hosts", host, "start"))

    async def set_budget(self, lab: str, host: str, quota_us: int | None, period_us: int) -> None:
        body = {"quota_us": quota_us, "period_us": period_us}
        await self._text("PUT", path_of("labs", lab, "hosts", host, "budget"), body)

    async def set_hogs(self, lab: str, host: str, count: int) -> Json:
        return await self._json("PUT", path_of("labs", lab, "hosts", host, "hogs"), {"count": count})

    async def hogs(self, lab: str, host: str) -> Json:
        return await self._json("GET", path_of("labs", lab, "hosts", host, "hogs"))

    async def host_counters(self, lab: str, host: str) -> dict[str, int]:
        return await self._json("GET", path_of("labs", lab, "hosts", host, "counters"))

    async def start(self, lab: str, host: str, spec: Mapping[str, Any]) -> str:
        answer = await self._json("POST", path_of("labs", lab, "hosts", host, "workloads"), dict(spec))
        return str(answer["id"])

    async def workloads(self, lab: str, host: str, over_s: float = 0.0) -> list[Json]:
        path = path_of("labs", lab, "hosts", host, "workloads")
        answer = await self._json("GET", path + (f"?over_s={over_s:g}" if over_s else ""))
        return cast(list[Json], answer["workloads"])

    async def workload(self, lab: str, host: str, workload_id: str, wait_s: float = 0.0) -> Json:
        path = path_of("labs", lab, "hosts", host, "workloads", workload_id)
        return await self._json("GET", path + (f"?wait_s={wait_s:g}" if wait_s else ""))

    async def tell(self, lab: str, host: str, workload_id: str, command: Mapping[str, Any]) -> None:
        path = path_of("labs", lab, "hosts", host, "workloads", workload_id, "commands")
        await self._text("POST", path, dict(command))

    async def change(self, lab: str, host: str, workload_id: str, change: Mapping[str, Any]) -> Json:
        path = path_of("labs", lab, "hosts", host, "workloads", workload_id)
        return await self._json("PATCH", path, dict(change))

    async def stop(self, lab: str, host: str, workload_id: str) -> Json:
        return await self._json("DELETE", path_of("labs", lab, "hosts", host, "workloads", workload_id))

    async def picture(self, lab: str, host: str, workload_id: str, width: int | None = None) -> Picture:
        path = path_of("labs", lab, "hosts", host, "workloads", workload_id, "picture")
        query = "" if width is None else f"?width={width}"
        answer = await self._transport.answer("GET", path + query, timeout_s=USUAL_S)
        return picture_of(answer.content, answer.headers)

    async def metrics(self, lab: str, host: str) -> bytes:
        path = path_of("labs", lab, "hosts", host, "metrics")
        return await self._transport.request("GET", path, timeout_s=USUAL_S)

    async def exec(self, lab: str, host: str, argv: Sequence[str]) -> Json:
        return await self._json("POST", path_of("labs", lab, "hosts", host, "exec"), {"argv": list(argv)})

    def capture(
        self, lab: str, place: Place, limit: int | None, snaplen: int
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        query = f"?snaplen={snaplen}" + (f"&limit={limit}" if limit is not None else "")
        return self._transport.stream(path_of("labs", lab, *place, "capture") + query)

    def console(
        self, lab: str, host: str, options: Mapping[str, str]
    ) -> AbstractAsyncContextManager[Conversation]:
        path = path_of("labs", lab, "hosts", host, "console")
        return self._transport.talk(f"{path}?{urlencode(options)}")

    async def _json(self, method: str, path: str, body: Any = None, timeout_s: float = USUAL_S) -> Json:
        content = await self._transport.request(method, path, body, timeout_s=timeout_s)
        return cast(Json, json.loads(content))

    async def _text(self, method: str, path: str, body: Any = None, timeout_s: float = USUAL_S) -> str:
        return (await self._transport.request(method, path, body, timeout_s=timeout_s)).decode()


def _link(lab: str, network: str, host: str | None) -> str:
    """The path of a network, or of a host's link to it."""
    if host is None:
        return path_of("labs", lab, "networks", network)
    return path_of("labs", lab, "hosts", host, "links", network)
