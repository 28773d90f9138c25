"""The copier workload: the paper's cp, from its parameters to its result."""

from __future__ import annotations

import os
from typing import Any

from agents.shipping._shipping import ffi, lib
from agents.workload_params import Library, Refused, check, fields, need, whole

MAX_OPERATION = 1 << 20
"""Bytes that one read of a file gives, at most (CS_FILE_MOST)."""
SYSTEMS = ("linux", "shipping")
"""The I/O systems that have files."""


def copier(library: Library, system: str, params: dict[str, Any]) -> dict[str, Any]:
    """Copy the file `source` to `target`, `operation_bytes` at a time: the cp of the paper's Figure 2."""
    if system not in SYSTEMS:
        raise Refused(f"system: {system!r} given, one of {', '.join(SYSTEMS)} expected")
    config, result = ffi.new("struct ts_copier_config *"), ffi.new("struct ts_copier_result *")
    names = {"source": "a path", "target": "a path"}
    if system == "shipping":
        names["manager_socket"] = "a path"
    paths = {name: need(params, name, str, allowed) for name, allowed in names.items()}
    kept = {name: ffi.new("char[]", os.fsencode(path)) for name, path in paths.items()}
    for name, path in kept.items():
        setattr(config, name, path)
    config.operation_bytes = whole(params, "operation_bytes", 128 << 10, 1, MAX_OPERATION)
    source, target = paths["source"], paths["target"]
    if not os.path.isfile(source):
        raise Refused(f"params.source: {source!r} given, the path of a regular file expected")
    if os.path.exists(target) and not os.path.isfile(target):
        raise Refused(f"params.target: {target!r} given, the path of a regular file or of none expected")
    if os.path.exists(target) and os.path.samefile(source, target):
        raise Refused(f"params.target: {target!r} given, another file than params.source expected")
    check(
        lib.ts_copier(config, library.control, library.counters, result),
        f"copier over {system} from {source} to {target}",
    )
    answer = fields(result)
    how = answer.pop("how")
    answer["direct"] = bool(how & lib.CS_FILE_DIRECT)
    engine = "io_uring" if how & lib.CS_FILE_URING else "threads"
    answer["engine"] = engine if system == "shipping" else "read/write"
    return answer
