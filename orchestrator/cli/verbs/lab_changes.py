"""`apply`, `set`, `cut`, `heal`, `stop`, `start`: a lab changed while it stands."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

from orchestrator.cli.client import Server
from orchestrator.cli.connect import format_option, required_server, server_option
from orchestrator.cli.failures import USAGE, Failure
from orchestrator.cli.verbs.labs import lab_path, load, wait_while

F = TypeVar("F", bound=Callable[..., Any])
SIGNS = {"add": "+", "remove": "-", "change": "~"}


@click.command("apply")
@click.argument("topology")
@click.option("--name", metavar="LAB", help="The lab's name; default: the topology's.")
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@server_option
@format_option
def apply_verb(topology: str, name: str | None, dry_run: bool, server: str | None, format_: str) -> None:
    """Make a lab that stands what TOPOLOGY says: only the difference changes."""
    wanted = load(topology)
    target, lab = required_server(server), name or wanted["name"]
    body = {"topology": wanted}
    found = target.request("PUT", f"{lab_path(lab)}?dry_run=true", body)
    if not dry_run:
        target.request("PUT", lab_path(lab), body)
        view = wait_while(target, lab, "changing")
        if view is None or view["state"] != "ready" or view["message"]:
            raise Failure(view["message"] if view else f"the lab {lab!r} was destroyed")
    if format_ == "json":
        print(json.dumps(found, indent=2))
        return
    for change in found["changes"]:
        print(_line(change))
    if found["changes"]:
        print(f"lab {lab}: {'would be changed so' if dry_run else 'changed'}")
    else:
        print(f"lab {lab}: nothing to change")


def _line(change: dict[str, Any]) -> str:
    fields = ", ".join(f"{field} {old} -> {new}" for field, (old, new) in change["fields"].items())
    return f"{SIGNS[change['change']]} {change['kind']} {change['name']}{': ' if fields else ''}{fields}"


@click.command("set")
@click.argument("lab")
@click.argument("network")
@click.option("--rate", metavar="MBPS", help="Megabits per second, or `none` for no limit.")
@click.option("--loss", type=float, metavar="FRACTION", help="The fraction of frames to lose, 0 to 1.")
@click.option("--seed", type=int, metavar="N", help="The same seed loses the same frames.")
@click.option("--delay", type=float, metavar="MS", help="Milliseconds; needs a kernel with netem.")
@click.option("--jitter", type=float, metavar="MS", help="Milliseconds; at most the delay.")
@server_option
@format_option
def set_verb(lab: str, network: str, server: str | None, format_: str, **wanted: Any) -> None:
    """Change the rate and impairments of NETWORK of LAB while traffic flows; what is not given stays."""
    if all(value is None for value in wanted.values()):
        raise click.UsageError("give at least one of --rate, --loss, --seed, --delay, --jitter")
    target, path = required_server(server), lab_path(lab, "networks", network)
    view = target.request("GET", path)
    body = {name: view[name] for name in ("rate_mbps", "loss", "seed", "delay_ms", "jitter_ms")}
    names = {"rate": "rate_mbps", "delay": "delay_ms", "jitter": "jitter_ms"}
    body |= {names.get(name, name): value for name, value in wanted.items() if value is not None}
    if wanted["rate"] is not None:
        body["rate_mbps"] = _rate(wanted["rate"])
    answer = target.request("PUT", path, body)
    if format_ == "json":
        print(json.dumps(answer, indent=2))
        return
    rate = "no limit" if answer["rate_mbps"] is None else f"{answer['rate_mbps']:g} Mb/s"
    print(f"network {network} of {lab}: {rate}, loss {answer['loss']:g} (seed {answer['seed']})")


def _rate(text: str) -> float | None:
    try:
        return None if text == "none" else float(text)
    except ValueError:
        raise Failure(f"--rate {text!r}: give a number of Mb/s, or none", USAGE) from None


def link(verb: F) -> F:
    """The arguments of a verb about a network, or a host's link to it."""
    for decorator in (server_option, click.argument("host", required=False), click.argument("network")):
        verb = decorator(verb)
    return click.argument("lab")(verb)


@click.command("cut")
@link
def cut_verb(lab: str, network: str, host: str | None, server: str | None) -> None:
    """Cut NETWORK of LAB, or only HOST's link to it; what is lost is counted."""
    _cut(required_server(server), lab, network, host, "cut")


@click.command("heal")
@link
def heal_verb(lab: str, network: str, host: str | None, server: str | None) -> None:
    """Heal NETWORK of LAB, or HOST's link to it."""
    _cut(required_server(server), lab, network, host, "heal")


def _cut(target: Server, lab: str, network: str, host: str | None, what: str) -> None:
    done = {"cut": "cut", "heal": "healed"}[what]
    if host is None:
        target.request("POST", lab_path(lab, "networks", network, what))
        print(f"network {network} of {lab}: {done}")
    else:
        target.request("POST", lab_path(lab, "hosts", host, "links", network, what))
        print(f"link of {host} to {network} of {lab}: {done}")


@click.command("stop")
@click.argument("lab")
@click.argument("host")
@server_option
def stop_verb(lab: str, host: str, server: str | None) -> None:
    """Stop HOST of LAB: its processes end, and nothing passes its interfaces."""
    required_server(server).request("POST", lab_path(lab, "hosts", host, "stop"))
    print(f"host {host} of {lab}: stopped")


@click.command("start")
@click.argument("lab")
@click.argument("host")
@server_option
def start_verb(lab: str, host: str, server: str | None) -> None:
    """Start HOST of LAB, which was stopped; nothing runs on it."""
    required_server(server).request("POST", lab_path(lab, "hosts", host, "start"))
    print(f"host {host} of {lab}: running")
