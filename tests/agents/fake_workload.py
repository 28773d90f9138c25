"""A workload process that keeps the protocol, or breaks it in the way that params["behave"] names."""

from __future__ import annotations

import json
import mmap
import os
import signal
import struct
import sys
import time

HEADER = struct.Struct("=IIQ")
ENTRY = struct.Struct("=40sQ")
MAGIC = 0x31435354


def count(descriptor: int, counters: dict[str, int]) -> None:
    with mmap.mmap(descriptor, 65536) as segment:
        for index, (name, value) in enumerate(counters.items()):
            ENTRY.pack_into(segment, HEADER.size + index * ENTRY.size, name.encode(), value)
        HEADER.pack_into(segment, 0, MAGIC, len(counters), 0)


def say(**event: object) -> None:
    print(json.dumps(event), flush=True)


def main() -> int:
    descriptor = int(sys.argv[sys.argv.index("--counters-fd") + 1])
    spec = json.loads(sys.stdin.readline())
    params = spec["params"]
    behave = params.get("behave", "well")
    if behave == "refuse":
        say(event="error", message="the address 10.9.9.9 is not one of this host's")
        return 1
    if behave == "crash":
        print("a reason on stderr", file=sys.stderr)
        return 3
    if behave == "garbage":
        print("Warning: hello", flush=True)
        time.sleep(60)
    if behave == "megabytes":
        sys.stdout.write("x" * (3 << 20) + "\n")
        sys.stdout.flush()
        time.sleep(60)
    if behave == "binary":
        os.write(1, b'\xff\x00[[[[{"event":\n')
        time.sleep(60)
    if behave == "shrink counters":
        try:
            os.ftruncate(descriptor, 0)
        except OSError as error:
            say(event="error", message=f"shrinking is refused: {error.strerror}")
        return 1
    if behave == "never ready":
        time.sleep(60)
    count(descriptor, params.get("counters", {}))
    say(event="ready")
    if behave == "finish":
        say(event="done", result={"sent": 7})
        return 0
    if behave == "die":
        os.kill(os.getpid(), signal.SIGSEGV)
    if behave == "linger":
        say(event="done", result={"sent": 7})
    if behave in ("linger", "ignore stop"):
        time.sleep(60)
    told: list[object] = []
    for line in sys.stdin:
        command = json.loads(line)
        if command["command"] == "stop":
            break
        told.append(command)
        if command["command"] == "finish":
            break
    say(event="done", result={"told": told, "params": params, "workload": spec["workload"]})
    return 0


if __name__ == "__main__":
    sys.exit(main())
