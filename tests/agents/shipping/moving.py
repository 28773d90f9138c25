"""The picture that a moving server draws (workloads/picture.c), drawn here once more, pixel by pixel."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
"""Rows, columns, samples."""

GLYPHS = (
    "111101101101111",
    "010110010010111",
    "111001111100111",
    "111001111001111",
    "101101111001001",
    "111100111001111",
    "111100111101111",
    "111001001001001",
    "111101111101111",
    "111101111001111",
)


def number_in(pixels: bytes) -> int:
    """The number that the server has put into its frame: its first eight bytes."""
    return int.from_bytes(pixels[:8], "little")


def moving(number: int, width: int, height: int, samples: int = 1) -> Pixels:
    """The frame of that number, but for what the server marks its memory with: see `same`."""
    x, y = np.arange(width), np.arange(height)[:, None]
    grey = 32 + y * 128 // height + ((x // 32 + y // 32) % 2) * 24
    grey[:, (x - number * (width // 128 + 1)) % width < width // 32 + 1] = 255
    dot = min(height // 60, width // 64)
    if dot:
        box = np.zeros((7, 33), dtype=int)
        for place, digit in enumerate(f"{number % 10**8:08}"):
            bits = [int(bit) * 255 for bit in GLYPHS[int(digit)]]
            box[1:6, 1 + place * 4 : 4 + place * 4] = np.array(bits).reshape(5, 3)
        grey[dot : 8 * dot, dot : 34 * dot] = box.repeat(dot, axis=0).repeat(dot, axis=1)
    pixels = np.repeat(grey[:, :, None], samples, axis=2).astype(np.uint8)
    if samples == 4:
        pixels[:, :, 3] = 255  # opaque
    return pixels


def same(pixels: bytes, expected: Pixels) -> bool:
    """Whether a frame is that one everywhere but at the number and the marks, at its beginning and end."""
    return len(pixels) == expected.size and pixels[16:-8] == expected.tobytes()[16:-8]
