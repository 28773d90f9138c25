"""What every workload does with its specification: check it, call the C library, give a result."""

from __future__ import annotations

import errno
import ipaddress
import json
import math
import os
import re
from collections.abc import Callable
from typing import Any

from agents.shipping._shipping import ffi, lib

LOOK_AROUND_MS = 100
"""How often a blocked loop looks at its stop flag."""
MAX_SIZE = 65507
"""Bytes in the largest UDP datagram (RFC 768 over RFC 791)."""
MAX_QUEUE = 65536
"""Datagrams that may wait, at most (core/control.c)."""
MAX_PATH = 107
"""Bytes in the path of a Unix socket (unix(7))."""


class Refused(Exception):
    """The specification cannot be done; the message says which field, what it was, and what is allowed."""

    @property
    def field(self) -> str | None:
        """The field that the message begins with."""
        field, colon, _ = str(self).partition(": ")
        return field if colon and re.fullmatch(r"workload|system|params(\.\w+)?", field) else None


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

    def local_system(self, name: str) -> Any:
        """The I/O system of that name for local channels, or Refused."""
        ops = lib.io_local_system(name.encode())
        if ops == ffi.NULL:
            raise Refused(f"system: {name!r} given, one of {', '.join(local_systems())} expected")
        return ops

    def text(self, params: dict[str, Any], name: str, what: str, longest: int) -> Any:
        """The parameter of that name as a C string that stays, or Refused."""
        value = need(params, name, str, what).encode()
        if not 1 <= len(value) <= longest or b"\0" in value:
            raise Refused(f"params.{name}: {params[name]!r} given, {what} expected")
        self._kept.append(ffi.new("char[]", value))
        return self._kept[-1]

    def attach(self, ops: Any, params: dict[str, Any], into: Any) -> None:
        """Fill in the manager's socket of a struct io_config, if its system needs one, and count what it
        allocates."""
        if ops.on_our_stack:
            into.manager_socket = self.text(params, "manager_socket", "a path", MAX_PATH)
            lib.cs_count_allocations(self.counters)

    def io(self, ops: Any, params: dict[str, Any], local: str, remote: str | None, into: Any) -> None:
        """Fill a struct io_config from the parameters named local and remote."""
        into.local, into.local_port = address(need(params, local, str, "an address"), local)
        if remote is not None:
            into.remote, into.remote_port = address(need(params, remote, str, "an address"), remote)
        into.queue = whole(params, "queue_datagrams", 1024, 1, MAX_QUEUE)
        into.size = whole(params, "size", MAX_SIZE, 1, MAX_SIZE)
        into.timeout_ms = LOOK_AROUND_MS
        self.attach(ops, params, into)


def _names(at: Callable[[int], Any]) -> list[str]:
    names: list[str] = []
    while (ops := at(len(names))) != ffi.NULL:
        names.append(ffi.string(ops.name).decode())
    return names


def systems() -> list[str]:
    """The names of the I/O systems for datagrams, in the order of the table."""
    return _names(lib.io_system_at)


def local_systems() -> list[str]:
    """The names of those for local channels."""
    return _names(lib.io_local_system_at)


def check(error: int, attempt: str) -> None:
    """Raise Refused if a C call returned a negative errno value."""
    if error < 0:
        raise Refused(f"{attempt}: {os.strerror(-error)}")


WRONG_LOCAL = {
    errno.EADDRINUSE: "a port that nobody uses on this host",
    errno.EADDRNOTAVAIL: "an address of this host",
}


def check_local(error: int, attempt: str, params: dict[str, Any]) -> None:
    """As `check`; what is wrong with the address `params.local` is said of that."""
    if -error in WRONG_LOCAL:
        raise Refused(f"params.local: {params['local']!r} given, {WRONG_LOCAL[-error]} expected")
    check(error, attempt)


def fields(struct: Any) -> dict[str, Any]:
    """The plain numbers of a result struct."""
    kind = ffi.typeof(struct).item
    return {name: getattr(struct, name) for name, field in kind.fields if field.type.kind == "primitive"}
