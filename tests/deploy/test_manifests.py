"""The Kubernetes base: rendered by kubectl, valid by Kubernetes' own schemas, and in agreement with the code."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from runcast.testkit.node import find_nats_server
from runcast.wire import VERSION, limits

BASE = Path(__file__).parents[2] / "deploy/kubernetes/base"
KUBERNETES = "1.34"
"""The release whose schemas the documents are held to."""
ROLES = ["router", "edge"]

Document = dict[str, Any]


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.fail("kubectl is missing: install Debian's package kubernetes-client (make test-tools does)", pytrace=False)
    ended = subprocess.run([kubectl, "kustomize", BASE], capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "deprecated" not in ended.stderr
    return [document for document in yaml.safe_load_all(ended.stdout) if document]


def of_kind(documents: list[Document], *kinds: str) -> list[Document]:
    return [document for document in documents if document["kind"] in kinds]


def find(documents: list[Document], kind: str, name: str) -> Document:
    found = [document for document in of_kind(documents, kind) if document["metadata"]["name"] == name]
    assert len(found) == 1, f"{kind} {name}: {len(found)} of them"
    return found[0]


def workloads(documents: list[Document]) -> list[Document]:
    return of_kind(documents, "Deployment", "StatefulSet")


def pod(workload: Document) -> Document:
    return workload["spec"]["template"]["spec"]


def container(workload: Document) -> Document:
    (only,) = pod(workload)["containers"]
    return only


def environ(documents: list[Document], workload: Document) -> dict[str, str]:
    """What the container's environment will hold, less what Kubernetes computes."""
    found: dict[str, str] = {}
    for source in container(workload).get("envFrom", []):
        found |= find(documents, "ConfigMap", source["configMapRef"]["name"])["data"]
    return found | {entry["name"]: entry["value"] for entry in container(workload).get("env", []) if "value" in entry}


def selected(documents: list[Document], labels: dict[str, str]) -> list[str]:
    """Names of the workloads whose pods have the labels."""
    assert labels
    return [
        workload["metadata"]["name"]
        for workload in workloads(documents)
        if labels.items() <= workload["spec"]["template"]["metadata"]["labels"].items()
    ]


def test_every_document_is_valid(documents):
    assert len(documents) > 10
    for document in documents:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_a_misspelt_field_would_be_noticed(documents):
    edge = find(documents, "Deployment", "runcast-edge")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**edge, "spec": {**edge["spec"], "replica": 2}}, KUBERNETES, strict=True)


def test_everything_is_in_the_namespace(documents):
    for document in documents:
        if document["kind"] != "Namespace":
            assert document["metadata"]["namespace"] == "runcast"


def test_pods_meet_the_restricted_standard(documents):
    assert find(documents, "Namespace", "runcast")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for workload in workloads(documents):
        security = pod(workload)["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] >= 10_000
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod(workload)["automountServiceAccountToken"] is False
        assert container(workload)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_pods_say_what_they_need_and_are_spread(documents):
    for workload in workloads(documents):
        resources = container(workload)["resources"]
        assert resources["requests"].keys() == {"cpu", "memory"}
        assert "memory" in resources["limits"]
        constraints = pod(workload)["topologySpreadConstraints"]
        assert {constraint["topologyKey"] for constraint in constraints} == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
        for constraint in constraints:
            assert selected(documents, constraint["labelSelector"]["matchLabels"]) == [workload["metadata"]["name"]]


def test_selectors_find_their_pods_and_no_others(documents):
    selectors = [(document, document["spec"]["selector"]) for document in of_kind(documents, "Service")]
    selectors += [
        (document, document["spec"]["selector"]["matchLabels"])
        for document in of_kind(documents, "PodDisruptionBudget", "Deployment", "StatefulSet")
    ]
    selectors += [(document, document["spec"]["podSelector"]["matchLabels"]) for document in of_kind(documents, "NetworkPolicy")]
    assert len(selectors) == 3 + 3 + 3 + 1
    for document, labels in selectors:
        assert selected(documents, labels) == [document["metadata"]["name"]], document["kind"]


def test_nats_is_reached_by_routers_edges_and_its_own_servers_only(documents):
    clients, servers = find(documents, "NetworkPolicy", "nats")["spec"]["ingress"]
    names = [name for peer in clients["from"] for name in selected(documents, peer["podSelector"]["matchLabels"])]
    assert sorted(names) == ["runcast-edge", "runcast-router"]
    (peer,) = servers["from"]
    assert selected(documents, peer["podSelector"]["matchLabels"]) == ["nats"]


def test_every_port_that_is_referred_to_exists(documents):
    for workload in workloads(documents):
        ports = {port["name"]: port["containerPort"] for port in container(workload)["ports"]}
        for name in ("readinessProbe", "livenessProbe"):
            probe = container(workload)[name]
            (port,) = (probe[way]["port"] for way in ("httpGet", "tcpSocket", "grpc") if way in probe)
            assert port in ports or port in ports.values()
        for port in find(documents, "Service", workload["metadata"]["name"])["spec"]["ports"]:
            assert port["port"] == ports[port["targetPort"]]


@pytest.mark.parametrize("role", ROLES)
def test_settings_exist_and_ports_are_the_defaults(role, documents, check_environ, default_port):
    deployment = find(documents, "Deployment", f"runcast-{role}")
    settings = check_environ(role, environ(documents, deployment))
    (port,) = container(deployment)["ports"]
    assert settings.port == port["containerPort"] == default_port(role)
    assert settings.host == "0.0.0.0"  # noqa: S104 # in a pod, behind a Service
    assert settings.log == "json"


@pytest.mark.parametrize("role", ROLES)
def test_development_authentication_is_not_deployed(role, documents):
    """When real authentication exists it is set in kustomization.yaml's one place, and this test changes with it."""
    assert "RUNCAST_AUTH" not in environ(documents, find(documents, "Deployment", f"runcast-{role}"))
    assert (BASE / "kustomization.yaml").read_text().count("# RUNCAST_AUTH belongs here") == 1


@pytest.mark.parametrize("role", ROLES)
def test_a_pod_has_time_to_drain(role, documents):
    deployment = find(documents, "Deployment", f"runcast-{role}")
    sleep, before_s = container(deployment)["lifecycle"]["preStop"]["exec"]["command"]
    assert sleep == "sleep"
    assert pod(deployment)["terminationGracePeriodSeconds"] > int(before_s) + limits.DRAIN_S + 1


@pytest.mark.parametrize("role", ROLES)
def test_images_have_this_version(role, documents):
    assert container(find(documents, "Deployment", f"runcast-{role}"))["image"] == f"runcast-{role}:{VERSION}"


def test_probes_ask_what_the_services_answer(documents):
    router, edge = (container(find(documents, "Deployment", f"runcast-{role}")) for role in ROLES)
    assert router["readinessProbe"]["grpc"]["port"] == 7400
    assert "grpc" not in router["livenessProbe"]  # NOT_SERVING while NATS is away: no reason to restart
    assert edge["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert edge["livenessProbe"]["httpGet"]["path"] == "/healthz"


def test_the_autoscaler_alone_says_how_many_edges(documents):
    scaler = find(documents, "HorizontalPodAutoscaler", "runcast-edge")["spec"]
    edge = find(documents, "Deployment", scaler["scaleTargetRef"]["name"])
    assert "replicas" not in edge["spec"]
    assert scaler["minReplicas"] >= 2


def test_agents_see_every_router(documents):
    assert find(documents, "Service", "runcast-router")["spec"]["clusterIP"] == "None"


def test_nats_has_a_server_for_every_replica(documents, check_environ):
    nats = find(documents, "StatefulSet", "nats")
    router = check_environ("router", environ(documents, find(documents, "Deployment", "runcast-router")))
    assert router.replicas == nats["spec"]["replicas"] == 3
    assert router.shards == limits.SHARDS_CLUSTER
    service = find(documents, "Service", nats["spec"]["serviceName"])["spec"]
    assert service["clusterIP"] == "None"
    assert service["publishNotReadyAddresses"] is True
    names = [f"nats-{index}.{nats['spec']['serviceName']}" for index in range(router.replicas)]
    assert router.nats_servers == [f"nats://{name}:4222" for name in names]
    (volume,) = (volume for volume in pod(nats)["volumes"] if "configMap" in volume)
    config = find(documents, "ConfigMap", volume["configMap"]["name"])["data"]["nats.conf"]
    assert re.findall(r"nats://([^:]+):6222", config) == names


def test_nats_stores_in_its_volume_and_has_time_to_leave(documents):
    nats = find(documents, "StatefulSet", "nats")
    config = (BASE / "nats.conf").read_text()
    (claim,) = nats["spec"]["volumeClaimTemplates"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container(nats)["volumeMounts"]}
    assert f'store_dir: "{mounts[claim["metadata"]["name"]]}"' in config
    assert f'pid_file: "{mounts["run"]}/' in config
    size = int(claim["spec"]["resources"]["requests"]["storage"].removesuffix("Gi"))
    assert int(re.search(r"max_file_store: (\d+)GB", config)[1]) < size
    assert pod(nats)["terminationGracePeriodSeconds"] > int(re.search(r'lame_duck_duration: "(\d+)s"', config)[1]) + 10


def test_the_real_nats_server_accepts_its_configuration():
    ended = subprocess.run(
        [find_nats_server(), "-t", "-c", BASE / "nats.conf"],
        env={**os.environ, "POD_NAME": "nats-0"},
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
