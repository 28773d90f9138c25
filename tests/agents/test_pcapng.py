"""The blocks of a capture, read by another reader than ours wrote them with."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agents import pcapng
from tests.agents.pcapng_reader import read


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**63), st.binary(max_size=70), st.integers(0, 2**16), st.sampled_from([1, 2])
        ),
        max_size=5,
    )
)
def test_what_is_written_is_read(frames: list[tuple[int, bytes, int, int]]) -> None:
    stream = pcapng.header("eth0", "middle eth0 of lab rings", 9000)
    for when, frame, more, direction in frames:
        stream += b"".join(pcapng.packet(when, frame, len(frame) + more, direction))
    stream += pcapng.statistics(7, 2**40, 3)
    found = read(stream)
    assert found.interface == ("eth0", "middle eth0 of lab rings", 9000)
    assert found.frames == [
        (when, frame, len(frame) + more, direction) for when, frame, more, direction in frames
    ]
    assert found.statistics == [(7, 2**40, 3)]
