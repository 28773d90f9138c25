"""The Python client: `Client` for scripts and notebooks, `AsyncClient` for asyncio: docs/python-client.md."""

from orchestrator.client.clients import AsyncClient, Client, RunFailed
from orchestrator.connection import BadAddress, ClientError, Event, Refused, Unreachable

__all__ = [
    "AsyncClient",
    "BadAddress",
    "Client",
    "ClientError",
    "Event",
    "Refused",
    "RunFailed",
    "Unreachable",
]
