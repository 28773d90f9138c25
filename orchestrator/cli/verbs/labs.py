"""`deploy`, `inspect`, `exec`, `destroy`: labs of the orchestrator that runs."""

import json
import sys
import time
from typing import Any
from urllib.parse import quote

import click

from orchestrator.cli.client import ProblemReply, Server
from orchestrator.cli.connect import format_option, required_server, server_option
from orchestrator.cli.failures import USAGE, Failure
from orchestrator.cli.interrupt import Interrupted, interrupts

POLL_S = 0.05
WAIT_S = 600.0


@click.command("deploy")
@click.argument("topology")
@click.option("--name", metavar="LAB", help="The lab's name; default: the topology's.")
@server_option
@format_option
def deploy_verb(topology: str, name: str | None, server: str | None, format_: str) -> None:
    """Deploy TOPOLOGY as a lab: the same again is a no-op.

    TOPOLOGY is a shipped one (two-fddi; chain,5), a YAML file, or a Mininet Topo class (file.py:Class).
    """
    wanted = load(topology)
    target = required_server(server)
    lab = name or wanted["name"]
    began = time.monotonic()
    view: dict[str, Any] | None = None
    present = False
    try:
        with interrupts.deferred():
            view = target.request("POST", "/api/v1/labs", {"name": lab, "topology": wanted})
            present = view["state"] == "ready"
        view = wait_while(target, lab, "deploying")
    except Interrupted:
        if view is not None and not present:
            destroy(target, lab)
        raise
    if view is None or view["state"] != "ready":
        raise Failure(
            f"the lab {lab!r} could not be deployed: {view['message'] if view else 'it was destroyed'}"
        )
    if format_ == "json":
        print(json.dumps(view, indent=2))
    elif present:
        print(f"the lab {lab} is deployed already")
    else:
        hosts, networks = len(view["hosts"]), len(view["networks"])
        counted = f"{hosts} host{'s'[: hosts != 1]}, {networks} network{'s'[: networks != 1]}"
        print(f"lab {lab}: {counted}, {time.monotonic() - began:.1f} s")


def load(spec: str) -> dict[str, Any]:
    """The topology SPEC names, checked here so that errors can name file and line. Raises Failure."""
    from topologies import TopologyError, resolve

    try:
        topology: dict[str, Any] = resolve(spec).model_dump(mode="json")
    except TopologyError as error:
        raise Failure(str(error), USAGE) from None
    return topology


def wait_while(server: Server, lab: str, state: str) -> dict[str, Any] | None:
    """The lab once it is in another state, None once it is gone. Raises Failure after ten minutes."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        try:
            view: dict[str, Any] = server.request("GET", lab_path(lab))
        except ProblemReply as problem:
            if problem.status == 404:
                return None
            raise
        if view["state"] != state:
            return view
        time.sleep(POLL_S)
    raise Failure(f"the lab {lab!r} is still {state} after {WAIT_S:.0f} s")


def lab_path(*parts: str) -> str:
    """A path under labs/, with whatever the user typed made harmless."""
    return "/api/v1/labs/" + "/".join(quote(part, safe="") for part in parts)


def destroy(server: Server, lab: str) -> bool:
    """Destroy a lab and wait; False if there was none. Raises Failure."""
    if server.request("DELETE", lab_path(lab)) is None:
        return False
    view = wait_while(server, lab, "destroying")
    if view is not None:
        raise Failure(f"the lab {lab!r} could not be destroyed: {view['message']}")
    return True


@click.command("destroy")
@click.argument("labs", metavar="LAB...", nargs=-1)
@click.option("--all", "all_", is_flag=True, help="All labs.")
@server_option
def destroy_verb(labs: tuple[str, ...], all_: bool, server: str | None) -> None:
    """Destroy labs; one that is not there is destroyed already."""
    if bool(labs) == all_:
        raise click.UsageError("give the names of labs, or --all")
    target = required_server(server)
    names = [lab["name"] for lab in target.request("GET", "/api/v1/labs")["labs"]] if all_ else labs
    for name in names:
        print(f"lab {name}: {'destroyed' if destroy(target, name) else 'there is none'}")


@click.command("inspect")
@click.argument("lab", required=False)
@server_option
@format_option
def inspect_verb(lab: str | None, server: str | None, format_: str) -> None:
    """Show all labs, or the hosts and networks of LAB."""
    target = required_server(server)
    if lab is None:
        labs = target.request("GET", "/api/v1/labs")
        print(json.dumps(labs, indent=2)) if format_ == "json" else _show_labs(labs["labs"])
        return
    view = target.request("GET", lab_path(lab))
    hosts = [target.request("GET", lab_path(lab, "hosts", host)) for host in view["hosts"] if _up(view)]
    print(json.dumps(view | {"hosts": hosts}, indent=2)) if format_ == "json" else _show_lab(view, hosts)


def _up(view: dict[str, Any]) -> bool:
    return bool(view["state"] == "ready")


def _show_labs(labs: list[dict[str, Any]]) -> None:
    from orchestrator.cli.tables import console, table

    if not labs:
        print("no labs")
        return
    shown = table("lab", "state", ">hosts", ">networks", "message")
    for lab in labs:
        shown.add_row(
            lab["name"], lab["state"], str(len(lab["hosts"])), str(len(lab["networks"])), lab["message"]
        )
    console().print(shown)


def _show_lab(view: dict[str, Any], hosts: list[dict[str, Any]]) -> None:
    from orchestrator.cli.tables import console, table

    out = console()
    print(f"lab {view['name']}: {view['state']} {view['message']}".rstrip())
    addresses = table("host", "network", ">address", ">mtu", "cpus")
    for host in hosts:
        cpus = ",".join(map(str, host["cpus"])) if host["cpus"] is not None else "any"
        for interface in host["interfaces"]:
            address = f"{interface['address']}/{interface['prefix']}"
            name = f"{host['name']} (stopped)" if host["state"] == "stopped" else host["name"]
            network = f"{interface['network']} (cut)" if interface["cut"] else interface["network"] or ""
            addresses.add_row(name, network, address, str(interface["mtu"]), cpus)
    out.print(addresses)
    print()
    networks = table("network", "medium", ">Mb/s", ">loss", ">mtu", ">ports")
    for network in view["networks"]:
        rate = network["rate_mbps"]
        networks.add_row(
            f"{network['name']} (cut)" if network["cut"] else network["name"],
            network["medium"],
            "no limit" if rate is None else f"{rate:g}",
            f"{network['loss']:g}",
            str(network["mtu"]),
            str(network["ports"]),
        )
    out.print(networks)


@click.command("exec", context_settings={"ignore_unknown_options": True})
@click.argument("lab")
@click.argument("host")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@server_option
def exec_verb(lab: str, host: str, command: tuple[str, ...], server: str | None) -> int:
    """Run COMMAND in HOST of LAB, without a shell, for at most 30 s; exits as it does."""
    target = required_server(server)
    answer = target.request("POST", lab_path(lab, "hosts", host, "exec"), {"argv": list(command)})
    sys.stdout.write(answer["stdout"])
    sys.stderr.write(answer["stderr"])
    if answer["truncated"]:
        print("transship: the output was longer and is cut", file=sys.stderr)
    status = int(answer["exit"])
    return status if status >= 0 else 128 - status
