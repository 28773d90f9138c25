"""The workloads of one host's local channels: processes that hand operations to each other."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from typing import Any

from agents.shipping._shipping import ffi, lib
from agents.workload_params import LOOK_AROUND_MS, Library, Refused, above_zero, check, fields, one_of, whole

MAX_NAME = 63
"""Bytes in the name of a channel (cs_open_channel)."""
LINE = 64
"""Bytes in a cache line: what is written and read is whole lines."""
MAX_OPERATION = 32 << 20
MAX_OPERATIONS_QUEUED = 1024
OPERATIONS_QUEUED = 64
FRAMES_QUEUED = 4
"""Frames are large: more would not fit into the pool, nor into any cache."""
BUS_MBYTES = (1e-3, 1e4)
MAX_SIDE = 16384
"""Pixels of a frame buffer's side (devices/framebuffer_memory.c)."""
MAX_SECONDS = 1_000_000
UNTIL_STOPPED_NS = 1 << 62
"""Longer than any machine runs."""
PARTS = {"none": 0, "half": 2, "full": 1}
"""How much of an operation is mapped and looked at, as struct ts_access says it."""


def finite(params: dict[str, Any], name: str, default: float | None, above: bool) -> float:
    """The parameter of that name, a number of seconds from zero on (`above`: not zero itself), or Refused."""
    value = params.get(name, default)
    limit = "above zero" if above else "from zero on"
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not (value > 0 if above else value >= 0)
        or not value < MAX_SECONDS
    ):
        raise Refused(
            f"params.{name}: {value!r} given, a number of seconds {limit}, below {MAX_SECONDS}, expected"
        )
    return float(value)


def multiple(
    params: dict[str, Any], name: str, default: int | None, unit: int, lowest: int, highest: int
) -> int:
    """The parameter of that name, a multiple of `unit` from lowest to highest, or Refused."""
    value = params.get(name, default)
    if (
        isinstance(value, bool)
        or not isinstance(value, int)
        or not lowest <= value <= highest
        or value % unit
    ):
        raise Refused(
            f"params.{name}: {value!r} given, a multiple of {unit} from {lowest} to {highest} expected"
        )
    return value


def channel(
    library: Library, ops: Any, params: dict[str, Any], name: str, size: int, queue: int, into: Any
) -> None:
    """Fill a struct io_config with one end of the local channel that parameter `name` names."""
    into.channel = library.text(params, name, f"a name of 1 to {MAX_NAME} bytes", MAX_NAME)
    into.queue = whole(params, "queue_operations", queue, 1, MAX_OPERATIONS_QUEUED)
    into.size = size
    into.timeout_ms = LOOK_AROUND_MS
    library.attach(ops, params, into)


def operation_bytes(params: dict[str, Any]) -> int:
    """Bytes of each operation, whole cache lines."""
    return multiple(params, "operation_bytes", 128 << 10, LINE, LINE, MAX_OPERATION)


def interval(params: dict[str, Any], unit: int, into: Any) -> None:
    """Fill a struct ts_interval: by time, by bytes in operations of `unit` bytes, or until it is stopped."""
    if "duration_s" in params and "total_bytes" in params:
        raise Refused("params: duration_s and total_bytes given, at most one of them expected")
    if "total_bytes" not in params:
        lasts = finite(params, "duration_s", None, True) * 1e9 if "duration_s" in params else UNTIL_STOPPED_NS
        into.duration_ns = int(lasts)
        into.warmup_ns = int(finite(params, "warmup_s", 0, False) * 1e9)
    else:
        into.operations = multiple(params, "total_bytes", None, unit, unit, 1 << 50) // unit
        into.warmup_operations = multiple(params, "warmup_bytes", 0, unit, 0, 1 << 50) // unit


def access(params: dict[str, Any], into: Any) -> None:
    """Fill a struct ts_access."""
    into.part = PARTS[one_of(params, "map", "full", tuple(PARTS))]
    into.verify = one_of(params, "verify", False, (False, True))


def pin(params: dict[str, Any]) -> None:
    """Keep the loop, which runs in this thread, on the core that `cpu` names, if any."""
    if params.get("cpu") is None:
        return
    core = whole(params, "cpu", 0, 0, 4095)
    try:
        os.sched_setaffinity(0, {core})
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        usable = ", ".join(map(str, sorted(os.sched_getaffinity(0))))
        raise Refused(f"params.cpu: {core} given, one of {usable} expected") from None


def measured(result: Any) -> dict[str, Any]:
    """A result struct with its measured interval, and what follows from that."""
    answer = fields(ffi.addressof(result, "measure")) | fields(result)
    seconds = (answer["t1_ns"] - answer["t0_ns"]) / 1e9
    answer["mbytes_per_s"] = answer["bytes_measured"] / 1e6 / seconds if seconds else 0.0
    answer["busy"] = answer["busy_ns"] / 1e9 / seconds if seconds else 0.0
    if "ended" in answer:
        answer["ended"] = bool(answer["ended"])
    return answer


def one_end(library: Library, system: str, params: dict[str, Any], size: int, queue: int, config: Any) -> Any:
    """Fill what the configs of both ends of a channel have alike. The operations of their system."""
    ops = library.local_system(system)
    channel(library, ops, params, "channel", size, queue, config.io)
    interval(params, size, config.interval)
    pin(params)
    return ops


def write(library: Library, ops: Any, config: Any, who: str) -> Any:
    """Be the writer until it is done: its result struct, or Refused."""
    result = ffi.new("struct ts_producer_result *")
    check(lib.ts_producer(ops, config, library.control, library.counters, result), who)
    return result


def read(library: Library, ops: Any, config: Any, who: str) -> Any:
    """Be the reader until the channel ends: its result struct, or Refused."""
    result = ffi.new("struct ts_consumer_result *")
    check(lib.ts_consumer(ops, config, library.control, library.counters, result), who)
    return result


def producer(library: Library, system: str, params: dict[str, Any]) -> dict[str, Any]:
    """Write operations to `channel` as fast as they are taken."""
    config = ffi.new("struct ts_producer_config *")
    access(params, config.access)
    ops = one_end(library, system, params, operation_bytes(params), OPERATIONS_QUEUED, config)
    return measured(write(library, ops, config, f"producer over {system}"))


def consumer(library: Library, system: str, params: dict[str, Any]) -> dict[str, Any]:
    """Read operations from `channel` until its writer has closed."""
    config = ffi.new("struct ts_consumer_config *")
    access(params, config.access)
    ops = one_end(library, system, params, operation_bytes(params), OPERATIONS_QUEUED, config)
    return measured(read(library, ops, config, f"consumer over {system}"))


def frame(params: dict[str, Any]) -> Any:
    """The geometry of a video frame, as the paper's unless given: a struct cs_framebuffer, or Refused."""
    geometry = ffi.new("struct cs_framebuffer *")
    geometry.width = whole(params, "width", 1264, 1, MAX_SIDE)
    geometry.height = whole(params, "height", 960, 1, MAX_SIDE)
    geometry.bits = one_of(params, "bits", 8, (8, 24, 32))
    size = geometry.width * geometry.height * geometry.bits // 8
    if size % LINE or size > MAX_OPERATION:
        raise Refused(
            f"params: frames of {geometry.width} x {geometry.height} x {geometry.bits} are {size} bytes, "
            f"a multiple of {LINE} up to {MAX_OPERATION} expected"
        )
    return geometry


def frame_bytes(geometry: Any) -> int:
    """Bytes of each frame."""
    size: int = geometry.width * geometry.height * geometry.bits // 8
    return size


def frames(result: Any, size: int) -> dict[str, Any]:
    """A result whose operations are frames."""
    answer = measured(result)
    for kind in ("", "_measured"):
        answer[f"frames{kind}"] = answer.pop(f"operations{kind}")
    answer["fps"] = answer["mbytes_per_s"] * 1e6 / size
    return answer


def pace(params: dict[str, Any]) -> float:
    """The rate of the frames; 0: as fast as they are taken."""
    return above_zero(params, "fps", "frames per second") if "fps" in params else 0.0


def server(library: Library, system: str, params: dict[str, Any]) -> dict[str, Any]:
    """A memory-resident video server: frames to `channel`, at `fps` or as fast as they are taken."""
    config, shown = ffi.new("struct ts_producer_config *"), frame(params)
    size = frame_bytes(shown)
    config.access.part = 1
    config.access.image = time.monotonic_ns()  # nobody else's
    if one_of(params, "picture", "still", ("still", "moving")) == "moving":
        config.access.moving = (shown.width, shown.height, shown.bits // 8)
    config.fps = pace(params)
    ops = one_end(library, system, params, size, FRAMES_QUEUED, config)
    return frames(write(library, ops, config, f"server over {system}"), size)


def bus_limit(params: dict[str, Any]) -> int:
    """Bytes per second of the frame buffer's bus; 0: no limit. Or Refused."""
    if "bus_mbytes_per_s" not in params:
        return 0
    limit = above_zero(params, "bus_mbytes_per_s", "10^6 bytes per second")
    if not BUS_MBYTES[0] <= limit <= BUS_MBYTES[1]:
        raise Refused(
            f"params.bus_mbytes_per_s: {limit!r} given, "
            f"a number of 10^6 bytes per second from {BUS_MBYTES[0]:g} to {BUS_MBYTES[1]:g} expected"
        )
    return int(limit * 1e6)


def display(library: Library, system: str, params: dict[str, Any]) -> dict[str, Any]:
    """Show the frames from `channel` on a frame buffer, until their server has closed."""
    config, screen = ffi.new("struct ts_consumer_config *"), ffi.new("struct io_config *")
    geometry = frame(params)
    geometry.bus_limit = bus_limit(params)
    geometry.dma = one_of(params, "dma", False, (False, True))
    size = frame_bytes(geometry)
    config.access.image = 1
    config.access.verify = one_of(params, "verify", False, (False, True))
    config.access.part = int(config.access.verify)
    config.fps = pace(params)
    config.screen = screen
    ops = one_end(library, system, params, size, FRAMES_QUEUED, config)
    channel(library, ops, {"framebuffer": "screen0"} | params, "framebuffer", size, FRAMES_QUEUED, screen)
    screen.framebuffer = geometry
    screen.shown = config.fps > 0  # or nobody could say which was late
    return frames(read(library, ops, config, f"display over {system}"), size)


def relay(library: Library, system: str, params: dict[str, Any]) -> dict[str, Any]:
    """What comes in from `channel` goes out to `out_channel`, until the writer of the one has closed."""
    ops = library.local_system(system)
    config, result = ffi.new("struct ts_forwarder_config *"), ffi.new("struct ts_forwarder_result *")
    size = operation_bytes(params)
    channel(library, ops, params, "channel", size, OPERATIONS_QUEUED, getattr(config, "in"))
    channel(library, ops, params, "out_channel", size, OPERATIONS_QUEUED, config.out)
    getattr(config, "in").pieces = True
    pin(params)
    check(lib.ts_forwarder(ops, config, library.control, library.counters, result), f"relay over {system}")
    return fields(result)


LOCAL_WORKLOADS: dict[str, Callable[[Library, str, dict[str, Any]], dict[str, Any]]] = {
    "producer": producer,
    "consumer": consumer,
    "relay": relay,
    "server": server,
    "display": display,
}
