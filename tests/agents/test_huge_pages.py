"""While a machine agent runs, the kernel may make large pages; afterwards the limit is what it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.huge_pages import PAGES, may_be_made


@pytest.fixture
def limit(tmp_path: Path) -> Path:
    path = tmp_path / "nr_overcommit_hugepages"
    path.write_text("3\n")
    return path


def test_the_limit_is_raised_and_what_it_was_again(tmp_path: Path, limit: Path) -> None:
    with may_be_made(tmp_path, limit):
        assert int(limit.read_text()) == 3 + PAGES
    assert int(limit.read_text()) == 3


def test_two_agents_of_a_machine_do_not_undo_each_other(tmp_path: Path, limit: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    with may_be_made(tmp_path / "a", limit):
        with may_be_made(tmp_path / "b", limit):
            pass
        assert int(limit.read_text()) == 3 + PAGES
    assert int(limit.read_text()) == 3


def test_what_a_killed_agent_left_is_taken_back_by_the_next(tmp_path: Path, limit: Path) -> None:
    limit.write_text(f"{3 + PAGES}\n")
    (tmp_path / "huge-pages").write_text(f"{PAGES}\n")
    with may_be_made(tmp_path, limit):
        assert int(limit.read_text()) == 3 + PAGES
    assert int(limit.read_text()) == 3


def test_a_machine_that_has_no_such_limit_does_without(tmp_path: Path) -> None:
    with may_be_made(tmp_path, tmp_path / "missing" / "limit"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_somebody_who_lowered_it_meanwhile_is_no_error(tmp_path: Path, limit: Path) -> None:
    with may_be_made(tmp_path, limit):
        limit.write_text("0\n")
    assert int(limit.read_text()) == 0
