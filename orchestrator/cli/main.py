"""The group of verbs. A verb's code is imported when it is used, so that `--help` costs nothing."""

import os
import sys
from importlib import import_module

import click

from orchestrator import VERSION
from orchestrator.cli.failures import DONE, FAILED, USAGE, Failure
from orchestrator.cli.interrupt import Interrupted, interrupts

VERBS = {
    "up": ("serving", "Serve the REST API and run the machine agent, until Ctrl-C."),
    "deploy": ("labs", "Deploy a topology as a lab."),
    "inspect": ("labs", "Show the labs, or one of them."),
    "apply": ("lab_changes", "Make a lab that stands what another topology says."),
    "set": ("lab_changes", "Change a network's rate and impairments."),
    "cut": ("lab_changes", "Cut a network, or a host's link to it."),
    "heal": ("lab_changes", "Heal what was cut."),
    "stop": ("lab_changes", "Stop a host of a lab."),
    "start": ("lab_changes", "Start a host that was stopped."),
    "exec": ("labs", "Run a command in a host of a lab."),
    "console": ("looking", "Open a login shell on a host of a lab."),
    "capture": ("looking", "Capture the packets of a host or a network."),
    "picture": ("looking", "Save what a display shows."),
    "workload": ("workloads", "Start, list, change and stop workloads and hogs by hand."),
    "top": ("top", "Watch a lab: networks, hosts and workloads with their rates."),
    "destroy": ("labs", "Destroy labs."),
    "run": ("runs", "Execute an experiment and say how it ended."),
    "reproduce": ("runs", "Reproduce a published figure: published and measured, side by side."),
    "results": ("results", "List runs, or show the result of one."),
    "test": ("checks", "Run the tests."),
    "bench": ("checks", "Run a benchmark against peers."),
    "doctor": ("checks", "Say what this machine can and cannot do."),
}


class Verbs(click.Group):
    """The verbs, imported one by one."""

    def list_commands(self, context: click.Context) -> list[str]:
        """All verbs, in the order of use."""
        return list(VERBS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """One verb's command."""
        if name not in VERBS:
            return None
        module = import_module(f"orchestrator.cli.verbs.{VERBS[name][0]}")
        command = getattr(module, f"{name}_verb")
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of verbs in `--help`, without importing them."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, summary) for name, (_, summary) in VERBS.items()])


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="transship")
def transship() -> None:
    """Re-run the copy-free I/O papers on your own machine.

    Start with `./transship reproduce fddi --quick`.
    """


def main(arguments: list[str] | None = None) -> int:
    """Run a verb; returns 0 done, 1 failed, 2 bad usage, 3 finished but invalid, 130 Ctrl-C."""
    interrupts.install()
    try:
        status = transship.main(args=arguments, prog_name="transship", standalone_mode=False)
        sys.stdout.flush()
        return status if isinstance(status, int) else DONE
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return USAGE
    except Failure as error:
        _say(str(error))
        return error.code
    except Interrupted as error:
        _say(f"interrupted ({error})")
        return error.code
    except (click.Abort, KeyboardInterrupt):
        _say("interrupted")
        return 130
    except BrokenPipeError:
        # Whoever read our output has enough. What is still buffered must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _say(message: str) -> None:
    print(f"transship: {message}", file=sys.stderr)
