"""Who may ask a server: this machine, or whoever has the token over TLS; and how much."""

import asyncio
import json
import shutil
import signal
import socket
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from agents.problems import problem_middleware
from orchestrator.access import Access, AccessError, access, parse_listen, read_token
from orchestrator.api import guards
from orchestrator.api.guards import BURST, PEERS, RATE, Flow, guard
from tests.orchestrator.processes import FAKE_SERVER, address_of, cli, started, until_ended
from tests.support import PATIENCE_S

TLS = Path(__file__).parent / "tls"
TOKEN = "0123456789abcdef0123456789abcdef-_"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A certificate for 127.0.0.1 and lab.test, its key, and a token, as private as they must be."""
    found = {name: tmp_path / name for name in ("certificate", "key", "token")}
    for name in ("certificate", "key"):
        shutil.copy(TLS / f"{name}.pem", found[name])
    found["token"].write_text(f"{TOKEN}\n")
    for path in found.values():
        path.chmod(0o600)
    return found


def options(files: dict[str, Path]) -> list[str]:
    return [part for name, path in files.items() for part in (f"--{name}", str(path))]


@pytest.mark.parametrize("without", ["certificate", "key", "token"])
def test_another_address_than_loopback_needs_all_three(files: dict[str, Path], without: str) -> None:
    given: dict[str, Path | None] = {**files, without: None}
    with pytest.raises(AccessError, match="--certificate"):
        access(parse_listen("0.0.0.0:80"), given["certificate"], given["key"], given["token"], ())


def test_with_all_three_it_is_listened_at(files: dict[str, Path]) -> None:
    who = access(
        parse_listen("10.0.0.1:80"), files["certificate"], files["key"], files["token"], ("lab.test",)
    )
    assert who.token == TOKEN and who.tls is not None and TOKEN not in repr(who)
    assert who.answers_to("lab.test") and who.answers_to("10.0.0.1") and who.answers_to("192.168.1.1")
    assert not who.answers_to("evil.example") and not who.answers_to(None)
    assert not Access().answers_to("10.0.0.1")


@pytest.mark.parametrize("name", ["key", "token"])
def test_what_others_can_read_is_no_secret(files: dict[str, Path], name: str) -> None:
    files[name].chmod(0o640)
    with pytest.raises(AccessError, match=rf"--{name} .*others can read it \(mode 640\)"):
        access(parse_listen("10.0.0.1:80"), files["certificate"], files["key"], files["token"], ())


@pytest.mark.parametrize("text", [b"", b"short", b"x" * 513, b"with space " * 8, b"\xff" * 40, b"a\x00" * 20])
def test_a_token_is_long_and_plain(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "token").write_bytes(text)
    (tmp_path / "token").chmod(0o600)
    with pytest.raises(AccessError, match="--token"):
        read_token(tmp_path / "token")


def test_a_key_that_is_none_is_one_message(files: dict[str, Path], tmp_path: Path) -> None:
    files["key"].write_text("no key")
    with started(*FAKE_SERVER, "--listen", "0.0.0.0:0", *options(files), "--state", str(tmp_path)) as server:
        assert until_ended(server) == 2
        assert server.stderr is not None
        said = server.stderr.read()
    assert said.startswith(f"transship: --certificate {files['certificate']}, --key ")
    assert len(said.splitlines()) == 1


def test_others_are_served_with_tls_and_the_token_only(files: dict[str, Path], tmp_path: Path) -> None:
    context = ssl.create_default_context(cafile=str(files["certificate"]))
    with started(*FAKE_SERVER, "--listen", "0.0.0.0:0", *options(files), "--state", str(tmp_path)) as server:
        address = address_of(server).replace("0.0.0.0", "127.0.0.1")
        assert address.startswith("https://")

        def status(path: str, **headers: str) -> int:
            request = urllib.request.Request(f"{address}{path}", headers=headers)
            try:
                with urllib.request.urlopen(request, timeout=PATIENCE_S, context=context) as answer:
                    return int(answer.status)
            except urllib.error.HTTPError as error:
                assert json.load(error)["status"] == error.code
                return error.code

        for path in ("/api/v1/health", "/docs", "/api/v1/openapi.json", "/nothing"):
            assert status(path) == 401
            assert status(path, Authorization=f"Bearer {TOKEN}x") == 401
            assert status(path, Authorization=TOKEN) == 401
        assert status("/api/v1/health", Authorization=f"Bearer {TOKEN}") == 200
        assert status("/api/v1/health", Authorization=f"Bearer {TOKEN}", Host="evil.example") == 421
        assert status("/api/v1/health", Authorization=f"Bearer {TOKEN}", Origin="http://127.0.0.1") == 403
        with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), PATIENCE_S) as plain:
            plain.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"200" not in plain.recv(100)
        environment = {
            "SSL_CERT_FILE": str(files["certificate"]),
            "TRANSSHIP_TOKEN_FILE": str(files["token"]),
        }
        answer = cli(tmp_path, "inspect", "--server", address, environment=environment)
        assert (answer.returncode, answer.stdout) == (0, "no labs\n"), answer.stderr
        del environment["TRANSSHIP_TOKEN_FILE"]
        assert cli(tmp_path, "inspect", "--server", address, environment=environment).returncode == 1
        assert TOKEN not in Path(f"/proc/{server.pid}/cmdline").read_text()
        server.send_signal(signal.SIGTERM)
        assert until_ended(server) == 0
        assert server.stderr is not None and TOKEN not in server.stderr.read()


def test_a_peer_that_asks_too_often_is_slowed_down_and_no_other() -> None:
    now = [0.0]
    flow = Flow(lambda: now[0])
    assert all(flow.takes("a") for _ in range(int(BURST)))
    assert not flow.takes("a") and flow.takes("b")
    now[0] += 10 / RATE
    assert [flow.takes("a") for _ in range(11)] == [True] * 10 + [False]
    now[0] += 1e9
    assert all(flow.takes("a") for _ in range(int(BURST))) and not flow.takes("a")
    for peer in range(PEERS):
        flow.takes(str(peer))
    assert flow.takes("a")  # forgotten, and so new


async def test_too_many_requests_are_told_when_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "BURST", 2.0)

    async def hello(request: web.Request) -> web.Response:
        return web.Response()

    app = web.Application(middlewares=[problem_middleware, *guard(Access(), lambda: 0.0)])
    app.router.add_get("/", hello)
    async with TestClient(TestServer(app)) as client:
        answers = [await client.get("/") for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 429]
        assert answers[2].headers["Retry-After"] == "1"
        assert (await answers[2].json())["status"] == 429


async def test_one_connection_too_many_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "CONNECTIONS", 2)
    runner = web.AppRunner(web.Application())
    await runner.setup()
    assert runner.server is not None
    server = await asyncio.get_running_loop().create_server(guards.counted(runner.server), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(host, port)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Any:
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        return await asyncio.wait_for(reader.readline(), PATIENCE_S)

    kept = [await connect(), await connect()]
    for one in kept:
        assert b"404" in await answer(*one)
    reader, writer = await connect()
    assert b"503" in await asyncio.wait_for(reader.read(), PATIENCE_S)
    for one in (*kept, (reader, writer)):
        one[1].close()
    server.close()
    await runner.cleanup()
