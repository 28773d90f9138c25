"""Captures, consoles and pictures over REST: passed on as they come, ended with their client, refused to
strangers."""

import json

import aiohttp
import pytest

from tests.orchestrator.api import Api
from tests.orchestrator.fakes import PNG
from tests.support import eventually

HOST = "/api/v1/labs/one/hosts/middle"
CAPTURE = f"{HOST}/interfaces/eth0/capture"


async def test_a_capture_is_passed_on_to_its_limit(api: Api) -> None:
    await api.lab("one")
    async with api.client.get(f"{CAPTURE}?limit=3&snaplen=96") as answer:
        assert (answer.status, answer.content_type) == (200, "application/x-pcapng")
        assert api.machine.captures == [("one", ("hosts", "middle", "interfaces", "eth0"), 3, 96)]
        assert await answer.read() == b"frames"
    async with api.client.get("/api/v1/labs/one/networks/ring-a/capture?limit=1") as answer:
        assert api.machine.captures == [("one", ("networks", "ring-a"), 1, 262144)]
        assert await answer.read() == b"frames"


async def test_a_capture_ends_with_its_client_also_while_nothing_comes(api: Api) -> None:
    await api.lab("one")
    answer = await api.client.get(CAPTURE)
    assert await answer.content.readany() == b"frames"
    assert len(api.machine.captures) == 1
    answer.close()
    await eventually(lambda: not api.machine.captures, "the capture to be ended")


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        (f"{HOST}/interfaces/eth7/capture", 404, "interface"),
        (f"{HOST}/interfaces/-rf/capture", 404, "interface"),
        ("/api/v1/labs/one/hosts/none/interfaces/eth0/capture", 404, "host"),
        ("/api/v1/labs/one/networks/none/capture", 404, "network"),
        (f"{CAPTURE}?limit=0", 422, "limit"),
        (f"{CAPTURE}?snaplen=1", 422, "snaplen"),
        (f"{CAPTURE}?filter=x", 422, "filter"),
        (f"{HOST}/console", 400, "Upgrade"),
        (f"{HOST}/console?rows=0", 422, "rows"),
        (f"{HOST}/console?terminal=$(x)", 422, "terminal"),
    ],
)
async def test_what_cannot_be_looked_at_is_named(api: Api, path: str, status: int, field: str) -> None:
    await api.lab("one")
    assert (await api.send("GET", path, status=status))["field"] == field
    assert api.machine.captures == []


async def test_a_console_carries_bytes_both_ways_and_tells_how_it_ended(api: Api) -> None:
    await api.lab("one")
    async with api.client.ws_connect(f"{HOST}/console?rows=30&columns=100&terminal=vt100") as socket:
        said = json.loads(await socket.receive_bytes())
        assert said == {"rows": "30", "columns": "100", "terminal": "vt100"}
        await socket.send_bytes(b"\x03\xff")
        assert await socket.receive_bytes() == b"\x03\xff"
        await socket.send_str('{"rows": 1}')
        assert await socket.receive_str() == '{"rows": 1}'
        await socket.send_bytes(b"exit")
        assert json.loads(await socket.receive_str()) == {"exit": 4}
        assert (await socket.receive()).type == aiohttp.WSMsgType.CLOSE
    await eventually(lambda: api.machine.consoles == 0, "the console to be ended")


async def test_a_console_ends_with_its_client(api: Api) -> None:
    await api.lab("one")
    async with api.client.ws_connect(f"{HOST}/console") as socket:
        await socket.receive_bytes()
        assert api.machine.consoles == 1
    await eventually(lambda: api.machine.consoles == 0, "the console to be ended")


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Host": "evil.example"}])
async def test_a_page_of_elsewhere_gets_no_console(api: Api, headers: dict[str, str]) -> None:
    await api.lab("one")
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await api.client.ws_connect(f"{HOST}/console", headers=headers)
    assert caught.value.status in (403, 421)
    assert api.machine.consoles == 0


async def display(api: Api, system: str = "linux") -> str:
    """Where the picture of a display is."""
    spec = {"workload": "display", "system": system, "params": {}}
    return f"{HOST}/workloads/{await api.machine.start('one', 'middle', spec)}/picture"


async def test_a_picture_is_a_png_that_nobody_keeps_and_says_which_frame_it_is(api: Api) -> None:
    await api.lab("one")
    path = await display(api)
    for query, width in (("", b"None"), ("?width=320", b"320")):
        async with api.client.get(path + query) as answer:
            assert (answer.status, answer.content_type) == (200, "image/png")
            headers = [answer.headers[name] for name in ("Transship-Frame", "Cache-Control")]
            assert headers == ["12", "no-store"]
            assert await answer.read() == PNG + width


async def test_what_has_no_picture_is_named(api: Api) -> None:
    await api.lab("one")
    path = await display(api)
    sink = await api.send("POST", f"{HOST}/workloads", {"workload": "sink"}, 201)
    for where, status, field in (
        (f"{path}?width=0", 422, "width"),
        (f"{path}?width=16385", 422, "width"),
        (f"{path}?height=7", 422, "height"),
        (f"{HOST}/workloads/{sink['id']}/picture", 409, "workload"),
        (f"{HOST}/workloads/none/picture", 404, "workload"),
        ("/api/v1/labs/one/hosts/none/workloads/x/picture", 404, "host"),
    ):
        assert (await api.send("GET", where, status=status))["field"] == field


async def test_a_picture_is_to_be_had_while_a_run_uses_the_lab(api: Api) -> None:
    await api.lab("one")
    run = await api.send("POST", "/api/v1/runs", {"experiment": "endless", "lab": "one"}, 202)
    await api.until(lambda: api.send("GET", "/api/v1/labs/one"), lambda lab: lab["run"] == run["id"])
    async with api.client.get(await display(api)) as answer:
        assert answer.status == 200
    await api.send("DELETE", f"/api/v1/runs/{run['id']}", status=202)
    await api.ended(run["id"])


async def test_a_lab_that_a_run_uses_is_not_looked_into(api: Api) -> None:
    await api.lab("one")
    run = await api.send("POST", "/api/v1/runs", {"experiment": "endless", "lab": "one"}, 202)
    await api.until(lambda: api.send("GET", "/api/v1/labs/one"), lambda lab: lab["run"] == run["id"])
    for path in (CAPTURE, "/api/v1/labs/one/networks/ring-a/capture", f"{HOST}/console"):
        assert run["id"] in (await api.send("GET", path, status=409))["detail"]
    assert run["id"] in (await api.send("POST", f"{HOST}/exec", {"argv": ["true"]}, 409))["detail"]
    await api.send("DELETE", f"/api/v1/runs/{run['id']}", status=202)
    await api.ended(run["id"])
