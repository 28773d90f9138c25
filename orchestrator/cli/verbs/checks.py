"""`test`, `bench`, `doctor`: what looks at Transship and its machine, without an orchestrator."""

import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from orchestrator.cli.connect import format_option
from orchestrator.cli.failures import DONE, FAILED, USAGE, Failure

REPOSITORY = Path(__file__).resolve().parents[3]


@click.command("test", context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def test_verb(arguments: tuple[str, ...]) -> None:
    """Run the tests; ARGUMENTS go to pytest. Without root, what needs root is skipped with the reason."""
    os.chdir(REPOSITORY)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *arguments])


def benchmarks() -> list[str]:
    """The names of the benchmarks there are."""
    folder = REPOSITORY / "benchmarks"
    files = [path.stem for path in folder.glob("*.py")] + [
        path.parent.name for path in folder.glob("*/__init__.py")
    ]
    return sorted(name.replace("_", "-") for name in files if not name.startswith("_"))


@click.command("bench")
@click.argument("name")
@click.option("--quick", is_flag=True, help="Few and short trials.")
@click.option("--trials", type=click.IntRange(1, 1000), help="Trials of each system and factor.")
@format_option
def bench_verb(name: str, quick: bool, trials: int | None, format_: str) -> int:
    """Run the benchmark NAME, such as labs or forwarding, side by side with its peers."""
    known = benchmarks()
    if name not in known:
        raise Failure(f"there is no benchmark {name!r}; there are {', '.join(known)}", USAGE)
    from orchestrator.cli.progress import progress

    benchmark = import_module(f"benchmarks.{name.replace('-', '_')}")
    with progress() as shown:
        result: dict[str, Any] = benchmark.main({"quick": quick, "trials": trials}, shown.show)
    if format_ == "json":
        print(json.dumps(result, indent=2))
    else:
        from orchestrator.cli.tables import console, print_result

        print_result(result, None, console())
    return DONE


@click.command("doctor")
@format_option
def doctor_verb(format_: str) -> int:
    """Say what this machine can and cannot do, and what follows. Exit status 1 if labs cannot be used."""
    from orchestrator.doctor import examine, usable

    findings = examine()
    can = usable(findings)
    if format_ == "json":
        document = {"usable": can, "findings": [finding.model_dump() for finding in findings]}
        print(json.dumps(document, indent=2))
    else:
        from orchestrator.cli.tables import console, table

        shown = table("", "what", "found", "what follows")
        marks = {True: "yes", False: "no", None: "?"}
        for finding in findings:
            shown.add_row(marks[finding.ok], finding.name, finding.detail, finding.consequence)
        console().print(shown)
        print(f"\nlabs {'can' if can else 'cannot'} be used on this machine")
    return DONE if can else FAILED
