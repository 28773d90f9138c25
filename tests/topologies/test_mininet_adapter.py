"""A user relies on: a Mininet Topo deploys unchanged, with Mininet's addresses, or is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import PATIENCE_S
from tests.topologies.conftest import Place
from topologies import TopologyError, resolve
from topologies.builder.netns import in_thread

pytest.importorskip("mininet.topo", reason="needs the distribution's package mininet")

USERS = """\
from mininet.link import TCLink
from mininet.topo import Topo

class Office(Topo):
    def build(self, n=2):
        left, right = self.addSwitch('s1'), self.addSwitch('s2')
        for number in range(n):
            host = self.addHost('PC_%d' % (number + 1), **({'ip': '10.0.0.77/8'} if number == 1 else {}))
            self.addLink(host, (left, right)[number % 2], cls=TCLink, bw=5)
        self.addLink(left, right, bw=20)

class Slow(Topo):
    def build(self):
        self.addLink(self.addHost('h1'), self.addSwitch('s1'), delay='5ms', loss=1)

class Router(Topo):
    def build(self):
        self.addLink(self.addHost('h1', defaultRoute='via 10.0.0.2'), self.addSwitch('s1'))

class Broken(Topo):
    def build(self):
        1 / 0

topos = {'big': lambda n=4: Office(n=n)}
"""


@pytest.fixture
def users(tmp_path: Path) -> Path:
    file = tmp_path / "mine.py"
    file.write_text(USERS)
    return file


def addresses(spec: str) -> dict[str, str]:
    return {
        host: str(address)
        for network in resolve(spec).networks.values()
        for host, address in network.addresses.items()
    }


def test_linear_is_mininets_linear() -> None:
    topology = resolve("linear,200,bw=10")
    assert len(topology.hosts) == len(topology.networks) == 200
    assert len(topology.links) == 399
    assert {link.rate_mbps for link in topology.links} == {10.0}
    assert addresses("linear,200")["h200"] == "10.0.0.200"


@pytest.mark.parametrize(
    ("spec", "hosts"),
    [("single,4", 4), ("tree,2", 4), ("minimal", 2), ("reversed,3", 3), ("linear,3,n=2", 6)],
)
def test_mininets_own_topologies(spec: str, hosts: int) -> None:
    assert len(resolve(spec).hosts) == hosts
    assert {network.medium for network in resolve(spec).networks.values()} == {"switched"}


def test_a_users_class_and_an_entry_of_topos(users: Path) -> None:
    topology = resolve(f"{users}:Office")
    assert set(topology.hosts) == {"pc-1", "pc-2"}
    assert sorted(link.rate_mbps or 0 for link in topology.links) == [5, 5, 20]
    assert addresses(f"{users}:Office") == {"pc-1": "10.0.0.1", "pc-2": "10.0.0.77"}
    assert len(resolve(f"{users}:Office,6").hosts) == 6
    assert len(resolve(f"{users}:big").hosts) == 4
    assert len(resolve(f"{users}:big,n=3").hosts) == 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Slow", "link 'h1' - 's1': the option 'delay' is not supported"),
        ("Router", "host 'h1': the option 'defaultRoute' is not supported"),
        ("Broken", "raised ZeroDivisionError on line 22"),
        ("Nobody", "has no Topo class and no entry of `topos` called 'Nobody'"),
        ("TCLink", "raised TypeError"),
    ],
)
def test_what_cannot_be_had_is_refused_by_name(users: Path, name: str, message: str) -> None:
    with pytest.raises(TopologyError) as caught:
        resolve(f"{users}:{name}")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "spec",
    ["torus,3,3", "linear,100000", "linear,x", "single,0", "none.py:X", "linear,4,bw=0", "linear,4,bw=x"],
)
def test_bad_requests_are_one_error(spec: str) -> None:
    with pytest.raises(TopologyError):
        resolve(spec)


def test_a_file_that_does_not_run_names_the_line(tmp_path: Path) -> None:
    for text, message in (
        ("x = (\n", "SyntaxError"),
        ("\nimport nothing_such\n", "on line 2"),
        ("exit(1)", "SystemExit"),
    ):
        file = tmp_path / "bad.py"
        file.write_text(text)
        with pytest.raises(TopologyError, match=message):
            resolve(f"{file}:X")


@pytest.mark.root
def test_a_users_topo_deploys_and_its_hosts_have_consoles(place: Place, users: Path) -> None:
    from topologies.mininet_adapter import LabHost

    record = place.deploy(f"{users}:Office")
    console = LabHost(record, "pc-1")
    try:
        assert console.shell is None, "no shell before it is asked for"
        assert console.IP() == "10.0.0.1"
        assert console.cmd("echo $((6 * 7))").strip() == "42"
        assert "inet 10.0.0.1/8" in console.cmd("ip addr show dev eth0")
        here = in_thread(lambda: Path("/proc/thread-self/ns/net").readlink())
        assert console.cmd("readlink /proc/self/ns/net").strip() != str(here)
        out, _ = console.popen("cat /proc/self/cgroup").communicate(timeout=PATIENCE_S)
        assert f"/transship/{place.lab}/pc-1/agent" in out.decode()
        place.destroy()
        shell: Any = console.shell
        assert shell.wait(timeout=PATIENCE_S) != 0, "the lab's end takes the console along"
    finally:
        console.terminate()
    assert place.remains() == []
