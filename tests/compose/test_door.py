"""The door: in from the machine, out for everybody else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from orchestrator.container.door import CONNECTIONS, Door, gateway, own_address

MACHINE = "127.0.0.2"
"""Stands for the address that the machine's connections have; 127.0.0.3 for a neighbour's."""

ROUTES = """\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	010012AC	0003	0	0	0	00000000	0	0	0
eth0	000012AC	00000000	0001	0	0	0	0000FFFF	0	0	0
"""


async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that answers at the end of what it is asked, as HTTP/1.0 does."""
    writer.write((await reader.read(-1)).upper())
    writer.close()


@asynccontextmanager
async def door() -> AsyncIterator[int]:
    """A door in front of `shout`; its port."""
    inside = await asyncio.start_server(shout, "127.0.0.1", 0)
    port = inside.sockets[0].getsockname()[1]
    outside = await asyncio.start_server(Door(frozenset({MACHINE}), port).enter, "127.0.0.1", 0)
    async with inside, outside:
        yield outside.sockets[0].getsockname()[1]


async def ask(port: int, address: str, question: bytes) -> bytes:
    """What a client at this address is answered; empty when it is let go."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
        writer.write(question)
        writer.write_eof()
        return await reader.read(-1)
    except ConnectionError:
        return b""


async def test_the_machine_is_let_in_and_its_neighbours_are_not() -> None:
    async with door() as port:
        assert await ask(port, MACHINE, b"labs") == b"LABS"
        assert await ask(port, "127.0.0.3", b"labs") == b""
        assert await ask(port, "127.0.0.1", b"labs") == b""


async def test_much_data_and_many_clients_get_through_whole() -> None:
    question = b"runs" * 250_000
    async with door() as port:
        answers = await asyncio.gather(*(ask(port, MACHINE, question) for _ in range(20)))
    assert set(answers) == {question.upper()}


async def test_one_connection_too_many_is_let_go_and_room_comes_back() -> None:
    async with door() as port:
        opened = [
            await asyncio.open_connection("127.0.0.1", port, local_addr=(MACHINE, 0))
            for _ in range(CONNECTIONS)
        ]
        assert await ask(port, MACHINE, b"labs") == b""
        for reader, writer in opened:
            writer.write_eof()
            with suppress(ConnectionError):
                await reader.read(-1)
            writer.close()
        assert await ask(port, MACHINE, b"labs") == b"LABS"


async def test_where_nobody_listens_inside_the_connection_is_closed() -> None:
    inside = await asyncio.start_server(shout, "127.0.0.1", 0)
    port = inside.sockets[0].getsockname()[1]
    inside.close()
    await inside.wait_closed()
    async with await asyncio.start_server(Door(frozenset({MACHINE}), port).enter, "127.0.0.1", 0) as outside:
        assert await ask(outside.sockets[0].getsockname()[1], MACHINE, b"labs") == b""


@pytest.mark.parametrize(("routes", "address"), [(ROUTES, "172.18.0.1"), (ROUTES.splitlines()[0], None)])
def test_the_gateway_is_that_of_the_default_route(routes: str, address: str | None) -> None:
    assert gateway(routes) == address


def test_the_own_address_is_the_one_towards_the_gateway() -> None:
    assert own_address("127.0.0.1") == "127.0.0.1"
