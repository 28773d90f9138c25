"""What REST clients send and receive to change a lab that stands."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from orchestrator.api.models import Model, Rate
from topologies.model import at_most_the_delay

Milliseconds = Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)]


class NetworkRequest(Model):
    """Replace a network's rate (null: no limit) and impairments (absent: none)."""

    rate_mbps: Rate | None
    loss: Annotated[
        float, Field(ge=0, le=1, allow_inf_nan=False, description="fraction of IPv4 frames that vanish")
    ] = 0.0
    seed: Annotated[int, Field(ge=0, le=2**53 - 1, description="of the frames that vanish")] = 0
    delay_ms: Annotated[Milliseconds, Field(description="needs a kernel with netem")] = 0.0
    jitter_ms: Annotated[Milliseconds, Field(description="at most delay_ms")] = 0.0

    @field_validator("jitter_ms")
    @classmethod
    def _never_before_it_was_sent(cls, jitter_ms: float, info: ValidationInfo) -> float:
        return at_most_the_delay(jitter_ms, info)

    def impairments(self) -> dict[str, Any]:
        """All but the rate."""
        return self.model_dump(exclude={"rate_mbps"})


class ApplyRequest(Model):
    """Make the lab what this topology says, touching only the difference."""

    topology: Annotated[
        str | dict[str, Any], Field(description="a shipped topology's name or a topology itself")
    ]


class ApplyQuery(BaseModel):
    """Whether to change anything."""

    model_config = ConfigDict(extra="forbid")
    dry_run: bool = Field(default=False, description="only say what would change")


class ChangeView(Model):
    """One thing that is added, removed or changed in place; an interface's name is host/network, a trunk's
    network/network. `fields` has [old, new] of what changes."""

    change: Literal["add", "remove", "change"]
    kind: Literal["host", "network", "interface", "trunk"]
    name: str
    fields: dict[str, list[Any]]


class ChangesView(Model):
    """What would change in a lab; nothing if it is what the topology says."""

    lab: str
    changes: list[ChangeView]
