"""A capture: `python -m agents.capture`, started by the machine agent, which reads the pcapng stream from its
stdout.

Its setup (`agents.attendant.Attendance`, `agents.requests.Capture`) is the first line of standard input; the
end of that ends the capture. The interface's statistics are written when drops were counted, and at the end.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from agents import pcapng
from agents.attendant import attend
from agents.host_privileges import KEPT
from agents.packet_ring import Frame, PacketRing
from agents.requests import Capture

LOOK_S = 1.0
"""How often drops are looked for."""
STDIN, STDOUT = 0, 1


def capture(asked: Capture) -> None:
    """Writes until the limit is reached or standard input ends; a slow reader makes the kernel drop."""
    left = asked.limit
    with PacketRing(asked.interface) as ring:
        _write([pcapng.header(asked.interface, asked.description, asked.snaplen)])
        told, looked = 0, time.monotonic()
        while left is None or left > 0:
            if ring.wait([STDIN], LOOK_S):
                break
            for frames in ring.blocks():
                kept = frames[:left]
                left = None if left is None else left - len(kept)
                _write([part for frame in kept for part in _packet(frame, asked.snaplen)])
                if left == 0:
                    break
            if time.monotonic() - looked >= LOOK_S:
                looked = time.monotonic()
                ring.count()
                if ring.dropped > told:
                    told = ring.dropped
                    _write([pcapng.statistics(time.time_ns(), ring.received, ring.dropped)])
        ring.count()
        _write([pcapng.statistics(time.time_ns(), ring.received, ring.dropped)])


def _packet(frame: Frame, snaplen: int) -> tuple[bytes, bytes | memoryview, bytes]:
    direction = pcapng.OUTBOUND if frame.outgoing else pcapng.INBOUND
    return pcapng.packet(frame.when_ns, frame.data[:snaplen], frame.length, direction)


def _write(parts: list[bytes | memoryview]) -> None:
    rest = memoryview(b"".join(parts))
    while rest:
        rest = rest[os.write(STDOUT, rest) :]


def main() -> int:
    signal.signal(
        signal.SIGHUP, signal.SIG_IGN
    )  # the end of standard input says the same, between two writes
    try:
        capture(attend(Capture, keep=[KEPT["NET_RAW"]]))
    except BrokenPipeError:
        return 0  # nobody reads any more
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
