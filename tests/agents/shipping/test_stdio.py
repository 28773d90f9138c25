"""Unchanged programs with the standard I/O library over Container Shipping, beside the system's."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.processes import REPOSITORY
from agents.shipping import Attachment, Endpoint
from agents.shipping.stdio import compile_with, gcc
from tests.agents.shipping.api_host import SOON, Host, fill
from tests.agents.shipping.programs import HERE, MEMORY, WARNINGS
from tests.support import wait_until

pytestmark = pytest.mark.root

WC = REPOSITORY / "benchmarks" / "stdio" / "wc.c"
REPLACED = REPOSITORY / "agents" / "shipping" / "stdio"
CALLS = HERE / "stdio_calls.c"
WAYS = ["character", "function", "line", "block", "put_back", "formatted", "wrong_way"]
LIMIT_S = 60


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


INPUTS = {
    "empty": b"",
    "one byte": b"x",
    "no newline at the end": b"two words",
    "lines": b"one\n\ntwo three\n" * 1000,
    "every byte": bytes(range(256)) * 33,
    "a container and a byte": noise(65537),
    "large": noise(3_000_000),
}


class Programs:
    """Each source as two programs: `theirs` with the system's library, `ours` with this one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def theirs(self, source: Path) -> Path:
        program = self._folder / f"{source.stem}-theirs"
        if not program.exists():
            gcc(["-O1", str(source)], program)
        return program

    def ours(self, source: Path) -> Path:
        program = self._folder / f"{source.stem}-ours"
        if not program.exists():
            compile_with([source], program, ["-O1", "-g", *WARNINGS, *MEMORY])
        return program


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    return Programs(tmp_path_factory.mktemp("stdio"))


def conventional(program: Path, data: bytes, *arguments: str, **more: str) -> tuple[int, bytes]:
    """What it does with pipes, and more in its environment."""
    done = subprocess.run(
        [program, *arguments], input=data, capture_output=True, timeout=LIMIT_S, env=os.environ | more
    )
    assert done.stderr == b""
    return done.returncode, done.stdout


class OnChannels:
    """A program whose standard streams are channels of the host, `to` and `of` its ends on our side."""

    def __init__(self, served: Host, host: Attachment, program: Path, *arguments: str) -> None:
        path, manager = served
        self.to: Endpoint = host.open_channel("input", queue=256, timeout=LIMIT_S)
        self.of: Endpoint = host.open_channel("output", queue=16, timeout=LIMIT_S)
        self._host = host
        requests = manager.counters()["manager_requests"]
        environment = {"CS_MANAGER": str(path), "CS_STDIN": "channel:input", "CS_STDOUT": "channel:output"}
        self.process = subprocess.Popen(
            [program, *arguments],
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        # it has attached and opened its input, which is there even if we close it now
        wait_until(lambda: manager.counters()["manager_requests"] >= requests + 2, "the program to read")

    def feed(self, data: bytes) -> None:
        """All of it, in containers of many sizes, and the end."""
        sizes, at = random.Random(len(data)), 0
        while at < len(data):
            piece = data[at : at + sizes.choice((1, 100, 4096, 5000, 65536))]
            self.to.write([fill(self._host.alloc(len(piece)), piece)])
            at += len(piece)
        self.to.close()

    def result(self) -> tuple[int, bytes]:
        written = bytearray()
        while containers := self.of.read(1 << 20, max_containers=16, map=True):
            for container in containers:
                written += container.view()
                container.free()
        out, err = self.process.communicate(timeout=LIMIT_S)
        assert (out, err) == (b"", b"")
        return self.process.returncode, bytes(written)


@pytest.fixture
def started(served: Host, host: Attachment) -> Iterator[list[OnChannels]]:
    made: list[OnChannels] = []
    yield made
    for each in made:
        each.process.kill()
        each.process.communicate()


@pytest.mark.parametrize("kind", INPUTS)
def test_words_are_counted_the_same(
    kind: str, programs: Programs, served: Host, host: Attachment, started: list[OnChannels]
) -> None:
    wanted = conventional(programs.theirs(WC), INPUTS[kind])
    assert conventional(programs.ours(WC), INPUTS[kind]) == wanted  # without a manager
    started.append(OnChannels(served, host, programs.ours(WC)))
    started[0].feed(INPUTS[kind])
    assert started[0].result() == wanted


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["empty", "no newline at the end", "lines", "every byte", "large"])
def test_every_function_does_what_the_systems_does(kind: str, way: str, programs: Programs) -> None:
    wanted = conventional(programs.theirs(CALLS), INPUTS[kind], way)
    assert wanted[0] == 0
    assert conventional(programs.ours(CALLS), INPUTS[kind], way) == wanted


@pytest.mark.parametrize("way", [way for way in WAYS if way != "wrong_way"])
def test_every_function_does_the_same_on_channels(
    way: str, programs: Programs, served: Host, host: Attachment, started: list[OnChannels]
) -> None:
    data = INPUTS["a container and a byte"]
    wanted = conventional(programs.theirs(CALLS), data, way)
    started.append(OnChannels(served, host, programs.ours(CALLS), way))
    started[0].feed(data)
    assert started[0].result() == wanted


def test_a_reader_that_closes_ends_its_writer(
    programs: Programs, served: Host, host: Attachment, started: list[OnChannels]
) -> None:
    started.append(OnChannels(served, host, programs.ours(CALLS), "character"))
    started[0].to.write([fill(host.alloc(65537), noise(65537))])
    (first,) = started[0].of.read(1 << 20, max_containers=1)
    first.free()
    started[0].of.close()
    with contextlib.suppress(BrokenPipeError):  # it may have ended before it has got all
        started[0].feed(noise(65536 * 40))
    assert started[0].process.wait(LIMIT_S) == 1


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"CS_STDIN": "channel:input"}, os.strerror(errno.ENOTCONN)),
        ({"CS_STDIN": "channel:input", "CS_MANAGER": "/nowhere"}, os.strerror(errno.ENOENT)),
        ({"CS_STDIN": "/nowhere"}, os.strerror(errno.ENOENT)),
    ],
)
def test_what_cannot_be_connected_is_an_error_of_the_stream(
    environment: dict[str, str], said: str, programs: Programs
) -> None:
    done = subprocess.run(
        [programs.ours(WC)], env=os.environ | environment, capture_output=True, text=True, timeout=SOON
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"standard input: {said}\n"


@pytest.mark.parametrize("kind", ["empty", "no newline at the end", "every byte", "large"])
def test_named_files_are_read_and_written_the_same(
    kind: str, programs: Programs, served: Host, tmp_path: Path
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(INPUTS[kind])
    wanted = conventional(programs.theirs(WC), INPUTS[kind])
    without = conventional(programs.ours(WC), b"", str(source))
    requests = served[1].counters()["manager_requests"]
    manager = {"CS_MANAGER": str(served[0])}
    assert without == conventional(programs.ours(WC), b"", str(source), **manager) == wanted
    assert served[1].counters()["manager_requests"] > requests
    streams = {"CS_STDIN": str(source), "CS_STDOUT": str(target)}
    for environment in (streams, manager | streams):
        target.write_bytes(b"what was there before, if it was longer" * 99)
        assert conventional(programs.ours(CALLS), b"", "character", **environment) == (0, b"")
        assert target.read_bytes() == INPUTS[kind]


def test_what_is_no_regular_file_is_read_all_the_same(programs: Programs, served: Host) -> None:
    manager = {"CS_MANAGER": str(served[0]), "CS_STDIN": "/dev/stdin"}
    wanted = conventional(programs.theirs(WC), b"one two")
    assert conventional(programs.ours(WC), b"one two", **manager) == wanted


def test_who_writes_to_a_pipe_with_a_name_waits_for_its_reader(
    programs: Programs, served: Host, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    environment = os.environ | {"CS_MANAGER": str(served[0]), "CS_STDOUT": str(pipe)}
    command = [str(programs.ours(CALLS)), "character"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as writer:
        assert writer.stdin is not None
        writer.stdin.write(b"one two")
        writer.stdin.close()
        with pytest.raises(subprocess.TimeoutExpired):
            writer.wait(0.2)
        assert pipe.read_bytes() == b"one two"
        assert writer.wait(LIMIT_S) == 0


@pytest.mark.parametrize(
    "how",
    [[f"-I{REPLACED / 'replace'}"], ["-include", str(REPLACED / "cs_stdio.h")]],
    ids=["path", "include"],
)
def test_nothing_of_the_systems_streams_is_left(how: list[str], tmp_path: Path) -> None:
    def wanted(*options: str) -> set[str]:
        gcc([*options, "-c", str(CALLS)], tmp_path / "calls.o")
        done = subprocess.run(
            ["nm", "-u", tmp_path / "calls.o"], check=True, capture_output=True, text=True, timeout=SOON
        )
        return {line.split()[-1] for line in done.stdout.splitlines()}

    theirs, ours = wanted(), wanted(*how)
    functions = {name for name in theirs if f"cs_{name}" in ours}
    assert {"fopen", "fgets", "fread", "fwrite", "ungetc", "fflush"} <= functions
    streams = functions | {
        "getc",
        "putc",
        "getchar",
        "putchar",
        "printf",
        "puts",
        "stdin",
        "stdout",
        "stderr",
    }
    assert streams & theirs and not streams & ours


def test_what_is_not_replaced_does_not_compile(tmp_path: Path) -> None:
    source = tmp_path / "seeks.c"
    source.write_text("#include <stdio.h>\nint main(void) { return fseek(stdin, 0, SEEK_SET); }\n")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        compile_with([source], tmp_path / "seeks", [])
    assert "poisoned" in refused.value.stderr
