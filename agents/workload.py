"""A workload process: one C loop of libshipping, told what to do by its host agent.

    python -m agents.workload --counters-fd N

The first line on stdin is the specification, `{"workload", "system", "params"}`; later lines are commands,
`{"command": "stop"}` or `{"command": "expect", "count": N}`; the end of stdin is `stop`. On stdout, one JSON
object a line: `{"event": "ready"}`, then `{"event": "done", "result": {...}}` or `{"event": "error",
"message": ...}`. The loop runs in the main thread with the GIL released; counters go to the memory behind N.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from agents.shipping._shipping import ffi, lib

LOOK_AROUND_MS = 100
"""How often a blocked loop looks at its stop flag."""
MAX_SIZE = 65507
"""Bytes in the largest UDP datagram (RFC 768 over RFC 791)."""
MAX_QUEUE = 65536
"""Datagrams that may wait, at most (core/control.c)."""


HEADER_BYTES = 28
"""What a sink looks at of each datagram (TS_HEADER_BYTES)."""
BIN_NS = 10_000_000
"""Width of the sink's bins of arrivals (TS_BIN_NS)."""


class Refused(Exception):
    """The specification cannot be done; the message says which field, what it was, and what is allowed."""


def need(params: dict[str, Any], name: str, kind: type | tuple[type, ...], allowed: str) -> Any:
    """The parameter of that name, or Refused."""
    value = params.get(name)
    if isinstance(value, bool) or not isinstance(value, kind):
        raise Refused(f"params.{name}: {value!r} given, {allowed} expected")
    return value


def whole(params: dict[str, Any], name: str, default: int, lowest: int, highest: int) -> int:
    """The parameter of that name, a whole number from lowest to highest, or Refused."""
    value = params.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise Refused(f"params.{name}: {value!r} given, a whole number from {lowest} to {highest} expected")
    return value


def one_of(params: dict[str, Any], name: str, default: Any, allowed: tuple[Any, ...]) -> Any:
    """The parameter of that name, which must be one of these values of the default's type, or Refused."""
    value = params.get(name, default)
    if type(value) is not type(default) or value not in allowed:
        raise Refused(
            f"params.{name}: {value!r} given, one of {', '.join(map(json.dumps, allowed))} expected"
        )
    return value


def above_zero(params: dict[str, Any], name: str, unit: str) -> float:
    """The parameter of that name, a finite number above zero, or Refused."""
    value = float(need(params, name, (int, float), f"a number of {unit}"))
    if not 0 < value < math.inf:
        raise Refused(f"params.{name}: {value!r} given, a number of {unit} above zero expected")
    return value


def address(text: str, field: str) -> tuple[int, int]:
    """ "10.1.0.1:9000" or "10.1.0.1" as (address, port) in host byte order; port 0 when there is none."""
    host, _, port = text.partition(":")
    try:
        number = int(port or 0)
        if not 0 <= number <= 65535:
            raise ValueError(port)
        return int(ipaddress.IPv4Address(host)), number
    except ValueError:
        raise Refused(
            f"params.{field}: {text!r} given, an IPv4 address and port such as 10.1.0.1:9000 expected"
        ) from None


class Library:
    """The C side of one workload: what stays allocated while the loop runs, and its control block."""

    def __init__(self, counters_fd: int) -> None:
        self.control = ffi.new("struct ts_control *")
        self.counters = lib.cs_counters_open(counters_fd)
        if self.counters == ffi.NULL:
            raise Refused(
                f"cannot map the counters behind descriptor {counters_fd}: {os.strerror(ffi.errno)}"
            )
        self._kept: list[Any] = []

    def system(self, name: str) -> Any:
        ops = lib.io_system(name.encode())
        if ops == ffi.NULL:
            raise Refused(f"system: {name!r} given, one of {', '.join(systems())} expected")
        return ops

    def io(self, ops: Any, params: dict[str, Any], local: str, remote: str | None, into: Any) -> None:
        """Fill a struct io_config from the parameters named local and remote."""
        into.local, into.local_port = address(need(params, local, str, "an address"), local)
        if remote is not None:
            into.remote, into.remote_port = address(need(params, remote, str, "an address"), remote)
        into.queue = whole(params, "queue_datagrams", 1024, 1, MAX_QUEUE)
        into.size = whole(params, "size", MAX_SIZE, 1, MAX_SIZE)
        into.timeout_ms = LOOK_AROUND_MS
        if ops.on_our_stack:
            path = ffi.new("char[]", need(params, "manager_socket", str, "a path").encode())
            self._kept.append(path)
            into.manager_socket = path


def systems() -> list[str]:
    """The names of the I/O systems, in the order of the table."""
    names: list[str] = []
    while (ops := lib.io_system_at(len(names))) != ffi.NULL:
        names.append(ffi.string(ops.name).decode())
    return names


def check(error: int, attempt: str) -> None:
    """Raise Refused if a C call returned a negative errno value."""
    if error < 0:
        raise Refused(f"{attempt}: {os.strerror(-error)}")


def fields(struct: Any) -> dict[str, Any]:
    """The plain numbers of a result struct."""
    kind = ffi.typeof(struct).item
    return {name: getattr(struct, name) for name, field in kind.fields if field.type.kind == "primitive"}


def source(library: Library, system: str, params: dict[str, Any]) -> dict[str, Any]:
    """Send `size`-byte datagrams at `rate_mbps` (10^6 payload bits per second) for warm-up and duration."""
    ops = library.system(system)
    config, result = ffi.new("struct ts_source_config *"), ffi.new("struct ts_source_result *")
    library.io(ops, params, "local", "remote", config.io)
    config.flow = need(params, "flow", int, "a number")
    config.datagrams_per_second = above_zero(params, "rate_mbps", "Mb/s") * 1e6 / 8 / config.io.size
    config.warmup_ns = int(params.get("warmup_s", 0) * 1e9)
    config.duration_ns = int(above_zero(params, "duration_s", "seconds") * 1e9)
    check(lib.ts_source(ops, config, library.control, library.counters, result), f"source over {system}")
    answer = fields(result)
    seconds = (answer["t1_ns"] - answer["t0_ns"]) / 1e9
    answer["offered_mbps"] = answer["sent_measured"] * config.io.size * 8 / 1e6 / seconds if seconds else 0.0
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
    check(
        lib.ts_forwarder(ops, config, library.control, library.counters, result), f"forwarder over {system}"
    )
    return fields(result)


def sink(library: Library, system: str, params: dict[str, Any]) -> dict[str, Any]:
    """Count what comes in at `local`; loss, duplicates and reordering apart."""
    ops = library.system(system)
    config, result = ffi.new("struct ts_sink_config *"), ffi.new("struct ts_sink_result *")
    library.io(ops, params, "local", None, config.io)
    config.io.wanted = HEADER_BYTES
    config.flow = need(params, "flow", int, "a number")
    check(lib.ts_sink(ops, config, library.control, library.counters, result), f"sink over {system}")
    answer = fields(result)
    answer["lost_ranges"] = [[r.first, r.last] for r in result.lost_range[0 : result.lost_ranges]]
    answer["duplicate_list"] = list(result.duplicate_list[0 : result.duplicate_list_count])
    answer["bin_ns"] = BIN_NS
    answer["bin"] = list(result.bin[0 : result.bins])
    seconds = (answer["last_ns"] - answer["first_ns"]) / 1e9
    answer["busy"] = answer["busy_ns"] / 1e9 / seconds if seconds > 0 else 0.0
    return answer


def manager(library: Library, system: str, params: dict[str, Any]) -> dict[str, Any]:
    """The host's manager: serves its stack on `interfaces` and processes on `socket`."""
    config = ffi.new("struct cs_manager_config *")
    interfaces = need(params, "interfaces", list, "a list of interfaces")
    if not 1 <= len(interfaces) <= len(config.interface):
        raise Refused(f"params.interfaces: {len(interfaces)} given, 1 to {len(config.interface)} expected")
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
    made, error = ffi.new("struct cs_manager **"), ffi.new("char[]", 256)
    if lib.cs_manager_open(made, config, library.counters, error, len(error)) < 0:
        raise Refused(ffi.string(error).decode())
    try:
        answer = {
            "backend": ffi.string(lib.ts_manager_backend(made[0])).decode(),
            "mode": ffi.string(lib.ts_manager_mode(made[0])).decode(),
        }
        check(lib.ts_manager(made[0], library.control), "manager")
        # Now, not before: a kernel that cannot do it says so at the first message.
        answer["segmentation"] = bool(lib.ts_manager_segments(made[0]))
    finally:
        lib.cs_manager_close(made[0])
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
        say(
            event="error",
            message=str(error) if isinstance(error, Refused) else f"{type(error).__name__}: {error}",
        )
        return 1
    say(event="done", result=result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
