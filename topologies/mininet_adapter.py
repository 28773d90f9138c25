"""The one place that knows Mininet: its `Topo` classes become topologies, and its `Node` a console on a host.

A switch becomes a switched network, a `bw` the rate of a link. What cannot be had here is refused by name;
nothing is silently left out.
"""

from __future__ import annotations

import importlib.util
import os
import re
import traceback
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from topologies.cgroups import HostCgroup
from topologies.loader import load_topology
from topologies.model import MAX_HOSTS, Topology, TopologyError
from topologies.record import Record
from topologies.wiring import attachments, segments

try:
    from mininet.link import Link, TCLink
    from mininet.node import Node
    from mininet.topo import LinearTopo, MinimalTopo, SingleSwitchReversedTopo, SingleSwitchTopo, Topo
    from mininet.topolib import TorusTopo, TreeTopo
    from mininet.util import splitArgs
except ImportError:  # the distribution's package is not installed; every entry below says so
    Node = object
    _MISSING = True
else:
    _MISSING = False

MININET_NAMES = ("linear", "minimal", "reversed", "single", "torus", "tree")
"""Mininet's own topologies, as `mn --topo` calls them."""

_BASE = IPv4Network("10.0.0.0/8")
"""Where Mininet takes its addresses from: the n-th host gets the n-th."""

_HOST_OPTIONS = {"ip", "cores"}
# isSwitch is Mininet's own mark; dpid a number for OpenFlow controllers, of which a network here has none.
_SWITCH_OPTIONS = {"dpid", "isSwitch"}
_LINK_OPTIONS = {"bw", "node1", "node2", "port1", "port2", "use_htb", "use_tbf", "use_hfsc", "cls"}


def load_topo(spec: str) -> Topology:
    """The topology of `file.py:Class`, `file.py:name` (a key of its `topos`) or Mininet's `linear,200`.

    Arguments follow after commas as for `mn --topo`, and `bw=10` gives every link without options that rate.

    Raises:
        TopologyError: Mininet is missing, nothing has that name, the user's code failed, or it asks for
            something that cannot be had.
    """
    _require_mininet()
    path, colon, rest = spec.rpartition(":")
    name, arguments, options = splitArgs(rest)
    if colon:
        maker = _from_file(Path(path), name)
    else:
        own = _mininets_own()
        if name not in own:
            raise _refusal(spec, f"Mininet has no topology {name!r}; it has {', '.join(MININET_NAMES)}")
        maker = own[name]
    if "bw" in options:
        options["lopts"] = {"bw": options.pop("bw")}
    if any(isinstance(value, int | float) and value > MAX_HOSTS for value in (*arguments, *options.values())):
        raise _refusal(spec, f"a lab holds at most {MAX_HOSTS} hosts and as many networks")
    try:
        topo = maker(*arguments, **options)
    except (Exception, SystemExit) as error:
        raise _refusal(spec, _where(error, path)) from error
    if isinstance(topo, Topo) and not topo.hosts():
        raise _refusal(spec, "it has no hosts; a lab has at least one")
    return from_topo(topo, name)


def from_topo(topo: Any, name: str = "") -> Topology:
    """The topology that a Mininet `Topo` object describes.

    Names become lower case with '-' for anything else. Hosts have Mininet's addresses (10.0.0.1 for the
    first, and so on, or their `ip`) when all switches are joined; separate parts have a subnet each.

    Raises:
        TopologyError: an option that is not supported, named, or a topology that breaks a rule.
    """
    _require_mininet()
    if not isinstance(topo, Topo):
        raise _refusal(name, f"{type(topo).__name__} is not a mininet.topo.Topo")
    title = _plain_name(name or type(topo).__name__)
    names = _names(topo, title)
    hosts = {names[host]: _host(topo, host) for host in topo.hosts()}
    networks = {names[switch]: _switch(topo, switch) for switch in topo.switches()}
    links = [
        _link(first, second, options, names) for first, second, options in topo.links(False, False, True)
    ]
    value: dict[str, Any] = {"name": title, "hosts": hosts, "networks": networks, "links": links}
    _address(
        load_topology(value), value, [(names[host], topo.nodeInfo(host).get("ip")) for host in topo.hosts()]
    )
    return load_topology(value)


def _host(topo: Any, name: str) -> dict[str, Any]:
    options = topo.nodeInfo(name)
    _only(f"host {name!r}", options, _HOST_OPTIONS)
    cores = options.get("cores")
    if cores is None:
        return {}
    listed = cores.split(",") if isinstance(cores, str) else [cores] if isinstance(cores, int) else cores
    return {"cpus": [int(core) for core in listed]}


def _switch(topo: Any, name: str) -> dict[str, Any]:
    _only(f"switch {name!r}", topo.nodeInfo(name), _SWITCH_OPTIONS)
    return {"medium": "switched"}


def _link(first: str, second: str, options: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    what = f"link {first!r} - {second!r}"
    _only(what, options, _LINK_OPTIONS)
    if options.get("cls") not in (None, Link, TCLink):
        raise _refusal(what, f"links of class {options['cls'].__name__} are not supported")
    # Both ends are shaped at the switch; a rate only one way cannot be written in Mininet's `bw` either.
    return {"ends": [names[first], names[second]], "rate_mbps": options.get("bw")}


def _only(what: str, options: Mapping[str, Any], known: set[str]) -> None:
    # An option at nothing (`loss=0`, `delay=None`) asks for nothing.
    for option in sorted(name for name, value in options.items() if name not in known and value):
        raise _refusal(
            what, f"the option {option!r} is not supported; supported are {', '.join(sorted(known))}"
        )


def _address(draft: Topology, value: dict[str, Any], hosts: list[tuple[str, str | None]]) -> None:
    """Write subnets and addresses into `value` as Mininet would give them, by the host's first interface."""
    first: dict[str, str] = {}
    for attachment in attachments(draft):
        first.setdefault(attachment.host, attachment.network)
    groups = [group for group in segments(draft) if any(network in group for network in first.values())]
    for group in groups:
        members = [(host, ip, number) for number, (host, ip) in enumerate(hosts, 1) if first[host] in group]
        given = {host: IPv4Interface(ip if "/" in ip else f"{ip}/8") for host, ip, _ in members if ip}
        if given:
            subnet = next(iter(given.values())).network
        elif len(groups) == 1:
            subnet = _BASE
        else:
            continue
        written = {host: address.ip for host, address in given.items()}
        for host, _, number in members:
            usual: IPv4Address = subnet.network_address + number
            if host not in written and usual in subnet and usual not in written.values():
                written[host] = usual
        for host, address in written.items():
            network = value["networks"].get(first[host])
            if network is not None:  # a cable between two hosts has no switch to write it at
                network["subnet"] = str(subnet)
                network.setdefault("addresses", {})[host] = str(address)


def _names(topo: Any, title: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in topo.nodes():
        plain = _plain_name(name)
        if plain in found.values():
            raise _refusal(title, f"two nodes would be called {plain!r}; {name!r} is one of them")
        found[name] = plain
    return found


def _plain_name(name: str) -> str:
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return plain if plain[:1].isalpha() else f"n{plain}"


def _mininets_own() -> dict[str, Callable[..., Any]]:
    makers = (LinearTopo, MinimalTopo, SingleSwitchReversedTopo, SingleSwitchTopo, TorusTopo, TreeTopo)
    return dict(zip(MININET_NAMES, makers, strict=True))


def _from_file(path: Path, name: str) -> Callable[..., Any]:
    module = _run(path)
    maker = getattr(module, "topos", {}).get(name) or getattr(module, name, None)
    if not callable(maker):
        raise _refusal(str(path), f"has no Topo class and no entry of `topos` called {name!r}")
    found: Callable[..., Any] = maker
    return found


def _run(path: Path) -> ModuleType:
    if not path.is_file():
        raise _refusal(str(path), "there is no such file")
    description = importlib.util.spec_from_file_location("transship_user_topology", path)
    if description is None or description.loader is None:
        raise _refusal(str(path), "is not a Python file")
    module = importlib.util.module_from_spec(description)
    try:
        description.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise _refusal(str(path), _where(error, str(path))) from error
    return module


def _where(error: BaseException, path: str) -> str:
    """The error in one line, with the last line of the user's file that led to it."""
    if isinstance(error, ValidationError | TopologyError):
        return str(error)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    if isinstance(error, SyntaxError):
        lines = [error.lineno]
    where = f" on line {lines[-1]}" if lines else ""
    return f"raised {type(error).__name__}{where}: {str(error)[:200]}"


def _require_mininet() -> None:
    if _MISSING:
        raise _refusal("", "Mininet is not installed: install the distribution's package `mininet`")


def _refusal(place: str, message: str) -> TopologyError:
    return TopologyError([{"place": place, "line": None, "message": message}], "mininet")


class LabHost(Node):  # type: ignore[misc]
    """A Mininet `Node` over a host of a standing lab, for consoles and scripts written for Mininet.

    Its shell starts with the first `cmd()`, `sendCmd()` or `popen()`: a shell for every host is what makes
    Mininet slow. It lives in the host's namespace and control group, so the lab's end takes it along.
    `terminate()` ends the shell and leaves the host alone.
    """

    def __init__(self, record: Record, host: str, **params: Any) -> None:
        _require_mininet()
        self._record = record.hosts[host]
        self._wanted = False
        super().__init__(host, inNamespace=False, **params)

    def startShell(self, mnopts: str | None = None) -> None:
        """Start the shell, once somebody needs one."""
        if self._wanted:
            super().startShell(mnopts)

    def _popen(self, cmd: list[str], **params: Any) -> Any:
        group = HostCgroup(self._record.cgroup)
        inside = ["nsenter", f"--net=/run/netns/{self._record.namespace}", "--", *cmd]
        # Joined before the program starts, so that whatever it starts is in the host's group, too.
        return super()._popen(inside, preexec_fn=lambda: group.attach(os.getpid(), "agent"), **params)

    def sendCmd(self, *args: Any, **kwargs: Any) -> None:
        """Send a command to the shell, which starts now if it has not."""
        self._need_shell()
        super().sendCmd(*args, **kwargs)

    def cmd(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command in the shell and return what it printed, as Mininet's `cmd`."""
        self._need_shell()
        return super().cmd(*args, **kwargs)

    def popen(self, *args: Any, **kwargs: Any) -> Any:
        """Start a process on the host, as Mininet's `popen`."""
        self._need_shell()
        return super().popen(*args, **kwargs)

    def _need_shell(self) -> None:
        if not self._wanted:
            self._wanted = True
            self.startShell()

    def terminate(self) -> None:
        """End the shell, if there is one."""
        if self.shell is not None:
            super().terminate()

    def IP(self, intf: Any = None) -> str:
        """The address of the host's first interface, or of the one named."""
        interfaces = self._record.interfaces
        chosen = next((found for found in interfaces if found.name == str(intf)), interfaces[0])
        return str(chosen.address)
