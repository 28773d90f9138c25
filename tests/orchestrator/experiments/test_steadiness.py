"""What is told of a machine that takes a program's memory away and gives it back."""

from orchestrator.experiments import steadiness


def test_a_page_takes_time_to_touch() -> None:
    found = steadiness.page_touch_us()
    assert found["warm"] > 0
    assert found["rested"] > 0


def test_a_steady_machine_needs_no_word() -> None:
    steady = {"page_touch_us": {"warm": 0.02, "rested": 0.2}}
    assert steadiness.notes(steady, steady) == []


def test_one_that_is_not_steady_before_or_after_is_told_with_both_values() -> None:
    steady = {"page_touch_us": {"warm": 0.02, "rested": 0.2}}
    unsteady = {"page_touch_us": {"warm": 0.03, "rested": 3.14}}
    (note,) = steadiness.notes(steady, unsteady)
    assert "took 0.2 and 3.1 us to touch (0.02 us at once)" in note
    assert len(steadiness.notes(unsteady, steady)) == 1
