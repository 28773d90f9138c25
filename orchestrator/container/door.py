"""`python -m orchestrator.container.door PORT...`: lets the machine that runs Docker, and nobody else, in to
the ports that are served on this network namespace's loopback address.

Docker hands connections to a published port on to the container's address, never to its loopback address,
and the orchestrator listens on no other without TLS and a token. So this listens there, and connects those
to loopback that come from the machine itself: they have the address of the bridge, which is the gateway
here. Another container or a neighbour on the machine's network has an address of its own and is let go.
"""

import asyncio
import ipaddress
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

CHUNK = 1 << 16
CONNECTIONS = 600
"""At once: somewhat more than the orchestrator allows, so that its refusal is heard."""


def gateway(routes: str) -> str | None:
    """The default gateway, of the text of /proc/net/route; None if there is none."""
    for line in routes.splitlines()[1:]:
        _, destination, via, _, _, _, _, mask, *_ = line.split()
        if int(destination, 16) == int(mask, 16) == 0:
            return str(ipaddress.IPv4Address(socket.ntohl(int(via, 16))))
    return None


def own_address(towards: str) -> str:
    """The address that this namespace has towards another one. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((towards, 9))
        address: str = probe.getsockname()[0]
    return address


class Door:
    """Connects clients with one of the addresses `known` to a port of `inside`."""

    def __init__(self, known: frozenset[str], port: int, inside: str = "127.0.0.1") -> None:
        self._known = known
        self._port = port
        self._inside = inside
        self._open = 0

    async def enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        peer = writer.get_extra_info("peername")
        if peer is None or peer[0] not in self._known or self._open >= CONNECTIONS:
            writer.transport.abort()
            return
        self._open += 1
        try:
            with suppress(OSError):
                await _join(reader, writer, *await asyncio.open_connection(self._inside, self._port))
        finally:
            self._open -= 1
            writer.transport.abort()


async def _join(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    inner_reader: asyncio.StreamReader,
    inner_writer: asyncio.StreamWriter,
) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_pass_on(reader, inner_writer))
            group.create_task(_pass_on(inner_reader, writer))
    except* OSError:
        pass  # one end is gone: so is the connection
    finally:
        inner_writer.transport.abort()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    writer.write_eof()
    await writer.drain()


async def serve(ports: list[int], machine: str, own: str) -> None:
    """Keep the door until SIGTERM or SIGINT. Whoever is in this namespace may use it too."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    for port in ports:
        await asyncio.start_server(Door(frozenset({machine, own}), port).enter, own, port)
    await stop.wait()


def main(arguments: list[str]) -> int:
    """The exit status."""
    machine = gateway(Path("/proc/net/route").read_text())
    if machine is None:
        print("door: this network namespace has no gateway; start it with docker compose", file=sys.stderr)
        return 1
    asyncio.run(serve([int(port) for port in arguments], machine, own_address(machine)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
