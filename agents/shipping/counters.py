"""Read the counters that a workload's C code keeps in shared memory. No call into the workload, no packet."""

from __future__ import annotations

import mmap
import struct

SEGMENT_BYTES = 65536  # CS_COUNTERS_BYTES
MAGIC = 0x31435354  # CS_COUNTERS_MAGIC
HEADER = struct.Struct("=IIQ")  # core/counters.h: struct cs_counters
ENTRY = struct.Struct("=40sQ")  # core/counters.h: struct cs_counter_entry
ATTEMPTS = 4  # a writer renames for some nanoseconds, rarely; garbage must not be read for ever


def read(fd: int) -> dict[str, int]:
    """All counters of the segment behind fd by name; empty before its owner has stamped it.

    Each value is a 64-bit unsigned integer that only grows, except names ending in `_backlog` and
    `containers_<state>`, which are levels. Values are one consistent word each, not one moment in time.
    """
    with mmap.mmap(fd, SEGMENT_BYTES, mmap.MAP_SHARED, mmap.PROT_READ) as segment:
        for _ in range(ATTEMPTS):
            magic, count, renames = HEADER.unpack_from(segment, 0)
            if magic != MAGIC:
                return {}
            room = (SEGMENT_BYTES - HEADER.size) // ENTRY.size
            counters = {}
            for i in range(min(count, room)):
                name, value = ENTRY.unpack_from(segment, HEADER.size + i * ENTRY.size)
                if name[0]:
                    counters[name.rstrip(b"\0").decode("ascii", "replace")] = value
            if renames % 2 == 0 and HEADER.unpack_from(segment, 0)[2] == renames:
                break  # no entry got another name meanwhile
        return counters
