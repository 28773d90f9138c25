"""Whether a lab's networks are what the profile would have deployed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.experiments.definitions import Definition, Profile
from topologies import resolve


def other_media(record: Mapping[str, Any], definition: Definition, profile: Profile) -> list[str]:
    """Notes for the result: networks on the path of a given lab with another medium than the profile's.

    Such a run is allowed: the rates are the same. What the medium costs in CPU is not.
    """
    usual = resolve(definition.topology_for(profile)).networks
    notes = []
    for network in (definition.path.ring_in, definition.path.ring_out):
        has, wanted = record["networks"][network]["medium"], usual[network].medium
        if has != wanted:
            notes.append(f"{network} of this lab is a {has} network; profile {profile} uses a {wanted} one")
    return notes
