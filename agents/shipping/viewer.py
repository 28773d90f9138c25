"""Save what a frame buffer shows: `python -m agents.shipping.viewer --socket S --out frame.png` the host's,
`--pid P` in place of `--socket S` that of a conventional display, which has its own."""

from __future__ import annotations

import argparse
import struct
import sys
import zlib
from dataclasses import replace
from pathlib import Path

from agents.shipping import attach
from agents.shipping.framebuffer import Frame, view_of_process

_COLOUR_TYPE = {8: 0, 24: 2, 32: 6}  # of PNG: grey, R G B, R G B A; each sample one byte
_LEVEL = 1
"""Of zlib: who looks ten times a second wants it soon, not small."""


def shrunk(frame: Frame, width: int | None) -> Frame:
    """The frame at most `width` pixels wide: of each so many rows the first, and of its pixels likewise."""
    shown = frame.geometry
    step = 1 if width is None else -(-shown.width // width)
    if step == 1:
        return frame
    samples, row = shown.bits // 8, shown.width * shown.bits // 8
    smaller = replace(shown, width=-(-shown.width // step), height=-(-shown.height // step))
    pixels = bytearray()
    kept = bytearray(smaller.width * samples)
    for at in range(0, shown.frame_bytes, row * step):
        for sample in range(samples):  # a slice is copied in C
            kept[sample::samples] = frame.pixels[at + sample : at + row : samples * step]
        pixels += kept
    return Frame(frame.number, smaller, bytes(pixels))


def png(frame: Frame) -> bytes:
    """The frame as a PNG file, each pixel as it is."""
    shown = frame.geometry
    row = shown.width * shown.bits // 8
    rows = (b"\0" + frame.pixels[at : at + row] for at in range(0, shown.frame_bytes, row))  # 0: no filter
    header = struct.pack(">IIBBBBB", shown.width, shown.height, 8, _COLOUR_TYPE[shown.bits], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows), _LEVEL)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def look(socket: Path, name: str) -> Frame | None:
    """What the frame buffer of that name shows on the host whose manager serves there."""
    try:
        with attach(socket) as host, host.view_framebuffer(name) as view:
            return view.frame()
    except FileNotFoundError as error:
        hint = "a `linux` display has a frame buffer of its own: --pid"
        raise FileNotFoundError(error.errno, f"{error.strerror} ({hint})") from None


def look_into(pid: int) -> Frame | None:
    """What the display that is that process shows."""
    with view_of_process(pid) as view:
        return view.frame()


def main() -> int:
    """Exit code 0: saved; 1: there was nothing to save, said on stderr."""
    options = argparse.ArgumentParser(description="Save the frame that a frame buffer shows.")
    whose = options.add_mutually_exclusive_group(required=True)
    whose.add_argument("--socket", type=Path, help="the host's: its manager's socket")
    whose.add_argument("--pid", type=int, help="that of a `linux` display, which has its own: its process")
    options.add_argument("--name", default="screen0", help="the frame buffer's name (default: screen0)")
    options.add_argument("--out", type=Path, required=True, help="the PNG file to write")
    chosen = options.parse_args()
    try:
        frame = look_into(chosen.pid) if chosen.socket is None else look(chosen.socket, chosen.name)
        if frame is None:
            raise OSError("the frame buffer has not shown a whole frame yet")
        chosen.out.write_bytes(png(frame))
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    shown = frame.geometry
    print(f"frame {frame.number}: {shown.width} x {shown.height}, {shown.bits} bits", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
