"""Delay and jitter of a network: netem in the queue of each of its token buckets."""

from __future__ import annotations

import errno

from topologies.builder import messages
from topologies.builder.errors import Unsupported
from topologies.builder.netlink import Channel, NetlinkError
from topologies.builder.shaping import shapers
from topologies.record import NetworkRecord

_SMALLEST_FRAME = 64


def delay(channel: Channel, network: NetworkRecord, before: NetworkRecord | None = None) -> None:
    """Delay a network's frames as its record says; its buckets are there. `before`: what it was until now.

    What a queue holds in the moment it first gets a delay is lost; after that nothing is, whatever changes.

    Raises:
        Unsupported: the kernel has no netem, or the network no rate and so no queue to wait in.
        OSError: the kernel refused.
    """
    wanted = network.impairments
    if not wanted.delay_ms and not (before is not None and before.impairments.delay_ms):
        return
    if wanted.delay_ms and network.rate_mbps is None:
        reason = "a network without rate_mbps has no queue in which frames could wait"
        raise Unsupported("delay_ms", f"delay_ms must be 0, not {wanted.delay_ms:g}: {reason}")
    shaped = network if network.rate_mbps is not None or before is None else before
    # Once for each frame: not where a link's own rate is shaped, or a trunk of a shared network.
    queues = {shaped.ifb} if shaped.medium == "shared" else set(shaped.ports)
    try:
        channel.send(
            messages.delay(
                shaper.index,
                shaper.name,
                round(wanted.delay_ms * 1e6),
                round(wanted.jitter_ms * 1e6),
                wanted.seed,
                shaper.limit // _SMALLEST_FRAME,
            )
            for shaper in shapers(shaped)
            if shaper.name in queues
        )
    except NetlinkError as error:
        if error.errno != errno.ENOENT:
            raise
        if not wanted.delay_ms:
            return  # the delay that is lifted was refused before
        reason = "frames are delayed by netem, which this kernel does not have"
        raise Unsupported("delay_ms", f"delay_ms must be 0, not {wanted.delay_ms:g}: {reason}") from error
