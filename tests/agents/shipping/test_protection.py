"""What a hostile process reaches in each protection tier: real attempts, and the table that tells of them.

The table in docs/protection.md is what these attempts came to; a test fails when it is not. To write it anew:

    .venv/bin/python -m tests.agents.shipping.test_protection
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.agents.shipping.programs import CORE, MEMORY, NET, SKIP, Workshop, behaviours
from tests.support import LIMIT_S, PATIENCE_S

PAGE = Path(__file__).resolve().parents[3] / "docs" / "protection.md"
BEGIN, END = "<!-- written by tests/agents/shipping/test_protection.py -->", "<!-- end -->"
TIERS = ("cooperative", "write-revoked", "strict")
PROGRAMS = {
    "hostile_memory": "pages that it gave away, or never had",
    "hostile_kernel": "pages that the kernel may keep for it",
    "hostile_protocol": "what it shares with others",
}
OUTCOMES = {0: "prevented", 10: "detected", 11: "possible"}
AT_ONCE = 4

# What the tiers are for: whatever the table says of the rest, these hold.
PROMISED = {
    "write-revoked": {
        "write_after_giving",
        "have_the_kernel_write_after_giving",
        "write_through_proc_self_mem_after_giving",
        "make_the_mapping_writable_again",
        "undo_the_protection_with_a_second_userfaultfd",
        "put_in_another_s_page_with_a_second_userfaultfd",
        "touch_a_page_that_was_never_its_own",
        "find_it_behind_any_descriptor",
        "keep_it_through_a_child",
        "keep_it_through_mremap",
        "map_it_twice",
        "keep_a_descriptor_of_it",
        "keep_it_opened_again_for_reading",
        "keep_it_by_open_tree",
        "keep_it_in_a_pipe",
        "keep_it_in_a_pipe_of_an_accomplice",
        "keep_it_in_a_pipe_by_its_descriptor",
        "keep_it_by_O_PATH",
        "keep_it_registered_with_io_uring",
        "keep_it_in_a_socket_by_MSG_ZEROCOPY",
        "keep_it_under_way_by_a_ring_of_io_uring_that_it_had",
        "keep_it_under_way_by_io_submit",
        "ask_to_map_what_it_gave_away",
        "ask_to_map_what_it_never_owned",
        "attach_once_more",
        "take_it_from_the_manager",
        "take_it_from_its_owner",
    },
}
PROMISED["strict"] = PROMISED["write-revoked"] - {"keep_it_in_a_pipe_of_an_accomplice"} | {
    "read_after_giving",
    "read_through_proc_self_mem_after_giving",
    "attach_by_its_own_rules",
    "keep_it_through_a_child_unshielded",
    "keep_it_through_mremap_unshielded",
}
# Of every tier: nobody can spoil what the manager keeps for all.
KEPT = set(behaviours("hostile_protocol")) - {
    "ask_to_map_what_it_gave_away",
    "ask_to_map_what_it_never_owned",
    "attach_once_more",
    "attach_by_its_own_rules",
    "take_it_from_the_manager",
}

Outcomes = dict[tuple[str, str], str]


def words(attempt: str) -> str:
    text = re.sub(r"_s(?=_|$)", "'s", attempt).replace("_", " ")
    return (
        text.replace("proc self mem", "`/proc/self/mem`")
        .replace("io uring", "`io_uring`")
        .replace("O PATH", "`O_PATH`")
        .replace("open tree", "`open_tree`")
        .replace("io submit", "`io_submit`")
        .replace("MSG ZEROCOPY", "`MSG_ZEROCOPY`")
    )


def outcome(program: Path, attempt: str, tier: str) -> str:
    """What came of the attempt. The test is skipped where this machine cannot make it, or fails."""
    done = subprocess.run(
        [program, attempt],
        cwd=program.parent,
        env={**os.environ, "TIER": str(TIERS.index(tier))},
        capture_output=True,
        text=True,
        timeout=LIMIT_S - PATIENCE_S,
    )
    if done.returncode == SKIP:
        pytest.skip(f"{attempt}: not on this machine")
    assert done.returncode in OUTCOMES, f"{attempt} ({tier}) ended with {done.returncode}\n{done.stderr}"
    return OUTCOMES[done.returncode]


def attempts(workshop: Workshop) -> Outcomes:
    """Every attempt in every tier."""
    asked = {
        (attempt, tier): workshop.build(program, [*CORE, *NET], MEMORY, "fake_wire")
        for program in PROGRAMS
        for attempt in behaviours(program)
        for tier in TIERS
    }
    with ThreadPoolExecutor(AT_ONCE) as pool:  # they wait more than they work
        done = pool.map(lambda one: outcome(asked[one], *one), asked)
        return dict(zip(asked, done, strict=True))


def table(found: Outcomes) -> str:
    lines = [BEGIN]
    for program, what in PROGRAMS.items():
        lines += ["", f"| a hostile process and {what} | {' | '.join(TIERS)} |", "|---|---|---|---|"]
        for attempt in behaviours(program):
            states = " | ".join(found[attempt, tier] for tier in TIERS)
            lines.append(f"| {words(attempt)} | {states} |")
    return "\n".join([*lines, "", END])


@pytest.fixture(scope="module")
def found(workshop: Workshop) -> Outcomes:
    return attempts(workshop)


@pytest.mark.parametrize("tier", PROMISED)
def test_a_tier_keeps_what_it_promises(found: Outcomes, tier: str) -> None:
    reached = {attempt for attempt in PROMISED[tier] if found[attempt, tier] == "possible"}
    assert reached == set()


@pytest.mark.parametrize("tier", TIERS)
def test_nobody_spoils_what_all_share(found: Outcomes, tier: str) -> None:
    assert {attempt for attempt in KEPT if found[attempt, tier] == "possible"} == set()


def test_the_attempts_can_succeed(found: Outcomes) -> None:
    """Where nothing is protected each does: else it would say nothing about the other tiers."""
    failed = {a for p in PROGRAMS for a in behaviours(p) if found[a, "cooperative"] != "possible"}
    assert failed <= KEPT


def test_the_documented_table_is_what_happens(found: Outcomes) -> None:
    assert table(found) in PAGE.read_text(), f"stale: {__doc__}"


def write() -> None:
    with tempfile.TemporaryDirectory() as directory:
        made = table(attempts(Workshop(Path(directory))))
    text = PAGE.read_text()
    start, end = text.index(BEGIN), text.index(END) + len(END)
    PAGE.write_text(text[:start] + made + text[end:])


if __name__ == "__main__":
    write()
