"""`workload`: workloads and hogs of a lab's hosts, by hand."""

import json
from typing import Any

import click

from orchestrator.cli.connect import format_option, required_server, server_option
from orchestrator.cli.failures import USAGE, Failure
from orchestrator.cli.verbs.labs import lab_path

KINDS = ("source", "forwarder", "sink", "producer", "consumer", "relay", "server", "display")
Json = dict[str, Any]


@click.group("workload")
def workload_verb() -> None:
    """Start, list, change and stop workloads and CPU hogs of a lab's hosts."""


@workload_verb.command("start")
@click.argument("lab")
@click.argument("host")
@click.argument("kind", type=click.Choice(KINDS))
@click.option("--system", default="linux", show_default=True, help="The I/O system.")
@click.option("--to", metavar="HOST[:PORT]", help="source, forwarder: where datagrams go; port 9000.")
@click.option("--port", type=int, help="Where it receives (9000), or a source sends from.")
@click.option("--network", help="forwarder, sink: where it receives from, if there are several.")
@click.option("--rate", "rate_mbps", type=float, metavar="MBPS", help="source: payload in Mb/s.")
@click.option("--size", type=int, metavar="BYTES", help="source: payload of a datagram.")
@click.option("--duration", "duration_s", type=float, metavar="S", help="source: until stopped if not given.")
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="More; VALUE is JSON or a word.")
@server_option
@format_option
def start(
    lab: str, host: str, kind: str, params: tuple[str, ...], server: str | None, format_: str, **given: Any
) -> None:
    """Start a KIND of workload on HOST of LAB; prints its id."""
    asked = {name: value for name, value in given.items() if value is not None}
    body = {"workload": kind, **asked, "params": dict(map(_param, params))}
    view = required_server(server).request("POST", lab_path(lab, "hosts", host, "workloads"), body)
    print(json.dumps(view, indent=2) if format_ == "json" else view["id"])


@workload_verb.command("list")
@click.argument("lab")
@click.argument("host", required=False)
@click.option("--over", "over_s", type=float, default=0.5, show_default=True, metavar="S", help="Rates over.")
@click.option("--all", "all_", is_flag=True, help="Those that have ended, too.")
@server_option
@format_option
def list_(lab: str, host: str | None, over_s: float, all_: bool, server: str | None, format_: str) -> None:
    """List the workloads of LAB, or of its HOST, with their rates and loss."""
    target = required_server(server)
    hosts = [host] if host is not None else target.request("GET", lab_path(lab))["hosts"]
    found = [
        {"host": one, **view}
        for one in hosts
        for view in target.request("GET", f"{lab_path(lab, 'hosts', one, 'workloads')}?over_s={over_s:g}")[
            "workloads"
        ]
        if all_ or view["state"] in ("starting", "running")
    ]
    hogs = {one: target.request("GET", lab_path(lab, "hosts", one, "hogs"))["running"] for one in hosts}
    if format_ == "json":
        print(json.dumps({"workloads": found, "hogs": hogs}, indent=2))
        return
    _show(found)
    for one, count in hogs.items():
        if count:
            print(f"{one}: {count} hog{'s'[: count != 1]}")


@workload_verb.command("change")
@click.argument("lab")
@click.argument("host")
@click.argument("workload")
@click.option("--rate", "rate_mbps", type=float, metavar="MBPS")
@click.option("--size", type=int, metavar="BYTES")
@server_option
def change(lab: str, host: str, workload: str, server: str | None, **given: Any) -> None:
    """Change the rate or the size of datagrams of a running source."""
    asked = {name: value for name, value in given.items() if value is not None}
    if not asked:
        raise click.UsageError("give --rate or --size")
    path = lab_path(lab, "hosts", host, "workloads", workload)
    params = required_server(server).request("PATCH", path, asked)["params"]
    print(f"{workload}: {params['rate_mbps']:g} Mb/s in datagrams of {params['size']} bytes")


@workload_verb.command("stop")
@click.argument("lab")
@click.argument("host")
@click.argument("workloads", metavar="[WORKLOAD]...", nargs=-1)
@click.option("--all", "all_", is_flag=True, help="All that run on the host.")
@server_option
@format_option
def stop(
    lab: str, host: str, workloads: tuple[str, ...], all_: bool, server: str | None, format_: str
) -> None:
    """Stop workloads of HOST."""
    if bool(workloads) == all_:
        raise click.UsageError("give the ids of workloads, or --all")
    target, path = required_server(server), lab_path(lab, "hosts", host, "workloads")
    if all_:
        listed = target.request("GET", f"{path}?over_s=0")["workloads"]
        workloads = tuple(
            one["id"] for one in listed if one["workload"] != "manager" and one["state"] == "running"
        )
    ended = [
        target.request("DELETE", lab_path(lab, "hosts", host, "workloads", one), timeout=180)
        for one in workloads
    ]
    if format_ == "json":
        print(json.dumps({"workloads": ended}, indent=2))
        return
    for one in ended:
        lost = f", {one['lost']} datagrams lost" if one["lost"] is not None else ""
        print(f"{one['id']}: {one['state']}{lost} {one['message']}".rstrip())


@workload_verb.command("hogs")
@click.argument("lab")
@click.argument("host")
@click.argument("count", type=int)
@server_option
def hogs(lab: str, host: str, count: int, server: str | None) -> None:
    """Make COUNT CPU hogs compete on HOST."""
    answer = required_server(server).request("PUT", lab_path(lab, "hosts", host, "hogs"), {"count": count})
    print(f"{host}: {answer['running']} hog{'s'[: answer['running'] != 1]}")


def _param(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise Failure(f"--param {text!r}: give NAME=VALUE", USAGE)
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _show(found: list[Json]) -> None:
    from orchestrator.cli.tables import console, number, table

    if not found:
        print("no workloads")
        return
    local = any(_operations(one) is not None for one in found)
    rates = [">Mb/s in", ">Mb/s out", ">loss", *([">operations/s"] if local else [])]
    shown = table("host", "workload", "system", "state", *rates, "message")
    shown.columns[1].no_wrap = True  # it is what one copies
    for one in found:
        loss = "-" if one["loss"] is None else f"{100 * one['loss']:.1f} %"
        cells = [number(one["mbps_in"]), number(one["mbps_out"]), loss]
        cells += [number(_operations(one))] if local else []
        shown.add_row(one["host"], one["id"], one["system"], one["state"], *cells, one["message"])
    console().print(shown)


def _operations(view: Json) -> float | None:
    """How many a second an end of a local channel moves; of a video, frames."""
    found: list[float | None] = [view["operations_in_per_s"], view["operations_out_per_s"]]
    return next((rate for rate in found if rate is not None), None)
