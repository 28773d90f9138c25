"""`bench soak`: its scenes are what the orchestrator accepts, and what went wrong is told."""

from __future__ import annotations

import os
import sys
from random import Random
from subprocess import Popen

from benchmarks.soak import Books, scenes
from benchmarks.soak.processes import descendants, size
from orchestrator.engine import LocalEngine


def test_every_experiment_of_a_soak_is_one() -> None:
    for seed in range(200):
        LocalEngine().topology("soak", {"document": scenes.experiment(Random(seed))})


def test_the_same_number_is_the_same_scene() -> None:
    assert scenes.experiment(Random(7)) == scenes.experiment(Random(7)) != scenes.experiment(Random(8))


def test_books_that_do_not_balance_and_failed_trials_are_told() -> None:
    books = Books()
    books.look("r", {"number": 0, "valid": True, "failed": False, "reasons": [], "books": {"problems": []}})
    late = {"number": 1, "valid": False, "failed": False, "reasons": ["late"], "books": {"problems": []}}
    books.look("r", late)
    assert (books.trials, books.invalid, books.wrong) == (2, 1, [])
    lost = {"problems": ["ring-a: 1 datagram vanished"]}
    books.look("r", {"number": 2, "valid": False, "failed": False, "reasons": [], "books": lost})
    books.look("r", {"number": 3, "valid": False, "failed": True, "reasons": ["it died"]})
    assert books.wrong == ["r, trial 2: ring-a: 1 datagram vanished", "r, trial 3: it died"]


def test_all_below_a_process_are_seen_and_weighed() -> None:
    with Popen([sys.executable, "-c", "print(flush=True); input()"], stdin=-1, stdout=-1) as child:
        assert child.stdin and child.stdout
        child.stdout.readline()
        assert "input()" in descendants(os.getpid())[child.pid]
        memory, descriptors = size(child.pid)
        assert memory > 1 and descriptors >= 3
        child.stdin.close()
    assert child.pid not in descendants(os.getpid())
