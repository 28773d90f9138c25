"""Counters are read without trusting what is in the segment."""

import os
import random
import struct
from collections.abc import Iterator

import pytest

from agents.shipping import counters
from agents.shipping._shipping import ffi, lib


@pytest.fixture
def segment() -> Iterator[int]:
    fd = os.memfd_create("counters")
    os.ftruncate(fd, counters.SEGMENT_BYTES)
    yield fd
    os.close(fd)


def test_a_segment_that_nobody_stamped_has_no_counters(segment: int) -> None:
    assert counters.read(segment) == {}


def test_a_stamped_segment_without_counters_is_empty(segment: int) -> None:
    mapped = lib.cs_counters_open(segment)
    assert mapped != ffi.NULL
    assert counters.read(segment) == {}
    lib.cs_counters_close(mapped)


def test_the_place_of_a_released_counter_is_for_the_next_name(segment: int) -> None:
    mapped = lib.cs_counters_open(segment)
    lib.cs_counter_get(mapped, b"kept")
    for n in range(10000):
        passing = lib.cs_counter_get(mapped, b"passing%d" % n)
        assert passing == lib.cs_counter_get(mapped, b"passing%d" % n)
        if n % 1000 == 0:
            assert counters.read(segment) == {"kept": 0, f"passing{n}": 0}
        lib.cs_counter_release(mapped, passing)
    assert counters.read(segment) == {"kept": 0}
    lib.cs_counters_close(mapped)


def test_a_full_segment_counts_into_nothing(segment: int) -> None:
    mapped = lib.cs_counters_open(segment)
    for n in range(1400):
        last = lib.cs_counter_get(mapped, b"counter%d" % n)
    lib.cs_counter_release(mapped, last)  # it is in no segment
    assert set(counters.read(segment)) == {f"counter{n}" for n in range(1365)}
    lib.cs_counters_close(mapped)


def test_a_count_beyond_the_segment_is_not_followed(segment: int) -> None:
    os.pwrite(segment, struct.pack("=IIQ", counters.MAGIC, 0xFFFFFFFF, 0), 0)
    os.pwrite(segment, struct.pack("=40sQ", b"datagrams_in", 2**64 - 1), 16)
    assert counters.read(segment)["datagrams_in"] == 2**64 - 1


def test_garbage_is_read_without_an_error(segment: int) -> None:
    numbers = random.Random(2)
    for _ in range(20):
        os.pwrite(segment, numbers.randbytes(counters.SEGMENT_BYTES), 0)
        assert counters.read(segment) == {}
        os.pwrite(segment, struct.pack("=I", counters.MAGIC), 0)
        assert all(isinstance(name, str) for name in counters.read(segment))


def test_what_is_no_segment_is_an_error() -> None:
    fd = os.memfd_create("too short")
    try:
        with pytest.raises(ValueError, match="length"):
            counters.read(fd)
    finally:
        os.close(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        counters.read(fd)
