"""What a topology is: hosts, the networks that join them, and links; with every rule a description must keep.

The pydantic models here are the one source of the published JSON Schema, of the REST bodies and of the
YAML loader. Rules that span several entries live in `topologies.rules`.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Literal, TypedDict

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from topologies.rules import violations

MIN_RATE_MBPS = 1.0
MAX_RATE_MBPS = 10_000.0
MAX_HOSTS = 1000
MAX_NETWORKS = 1000
NAME_PATTERN = r"^[a-z][a-z0-9-]{0,30}$"


class Problem(TypedDict):
    """One thing wrong with a topology: where (`networks.ring-a.rate_mbps`), on which line, and what."""

    place: str
    line: int | None
    message: str


class TopologyError(ValueError):
    """A topology that cannot be used. `problems` names each place; `line` is None without a file."""

    def __init__(self, problems: Iterable[Problem], source: str = "topology") -> None:
        self.problems: list[Problem] = list(problems)
        self.source = source
        super().__init__("\n".join(self._sentence(problem) for problem in self.problems))

    def _sentence(self, problem: Problem) -> str:
        where = self.source if problem["line"] is None else f"{self.source}:{problem['line']}"
        place = f" {problem['place']}:" if problem["place"] else ""
        return f"{where}:{place} {problem['message']}"


def _network_address(value: object) -> object:
    if isinstance(value, str):
        try:
            return IPv4Network(value)
        except ValueError as error:
            raise PydanticCustomError("subnet", "{reason}", {"reason": str(error)}) from None
    if isinstance(value, IPv4Network):
        return value
    raise PydanticCustomError("subnet", "must be an IPv4 network such as 10.1.0.0/24")


def _address(value: object) -> object:
    if isinstance(value, str):
        try:
            return IPv4Address(value)
        except ValueError as error:
            raise PydanticCustomError("address", "{reason}", {"reason": str(error)}) from None
    if isinstance(value, IPv4Address):
        return value
    raise PydanticCustomError("address", "must be an IPv4 address such as 10.1.0.1")


Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Cpu = Annotated[int, Field(strict=True, ge=0, le=8191)]
Rate = Annotated[
    float,
    Field(
        strict=True,
        ge=MIN_RATE_MBPS,
        le=MAX_RATE_MBPS,
        allow_inf_nan=False,
        description="Megabits per second of Ethernet frame bytes (header included, no preamble or checksum).",
    ),
]
Milliseconds = Annotated[float, Field(strict=True, ge=0, le=10_000, allow_inf_nan=False)]
Subnet = Annotated[IPv4Network, BeforeValidator(_network_address)]
Address = Annotated[IPv4Address, BeforeValidator(_address)]
Medium = Literal["shared", "switched"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Host(_Strict):
    """An emulated workstation. `cpus`: where its processes run and where its packets are received."""

    cpus: list[Cpu] | None = Field(default=None, min_length=1, max_length=1024)


def at_most_the_delay(jitter_ms: float, info: ValidationInfo) -> float:
    """The jitter, unless a frame would arrive before it was sent."""
    delay_ms = info.data.get("delay_ms", jitter_ms)
    if jitter_ms > delay_ms:
        raise PydanticCustomError("jitter", "must be at most delay_ms ({delay})", {"delay": f"{delay_ms:g}"})
    return jitter_ms


class Impairments(_Strict):
    """What a network does to frames that enter it. The same `seed` loses the same ones of each sender.

    `loss` is the fraction of IPv4 frames that vanish; what hosts ask each other to find their addresses (ARP)
    is left alone, so that the pattern is the data's. Delay and jitter need a kernel with netem.
    """

    loss: float = Field(default=0.0, strict=True, ge=0, le=1, allow_inf_nan=False)
    seed: int = Field(default=0, strict=True, ge=0, le=2**53 - 1)
    delay_ms: Milliseconds = 0.0
    jitter_ms: Milliseconds = 0.0

    @field_validator("jitter_ms")
    @classmethod
    def _never_before_it_was_sent(cls, jitter_ms: float, info: ValidationInfo) -> float:
        return at_most_the_delay(jitter_ms, info)


class Network(Impairments):
    """A medium joining stations.

    `shared`: all stations together get `rate_mbps`, as on an FDDI ring. `switched`: each station receives at
    up to `rate_mbps`. Without a rate nothing is shaped. `mtu` is in bytes of IP packet. `cpus`: where the
    kernel's work for the medium runs.
    """

    medium: Medium = "shared"
    rate_mbps: Rate | None = None
    mtu: int = Field(default=1500, strict=True, ge=576, le=9000)
    subnet: Subnet | None = Field(default=None, description="IPv4 network; 10.N.0.0/24 when absent.")
    stations: list[Name] = Field(default_factory=list, max_length=MAX_HOSTS)
    addresses: dict[Name, Address] = Field(
        default_factory=dict,
        max_length=MAX_HOSTS,
        description="Stations with an address of their own; the others get the first free ones.",
    )
    cpus: list[Cpu] | None = Field(default=None, min_length=1, max_length=1024)

    @property
    def impairments(self) -> Impairments:
        """What it does to frames, apart from the rest."""
        return Impairments(**{name: getattr(self, name) for name in Impairments.model_fields})


class Link(_Strict):
    """A cable: host to network, network to network (a trunk), or host to host. The rate is each way's."""

    ends: list[Name] = Field(min_length=2, max_length=2)
    rate_mbps: Rate | None = None


class Topology(_Strict):
    """A complete description. Building one raises `ValidationError`; `load_topology` a `TopologyError`."""

    name: Name
    description: str = Field(default="", max_length=2000)
    hosts: dict[Name, Host] = Field(min_length=1, max_length=MAX_HOSTS)
    networks: dict[Name, Network] = Field(default_factory=dict, max_length=MAX_NETWORKS)
    links: list[Link] = Field(default_factory=list, max_length=2 * MAX_HOSTS)

    @model_validator(mode="after")
    def _whole(self) -> Topology:
        found = violations(self)
        if found:
            place, message = found[0]
            context = {"place": ".".join(map(str, place)), "message": message, "violations": found}
            raise PydanticCustomError("topology", "{place}: {message}", context)
        return self
