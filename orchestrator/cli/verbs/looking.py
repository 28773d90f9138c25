"""`capture`, `console`, `picture`: looking into a running lab."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import click

from orchestrator.cli.client import Server
from orchestrator.cli.connect import required_server, server_option
from orchestrator.cli.failures import FAILED, USAGE, Failure
from orchestrator.cli.interrupt import Interrupted
from orchestrator.cli.verbs.labs import lab_path


@click.command("capture")
@click.argument("lab")
@click.argument("place", metavar="HOST|NETWORK")
@click.option("--interface", metavar="NAME", help="Of a host that has several.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="End after so many frames.")
@click.option("--snaplen", type=int, metavar="BYTES", help="Keep so much of each frame, at most.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="File; else stdout.")
@server_option
def capture_verb(
    lab: str,
    place: str,
    interface: str | None,
    limit: int | None,
    snaplen: int | None,
    output: Path | None,
    server: str | None,
) -> None:
    """Write the frames of a HOST's interface, or of a NETWORK, as pcapng, until Ctrl-C.

    For example: transship capture rings middle --interface eth0 | tcpdump -n -r -
    """
    if output is None and sys.stdout.isatty():
        raise click.UsageError("frames are not for a terminal: give -o FILE, or pipe stdout into a program")
    target = required_server(server)
    asked = {"limit": limit, "snaplen": snaplen}
    query = "&".join(f"{name}={value}" for name, value in asked.items() if value is not None)
    frames = target.stream(f"{_path(target, lab, place, interface)}?{query}")
    written = 0
    with ExitStack() as stack:
        to: BinaryIO = sys.stdout.buffer
        try:
            for data in frames:
                if output is not None and not written:
                    to = stack.enter_context(_opened(output))
                to.write(data)
                to.flush()
                written += len(data)
        except Interrupted:
            frames.close()  # which is how a capture is ended
    where = output or "stdout"
    print(f"transship: {written} bytes to {where}", file=sys.stderr)


@click.command("picture")
@click.argument("lab")
@click.argument("host")
@click.argument("workload")
@click.option("--width", type=int, metavar="PIXELS", help="At most so wide.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="File; else stdout.")
@server_option
def picture_verb(
    lab: str, host: str, workload: str, width: int | None, output: Path | None, server: str | None
) -> None:
    """Write what the display WORKLOAD on HOST of LAB shows now, as a PNG file.

    For example: transship picture rings middle display-3f09ab-2 > frame.png
    """
    if output is None and sys.stdout.isatty():
        raise click.UsageError("a picture is not for a terminal: give -o FILE, or send stdout into one")
    query = "" if width is None else f"?width={width}"
    image = required_server(server).raw(
        "GET", lab_path(lab, "hosts", host, "workloads", workload, "picture") + query
    )
    with ExitStack() as stack:
        to = sys.stdout.buffer if output is None else stack.enter_context(_opened(output))
        to.write(image)
        to.flush()


def _opened(output: Path) -> BinaryIO:
    try:
        return output.open("wb")
    except OSError as error:
        raise Failure(f"cannot write {output}: {error.strerror}", USAGE) from None


def _path(server: Server, lab: str, place: str, interface: str | None) -> str:
    """The capture of that place. Raises Failure."""
    view = server.request("GET", lab_path(lab))
    if place not in view["hosts"]:
        networks = [network["name"] for network in view["networks"]]
        if place not in networks:
            known = ", ".join([*view["hosts"], *networks])
            raise Failure(f"the lab {lab!r} has no host or network {place!r}; it has {known}")
        if interface is not None:
            raise Failure(f"--interface {interface!r}: {place!r} is a network", USAGE)
        return lab_path(lab, "networks", place, "capture")
    if interface is None:
        found = server.request("GET", lab_path(lab, "hosts", place))["interfaces"]
        if len(found) != 1:
            known = ", ".join(f"{one['name']} ({one['network']})" for one in found) or "none"
            raise Failure(f"--interface: say which one of the host {place!r}: {known}", USAGE)
        interface = str(found[0]["name"])
    return lab_path(lab, "hosts", place, "interfaces", interface, "capture")


@click.command("console")
@click.argument("lab")
@click.argument("host")
@server_option
def console_verb(lab: str, host: str, server: str | None) -> int:
    """Open a login shell on HOST of LAB; Ctrl-] or the shell's end ends it. Exits as the shell does."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Failure("a console needs a terminal; `transship exec` runs single commands", USAGE)
    target = required_server(server)
    target.request("GET", lab_path(lab, "hosts", host))  # says what is wrong with a name
    from orchestrator.cli.terminal import converse

    status: Any = converse(target, lab_path(lab, "hosts", host, "console"))
    if status is None:
        print("transship: the console has ended", file=sys.stderr)
        return FAILED
    return int(status) if status >= 0 else 128 - int(status)
