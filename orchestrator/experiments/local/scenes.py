"""The scenes of the shipped experiments: which processes, with what parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from orchestrator.experiments.local.chain import Chain, Part, Row
from orchestrator.experiments.local.copies import Copies
from orchestrator.experiments.local.definition import Cell, LocalDefinition
from orchestrator.experiments.local.frames import frame_bytes, geometry
from orchestrator.experiments.local.plan import POOL_PAGES, LocalPlan
from orchestrator.experiments.local.trial import Place, Scene

PAGE_BYTES, LARGE_PAGE_BYTES = 4096, 2 << 20
POOL_QUEUES = 4
"""A pool of large pages holds so many queues: those written, delivered, given back, and to be used again."""
POOL_FRAMES = 24
"""A pool holds so many frames at least; its pages are memory of the machine."""
QUEUE_BYTES = 16 << 20
"""What may wait in a channel, though it were less than `queue_frames`: the most that `linux` gives a socket.
A queue has one frame at least."""


def ipc(definition: LocalDefinition, cell: Cell, plan: LocalPlan, channel: str) -> Row:
    """Figure 4: a producer and a consumer. A system is `writer-to-reader`, or one name for both."""
    writer, _, reader = cell.system.partition("-to-")
    large = cell.factors["page"] == "2 MiB"
    page = LARGE_PAGE_BYTES if large else PAGE_BYTES
    assert definition.operation_bytes is not None  # ipc.yaml has it
    size = LARGE_PAGE_BYTES if large else definition.operation_bytes
    queue = plan.queue_large if large else plan.queue_operations
    params = {
        "channel": channel,
        "operation_bytes": size,
        "queue_operations": queue,
        "map": cell.factors["map"],
        **_interval(plan),
    }
    if cell.system != "linux":
        params["protection"] = cell.factors["tier"]
        params["page_bytes"] = page
        if large:
            params["pages"] = POOL_QUEUES * queue
    return Row(
        [
            Part("producer", "producer", writer, params),
            Part("consumer", "consumer", reader or writer, params),
        ],
        one_cpu=cell.factors["cores"] == "same",
    )


def video(definition: LocalDefinition, cell: Cell, plan: LocalPlan, channel: str) -> Row:
    """Figure 7: a server of frames, relays, a display with a frame buffer."""
    width, height, bits = geometry(cell.factors["frame"])
    limit, transfer = str(cell.factors["limit"]), str(cell.factors["transfer"])
    relays = int(cell.factors["relays"])
    frame: dict[str, Any] = {"width": width, "height": height, "bits": bits, **_interval(plan)}
    size = frame_bytes(cell.factors["frame"])
    queue: dict[str, Any] = {"queue_operations": max(1, min(plan.queue_frames, QUEUE_BYTES // size))}
    if cell.system != "linux":
        queue["pages"] = max(POOL_PAGES, POOL_FRAMES * -(-size // PAGE_BYTES))
    display = {**frame, **queue, "channel": f"{channel}-{relays}", "dma": transfer == "dma"}
    if limit != "none":
        display["bus_mbytes_per_s"] = int(limit.removesuffix(" MB/s"))
    return Row(
        [
            Part("server", "server", cell.system, {**frame, **queue, "channel": f"{channel}-0"}),
            *(
                Part(
                    f"relay {hop + 1}",
                    "relay",
                    cell.system,
                    {
                        **queue,
                        "channel": f"{channel}-{hop}",
                        "out_channel": f"{channel}-{hop + 1}",
                        "operation_bytes": size,
                    },
                )
                for hop in range(relays)
            ),
            Part("display", "display", cell.system, display),
        ],
        limited=limit != "none",
    )


def _interval(plan: LocalPlan) -> dict[str, float]:
    return {"warmup_s": plan.warmup_s, "duration_s": plan.measured_s}


SCENES: dict[str, Callable[[LocalDefinition, Place], Scene]] = {
    "ipc": lambda definition, place: Chain(definition, place, ipc),
    "video": lambda definition, place: Chain(definition, place, video),
    "cp": Copies,
}
