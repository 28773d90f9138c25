"""docker-compose.yml and what goes with it: nothing privileged, nothing published beyond this machine."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.container import door
from tests.orchestrator.processes import REPOSITORY

DOCUMENTED = (REPOSITORY / "docs/observe.md").read_text()
COMPOSE = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
POWERFUL = "transship"
"""The one service with capabilities."""


def each_service() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", SERVICES)


@each_service()
def test_no_service_is_privileged_or_shares_the_machines_namespaces(name: str) -> None:
    service = SERVICES[name]
    assert not {"privileged", "pid", "ipc", "userns_mode", "uts", "devices", "cgroup_parent"} & set(service)
    assert service.get("network_mode", "service:door") == "service:door"
    assert service.get("cgroup", "private") == "private"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]


def test_only_one_service_has_capabilities_and_the_documented_ones() -> None:
    given = {name: service["cap_add"] for name, service in SERVICES.items() if "cap_add" in service}
    assert list(given) == [POWERFUL]
    table = re.findall(r"^\| `([A-Z_]+)` \|", DOCUMENTED, re.MULTILINE)
    assert given[POWERFUL] == table
    assert [name for name, service in SERVICES.items() if service.get("user", "0:0").startswith("0")] == [
        POWERFUL
    ]


def test_only_the_door_is_published_and_to_this_machine_alone() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert list(published) == ["door"]
    assert all(re.fullmatch(r"127\.0\.0\.1:\$\{\w+:-\d+\}:\d+", port) for port in published["door"])
    inside = [port.rpartition(":")[2] for port in published["door"]]
    assert SERVICES["door"]["command"] == inside, "the door knows every port that is published"
    assert SERVICES["door"]["entrypoint"][-1] == door.__name__


@each_service()
def test_images_have_a_version(name: str) -> None:
    version = re.fullmatch(r"[\w./]+:\$\{\w+:-([\w.-]+)\}", SERVICES[name]["image"])
    assert version is not None and version[1] != "latest"


def test_the_base_image_is_the_same_everywhere_and_has_a_version() -> None:
    base = re.search(
        r"^ARG BASE=(debian:\d+\.\d+-slim)$", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE
    )
    assert base is not None
    assert {service["build"]["args"]["BASE"] for service in SERVICES.values() if "build" in service} == {
        f"${{BASE_IMAGE:-{base[1]}}}"
    }


def test_every_setting_is_in_the_example_with_its_default() -> None:
    used = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", (REPOSITORY / "docker-compose.yml").read_text()))
    example = (REPOSITORY / ".env.example").read_text()
    assert dict(re.findall(r"^(\w+)=(.*)$", example, re.MULTILINE)) == used


def test_what_is_mounted_is_there_and_cannot_be_written() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source, *rest = volume.split(":")
            if source.startswith("."):
                assert source.startswith("./dashboards/")
                assert rest[-1] == "ro"
            else:
                assert source in COMPOSE["volumes"]


def test_the_system_calls_that_are_forbidden_are_those_of_the_whole_machine() -> None:
    (option,) = [text for text in SERVICES[POWERFUL]["security_opt"] if text.startswith("seccomp:")]
    profile = json.loads((REPOSITORY / option.partition(":")[2]).read_text())
    (refused,) = profile["syscalls"]
    assert refused["action"] == "SCMP_ACT_ERRNO"
    assert {"kexec_load", "init_module", "reboot", "open_by_handle_at"} <= set(refused["names"])
    assert not {"mount", "setns", "bpf", "userfaultfd"} & set(refused["names"])


def test_the_image_is_made_of_no_secret_and_nothing_of_this_machine() -> None:
    allowed = re.findall(r"^!(\S+)$", (REPOSITORY / ".dockerignore").read_text(), re.MULTILINE)
    assert all((REPOSITORY / name).exists() for name in allowed)
    assert not {".env", ".git", ".venv"} & set(allowed)


def test_compose_itself_reads_it() -> None:
    compose = shutil.which("docker-compose")
    if compose is None or " 1." in subprocess.check_output([compose, "--version"], text=True):
        pytest.skip("there is no docker-compose 2 on PATH (./transship test gets it, as root)")
    ran = subprocess.run(
        [compose, "--env-file", os.devnull, "config", "--format", "json"],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], "TOPOLOGY": "chain,5"},
    )
    assert ran.returncode == 0, ran.stderr
    read = json.loads(ran.stdout)
    assert set(read["services"]) == set(SERVICES)
    assert read["services"][POWERFUL]["environment"]["TOPOLOGY"] == "chain,5"
    assert {port["host_ip"] for port in read["services"]["door"]["ports"]} == {"127.0.0.1"}
    assert Path(read["services"]["door"]["build"]["context"]) == REPOSITORY
