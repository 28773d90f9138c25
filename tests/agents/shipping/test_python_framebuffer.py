"""Frame buffers from Python: frames written, looked at and saved as they are; what is refused."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from agents.processes import REPOSITORY
from agents.shipping import Attachment
from agents.shipping.framebuffer import Frame, Framebuffer, Geometry
from agents.shipping.viewer import png
from tests.agents.shipping.api_host import SOON, Host, fill

pytestmark = pytest.mark.root

CHANNELS = {8: 1, 24: 3, 32: 4}


def picture(geometry: Geometry, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(geometry.frame_bytes)


def read_png(path: Path, bits: int) -> bytes:
    """By another's decoder, back to bytes."""
    pixels = np.rint(imread(path) * 255).astype(np.uint8)
    assert pixels.ndim == (2 if bits == 8 else 3)
    assert bits == 8 or pixels.shape[2] == CHANNELS[bits]
    data: bytes = pixels.tobytes()
    return data


def viewer(whose: list[str], out: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agents.shipping.viewer", *whose, "--out", str(out)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=SOON,
    )


@pytest.fixture
def screen(host: Attachment) -> Framebuffer:
    return host.open_framebuffer("screen", timeout=SOON)


@pytest.mark.parametrize("bits", [8, 24, 32])
def test_a_frame_is_saved_pixel_for_pixel(
    bits: int, served: Host, host: Attachment, screen: Framebuffer, tmp_path: Path
) -> None:
    screen.geometry = shown = Geometry(333, 77, bits)
    assert screen.geometry == shown
    data, half = picture(shown), shown.frame_bytes // 2
    with host.view_framebuffer("screen") as view:
        assert view.frame() is None
        screen.write([fill(host.alloc(half), data[:half])])
        screen.drain()
        assert view.frame() is None
        screen.write([fill(host.alloc(shown.frame_bytes), data[half:])])
        screen.drain()
        assert view.frame() == Frame(1, shown, data)
    out = tmp_path / "frame.png"
    done = viewer(["--socket", str(served[0]), "--name", "screen"], out)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert read_png(out, bits) == data


def test_with_dma_a_view_shows_the_frame_of_the_moment(
    served: Host, host: Attachment, screen: Framebuffer, tmp_path: Path
) -> None:
    screen.geometry = shown = Geometry(333, 77, 24, dma=True)
    assert screen.geometry == shown
    with host.view_framebuffer("screen") as view:
        assert view.frame() is None
        for number in range(1, 6):
            screen.write([fill(host.alloc(shown.frame_bytes), picture(shown, number))])
            screen.drain()
            if number % 2:
                assert view.frame() == Frame(number, shown, picture(shown, number))
        screen.close()
        assert view.frame() == Frame(5, shown, picture(shown, 5))
    with pytest.raises(OSError):
        view.frame()
    out = tmp_path / "frame.png"
    done = viewer(["--socket", str(served[0]), "--name", "screen"], out)
    assert done.returncode == 0, done.stderr
    assert read_png(out, 24) == picture(shown, 5)


def test_what_the_viewer_cannot_save_it_says(
    served: Host, host: Attachment, screen: Framebuffer, tmp_path: Path
) -> None:
    screen.geometry = Geometry(10, 10)
    manager = ["--socket", str(served[0]), "--name"]
    for whose, said in (
        ([*manager, "screen"], "has not shown a whole frame yet"),
        ([*manager, "none"], "frame buffer none: No such file or directory (a `linux` display has"),
        (["--pid", str(os.getpid())], f"process {os.getpid()} has no frame buffer of its own"),
        (["--pid", "4194304"], "there is no process 4194304"),  # one more than the kernel gives
    ):
        done = viewer(whose, tmp_path / "frame.png")
        assert done.returncode == 1
        assert said in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "frame.png").exists()


def test_a_view_follows_a_change_of_geometry(host: Attachment, screen: Framebuffer) -> None:
    screen.geometry = small = Geometry(8, 8)
    with host.view_framebuffer("screen") as view:
        screen.write([fill(host.alloc(64), picture(small))])
        screen.drain()
        assert view.frame() == Frame(1, small, picture(small))
        screen.geometry = large = Geometry(100, 50, 24, bus_limit=72_000_000)
        assert view.frame() is None
        for seed in range(20):
            screen.write([fill(host.alloc(large.frame_bytes), picture(large, seed))])
        screen.drain()
        assert view.frame() == Frame(20, large, picture(large, 19))


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ((0, 10), "width of 0"),
        ((10, 16385), "height of 16385"),
        ((10, 10, 16), "16 bits"),
        ((16384, 16384), "frame of 268435456 bytes"),
        ((10, 10, 8, 0), "limit of 0"),
        ((10, 10, 8, 10**10 + 1), "limit of 10000000001"),
    ],
)
def test_an_impossible_geometry_is_named(wanted: tuple[int, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Geometry(*wanted)  # type: ignore[arg-type]


def test_what_is_refused(host: Attachment, screen: Framebuffer) -> None:
    screen.geometry = Geometry(10, 10)
    with pytest.raises(OSError) as unsupported:
        screen.read(100, max_containers=1)
    assert unsupported.value.errno == errno.EOPNOTSUPP
    screen.write([fill(host.alloc(50), bytes(50))])
    with pytest.raises(OSError) as busy:
        screen.geometry = Geometry(20, 20)
    assert busy.value.errno == errno.EBUSY
    with pytest.raises(FileNotFoundError):
        host.view_framebuffer("none")
    with pytest.raises(ValueError, match="1 to 63 bytes"):
        host.open_framebuffer("x" * 64)


def test_a_file_is_made_of_what_a_decoder_reads(tmp_path: Path) -> None:
    one = Geometry(1, 1)
    (tmp_path / "one.png").write_bytes(png(Frame(1, one, b"\x2a")))
    assert read_png(tmp_path / "one.png", 8) == b"\x2a"
