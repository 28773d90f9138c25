"""The hand-off of descriptors, wake-ups and ownership, in everything that C11 allows memory to do.

The programs explore all executions of core/ring.h and core/pool.c themselves (c/c11.h says how). That they
would find a mistake is shown by making each: every order stronger than relaxed in core/ring.h, weakened
alone, and the rules of the pool's table in RULES, left out alone, must lead to a counterexample.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents.shipping.programs import LIBRARY, MEMORY, POOL, Workshop, behaviours, run
from tests.support import LIMIT_S, PATIENCE_S

MODELS = {"model_ring": [], "model_ownership": POOL}

BUMP = "    next_generation(c);\n"
SET_OWNER = "    own(p, c, owner);"

# What is taken out of core/pool.c, and what is put there.
RULES = {
    "the owner is checked": (" || c->owner != owner", ""),
    "the generation is checked": (" || cs_cid(page, c->generation) != cid", ""),
    "the generation changes with the owner": (BUMP + SET_OWNER, SET_OWNER),
    "the generation is never 0": ("        c->generation++;\n", "        {}\n"),
}


def orders() -> Iterator[tuple[int, str, str]]:
    """Line, function and order of every memory order in core/ring.h that is stronger than relaxed."""
    function = ""
    for line, text in enumerate((LIBRARY / "core" / "ring.h").read_text().splitlines(), start=1):
        if named := re.match(r"static inline .*?(\w+)\(", text):
            function = named[1]
        for order in re.findall(r"memory_order_(\w+)", text):
            if order != "relaxed":
                yield line, function, order


ORDERS = [pytest.param(line, order, id=f"{function}-{order}") for line, function, order in orders()]


def explore(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=LIMIT_S - PATIENCE_S)


@pytest.mark.parametrize("test", behaviours("test_c11"))
def test_the_machine_does_what_c11_allows_and_no_more(workshop: Workshop, test: str) -> None:
    run(workshop.build("test_c11", [], MEMORY), test)


@pytest.mark.parametrize("model", MODELS)
def test_nothing_that_memory_may_do_breaks_the_hand_off(workshop: Workshop, model: str) -> None:
    done = explore(workshop.build(model, MODELS[model], MEMORY))
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) > 10_000  # states: it does explore


def test_the_orders_weakened_here_are_those_the_ring_uses(workshop: Workshop) -> None:
    _, *lines = explore(workshop.build("model_ring", [], MEMORY)).stdout.split()
    assert [int(line) for line in lines] == [line for line, _, _ in orders()]


@pytest.mark.parametrize(("line", "order"), ORDERS)
def test_the_ring_breaks_when_one_order_is_weakened(workshop: Workshop, line: int, order: str) -> None:
    done = explore(workshop.build("model_ring", [], MEMORY), str(line))
    assert done.returncode == 1, done.stderr
    assert ("a wake-up is lost" if order == "seq_cst" else "a descriptor is") in done.stderr


@pytest.mark.parametrize(
    ("line", "order"),
    # the doorbells and the end of a channel hand no container over
    [order for order in ORDERS if order.values[1] != "seq_cst" and "end" not in str(order.id)],
)
def test_ownership_breaks_when_one_order_is_weakened(workshop: Workshop, line: int, order: str) -> None:
    done = explore(workshop.build("model_ownership", POOL, MEMORY), str(line))
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("counterexample:")


@pytest.mark.parametrize("rule", RULES)
def test_ownership_breaks_without_one_rule_of_the_pool(tmp_path: Path, rule: str) -> None:
    kept, left_out = RULES[rule]
    source = (LIBRARY / "core" / "pool.c").read_text()
    assert source.count(kept) == 1
    pool = tmp_path / "pool.c"
    pool.write_text(source.replace(kept, left_out))
    done = explore(Workshop(tmp_path).build("model_ownership", [str(pool), *POOL[1:]], MEMORY))
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("counterexample:")
