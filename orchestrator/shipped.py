"""Topologies over REST: the shipped ones by name, or one in the request. Never a file of the server's."""

import asyncio
from typing import Any

from agents.errors import Problem
from topologies import Topology, TopologyError, load_topology, shipped
from topologies.chain import chain_from


async def resolve(given: str | dict[str, Any]) -> dict[str, Any]:
    """The topology asked for, checked and complete. Raises Problem 422 naming every place at fault."""
    return await asyncio.to_thread(checked, given)


async def shipped_topologies() -> list[dict[str, Any]]:
    """Every shipped topology, with its name and description."""
    return await asyncio.to_thread(
        lambda: [
            {"name": name, "description": loaded.description, "topology": as_json(loaded)}
            for name, path in shipped().items()
            for loaded in [load_topology(path)]
        ]
    )


def as_json(topology: Topology) -> dict[str, Any]:
    """A topology as it travels and is compared."""
    return topology.model_dump(mode="json")


def checked(given: str | dict[str, Any], place: str = "topology") -> dict[str, Any]:
    """The same at once; `place` is where the request has it."""
    known = shipped()
    try:
        if isinstance(given, dict):
            return as_json(load_topology(given))
        if given.startswith("chain,"):
            return as_json(chain_from(given))
        if given in known:
            return as_json(load_topology(known[given]))
    except TopologyError as error:
        faults = [
            {**problem, "place": f"{place}.{problem['place']}".rstrip(".")} for problem in error.problems
        ]
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        detail = f"{faults[0]['place']}: {faults[0]['message']}{more}"
        raise Problem(422, detail, str(faults[0]["place"]), faults) from None
    names = ", ".join([*known, "chain,N"])
    raise Problem(422, f"{place}: there is no shipped topology {given[:60]!r}; there are {names}", place)
