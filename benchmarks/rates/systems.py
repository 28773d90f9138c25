"""What `bench rates` compares, and what is counted."""

from __future__ import annotations

SWITCHED, SHARED, MININET = SYSTEMS = ("transship-switched", "transship-shared", "mininet")
MININET_MOST_MBPS = 1000
"""TCLink ignores more than this, with a message."""
HEADERS = 42
"""Bytes of a frame that are not payload and that the shapers count: Ethernet (14), IPv4 (20) and UDP (8). Not
counted are preamble, checksum and gap."""
