"""A workload process: one C loop of libshipping, told what to do by its host agent.

    python -m agents.workload --counters-fd N

The first line on stdin is the specification, `{"workload", "system", "params"}`; later lines are commands,
`{"command": "stop"}`, `{"command": "expect", "count": N}` (a sink), `{"command": "pace", "rate_mbps",
"size"}` (a source); the end of stdin is `stop`. On stdout, one JSON object a line: `{"event": "ready"}`, then
`{"event": "done", "result": {...}}` or `{"event": "error", "message": ...}`. The loop runs in the main thread
with the GIL released; counters go to the memory behind N.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from agents.copier import copier
from agents.local_workloads import LOCAL_WORKLOADS
from agents.shipping._shipping import ffi, lib
from agents.workload_params import (
    MAX_QUEUE,
    Library,
    Refused,
    above_zero,
    check,
    check_local,
    fields,
    need,
    one_of,
    whole,
)

PROTECTIONS = ("cooperative", "write-revoked", "strict")
"""The protection tiers, as core/protection.h numbers them."""
ZEROINGS = ("none", "edges", "all")
"""What of new memory is zeroed, from the least on; core/protection.h has one number before them."""
HEADER_BYTES = 28
"""What a sink looks at of each datagram (TS_HEADER_BYTES)."""
PAGE_BYTES = (4096, 2 << 20)
"""The pages of a pool may have (CS_PAGE_SIZE, CS_LARGE_PAGE)."""
SMALL_PAGES, LARGE_PAGES = (4096, 1024, 1 << 19), (64, 16, 2048)
"""That processes may allocate, of each size: usual, fewest, most."""
"""Pages to allocate from: half of what identifiers can name, for the interfaces take some as well."""
BIN_NS = 10_000_000
"""Width of the sink's bins of arrivals (TS_BIN_NS)."""


def source(library: Library, system: str, params: dict[str, Any]) -> dict[str, Any]:
    """Send `size`-byte datagrams at `rate_mbps` (10^6 payload bits per second) for warm-up and `duration_s`,
    or until it is stopped."""
    ops = library.system(system)
    config, result = ffi.new("struct ts_source_config *"), ffi.new("struct ts_source_result *")
    library.io(ops, params, "local", "remote", config.io)
    config.flow = need(params, "flow", int, "a number")
    config.datagrams_per_second = above_zero(params, "rate_mbps", "Mb/s") * 1e6 / 8 / config.io.size
    config.warmup_ns = int(params.get("warmup_s", 0) * 1e9)
    if "duration_s" in params:
        config.duration_ns = int(above_zero(params, "duration_s", "seconds") * 1e9)
    check_local(
        lib.ts_source(ops, config, library.control, library.counters, result), f"source over {system}", params
    )
    answer = fields(result)
    seconds = (answer["t1_ns"] - answer["t0_ns"]) / 1e9
    answer["offered_mbps"] = answer["bytes_measured"] * 8 / 1e6 / seconds if seconds else 0.0
    answer["busy"] = answer["busy_ns"] / 1e9 / seconds if seconds else 0.0
    answer["late"] = answer["late_ticks"] / answer["ticks"] if answer["ticks"] else 0.0
    answer["send_blocked"] = answer["held_back"]
    return answer


def forwarder(library: Library, system: str, params: dict[str, Any]) -> dict[str, Any]:
    """Everything that comes in at `local` goes out from `out_local` to `remote`."""
    ops = library.system(system)
    config, result = ffi.new("struct ts_forwarder_config *"), ffi.new("struct ts_forwarder_result *")
    library.io(ops, params, "local", None, getattr(config, "in"))
    library.io(ops, params, "out_local", "remote", config.out)
    error = lib.ts_forwarder(ops, config, library.control, library.counters, result)
    check_local(error, f"forwarder over {system}", params)
    return fields(result)


def sink(library: Library, system: str, params: dict[str, Any]) -> dict[str, Any]:
    """Count what comes in at `local`, of one `flow` or (0) of any; loss, duplicates and reordering apart."""
    ops = library.system(system)
    config, result = ffi.new("struct ts_sink_config *"), ffi.new("struct ts_sink_result *")
    library.io(ops, params, "local", None, config.io)
    config.io.wanted = HEADER_BYTES
    config.flow = need(params, "flow", int, "a number")
    check_local(
        lib.ts_sink(ops, config, library.control, library.counters, result), f"sink over {system}", params
    )
    answer = fields(result)
    answer["lost_ranges"] = [[r.first, r.last] for r in result.lost_range[0 : result.lost_ranges]]
    answer["duplicate_list"] = list(result.duplicate_list[0 : result.duplicate_list_count])
    answer["bin_ns"] = BIN_NS
    answer["bin"] = list(result.bin[0 : result.bins])
    seconds = (answer["last_ns"] - answer["first_ns"]) / 1e9
    answer["busy"] = answer["busy_ns"] / 1e9 / seconds if seconds > 0 else 0.0
    return answer


def manager(library: Library, system: str, params: dict[str, Any]) -> dict[str, Any]:
    """The host's manager: serves its stack on `interfaces`, if it has any, and processes on `socket`."""
    config = ffi.new("struct cs_manager_config *")
    interfaces = need(params, "interfaces", list, "a list of interfaces")
    if len(interfaces) > len(config.interface):
        raise Refused(f"params.interfaces: {len(interfaces)} given, 0 to {len(config.interface)} expected")
    for to, one in zip(config.interface, interfaces, strict=False):
        to.name = one["name"].encode()
        to.mac = bytes.fromhex(one["mac"].replace(":", ""))
        to.ip = int(ipaddress.IPv4Address(one["address"]))
        to.mask = (0xFFFFFFFF << (32 - one["prefix"])) & 0xFFFFFFFF
        to.mtu = one["mtu"]
    config.interfaces = len(interfaces)
    config.socket = need(params, "socket", str, "a path").encode()
    config.backend = one_of(params, "backend", "auto", ("auto", "xdp", "packet")).encode()
    config.queue = whole(params, "queue_datagrams", 1024, 1, MAX_QUEUE)
    config.segmentation = one_of(params, "segmentation", True, (True, False))
    page_bytes = one_of(params, "page_bytes", PAGE_BYTES[0], PAGE_BYTES)
    large = page_bytes != PAGE_BYTES[0]
    if large and interfaces:
        raise Refused(
            f"params.page_bytes: {page_bytes} given, {PAGE_BYTES[0]} expected on a host with a network"
        )
    config.page_bytes = page_bytes
    config.pages = whole(params, "pages", *(LARGE_PAGES if large else SMALL_PAGES))
    protection = one_of(params, "protection", PROTECTIONS[0], PROTECTIONS)
    zeroings = ZEROINGS if protection == PROTECTIONS[0] else ZEROINGS[1:]  # its pages may not show old data
    zeroing = one_of(params, "zeroing", zeroings[0], zeroings)
    recycling = one_of(params, "recycling", True, (True, False))
    config.protection = PROTECTIONS.index(protection)
    config.zeroing = 1 + ZEROINGS.index(zeroing)
    config.no_recycling = not recycling
    made, error = ffi.new("struct cs_manager **"), ffi.new("char[]", 256)
    if lib.cs_manager_open(made, config, library.counters, error, len(error)) < 0:
        raise Refused(ffi.string(error).decode())
    try:
        answer = {
            "backend": ffi.string(lib.ts_manager_backend(made[0])).decode(),
            "mode": ffi.string(lib.ts_manager_mode(made[0])).decode(),
            "protection": protection,
            "zeroing": zeroing,
            "recycling": recycling,
            "page_bytes": page_bytes,
            "huge_pages": bool(lib.ts_manager_huge(made[0])),
        }
        check(lib.ts_manager(made[0], library.control), "manager")
        # Now, not before: a kernel that cannot do it says so at the first message.
        answer["segmentation"] = bool(lib.ts_manager_segments(made[0]))
    finally:
        left = lib.cs_manager_close(made[0])
    answer["unfinished_transfers"] = left
    return answer


def hog(library: Library, system: str, params: dict[str, Any]) -> dict[str, Any]:
    """Use all the CPU there is."""
    check(lib.ts_hog(library.control, library.counters), "hog")
    return {}


WORKLOADS: dict[str, Callable[[Library, str, dict[str, Any]], dict[str, Any]]] = {
    "source": source,
    "forwarder": forwarder,
    "sink": sink,
    "manager": manager,
    "hog": hog,
    "copier": copier,
    **LOCAL_WORKLOADS,
}


def say(**event: Any) -> None:
    print(json.dumps(event), flush=True)


def obey(control: Any) -> None:
    """Take commands until the end of stdin, which means stop."""
    try:
        for line in sys.stdin:
            command = json.loads(line)
            if command["command"] == "stop":
                break
            if command["command"] == "expect":
                lib.ts_control_expect(control, command["count"])
            if command["command"] == "pace":
                per_second = command["rate_mbps"] * 1e6 / 8 / command["size"]
                check(lib.ts_control_pace(control, per_second, command["size"]), "pace")
    finally:  # also when a command makes no sense: nobody could be obeyed any more
        lib.ts_control_stop(control)


def announce(control: Any, over: threading.Event) -> None:
    """Say ready when the loop is."""
    while not over.is_set() and not lib.ts_control_ready(control):
        time.sleep(0.001)
    if lib.ts_control_ready(control):
        say(event="ready")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--counters-fd", type=int, required=True)
    options = parser.parse_args()
    try:
        spec = json.loads(sys.stdin.readline())
        if spec["workload"] not in WORKLOADS:
            raise Refused(f"workload: {spec['workload']!r} given, one of {', '.join(WORKLOADS)} expected")
        library = Library(options.counters_fd)
        over = threading.Event()
        threading.Thread(target=obey, args=[library.control], daemon=True).start()
        herald = threading.Thread(target=announce, args=[library.control, over])
        herald.start()
        try:
            result = WORKLOADS[spec["workload"]](library, spec["system"], spec["params"])
        finally:
            over.set()
            herald.join()
    except (Refused, OSError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        if isinstance(error, Refused):
            say(event="error", message=str(error), field=error.field)
        else:
            say(event="error", message=f"{type(error).__name__}: {error}")
        return 1
    say(event="done", result=result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
