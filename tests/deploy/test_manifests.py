"""The Kubernetes base, and an overlay of it: rendered by kubectl, valid by Kubernetes' own schemas, in agreement with the code."""

import base64
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml
from cryptography import x509

from runcast.bus.settings import load_settings
from runcast.testkit.node import find_nats_server
from runcast.wire import VERSION, limits
from tests.deploy.conftest import SETTINGS

BASE = Path(__file__).parents[2] / "deploy/kubernetes/base"
KUBERNETES = "1.34"
"""The release whose schemas the documents are held to."""
ROLES = ["router", "edge", "admin"]

Document = dict[str, Any]


def render(directory: Path) -> list[Document]:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.fail("kubectl is missing: install Debian's package kubernetes-client (make test-tools does)", pytrace=False)
    ended = subprocess.run([kubectl, "kustomize", directory], capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "deprecated" not in ended.stderr
    return [document for document in yaml.safe_load_all(ended.stdout) if document]


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    return render(BASE)


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> list[Document]:
    """The example, with the secrets that its script makes."""
    directory = tmp_path_factory.mktemp("deploy")
    shutil.copytree(BASE.parents[1], directory, ignore=shutil.ignore_patterns("secrets", ".env"), dirs_exist_ok=True)
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    made = subprocess.run(
        [directory / "kubernetes/example/secrets.sh"], env=environ, capture_output=True, text=True, timeout=50, check=False
    )
    assert made.returncode == 0, made.stderr
    return render(directory / "kubernetes/example")


def secret(documents: list[Document], name: str) -> dict[str, bytes]:
    """What is in a secret, whose name may end in a hash."""
    (found,) = [each for each in of_kind(documents, "Secret") if re.fullmatch(rf"{name}(-[a-z0-9]{{10}})?", each["metadata"]["name"])]
    return {key: base64.b64decode(value) for key, value in found["data"].items()}


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


def nats_files(documents: list[Document]) -> dict[str, str]:
    """What is in the directory that nats-server reads."""
    (volume,) = (volume for volume in pod(find(documents, "StatefulSet", "nats"))["volumes"] if "projected" in volume)
    held: dict[str, str] = {}
    for source in volume["projected"]["sources"]:
        held |= find(documents, "ConfigMap", source["configMap"]["name"])["data"]
    return held


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
    assert len(selectors) == 4 + 4 + 4
    for document, labels in selectors:
        assert selected(documents, labels) == [document["metadata"]["name"]], document["kind"]
    for document in of_kind(documents, "NetworkPolicy"):
        component = document["metadata"]["labels"].get("app.kubernetes.io/component")
        names = {workload["metadata"]["name"] for workload in workloads(documents)}
        names = {name for name in names if component is None or name in (component, f"runcast-{component}")}
        labels = document["spec"]["podSelector"].get("matchLabels", {})
        assert not labels or set(selected(documents, labels)) == names


def test_nobody_talks_to_anybody_but_as_it_is_said(documents):
    closed = find(documents, "NetworkPolicy", "runcast-closed")["spec"]
    assert closed == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    ways = [document["spec"] for document in of_kind(documents, "NetworkPolicy")]
    let_in = {}
    for way in ways:
        for rule in way.get("ingress", ()):
            for peer in rule["from"]:
                assert peer.keys() <= {"podSelector", "namespaceSelector"}
                assert all(selector["matchLabels"] for selector in peer.values()), "an empty selector lets in everybody"
                if "namespaceSelector" in peer:
                    (label,) = peer["namespaceSelector"]["matchLabels"].items()
                    let_in[label[0]] = sorted(port["port"] for port in rule["ports"])
    assert let_in == {"runcast-agents": ["grpc"], "runcast-ingress": ["http"], "runcast-operators": ["grpc", "http"]}
    anywhere = {port["port"] for way in ways for rule in way.get("egress", ()) if "to" not in rule for port in rule["ports"]}
    assert anywhere == {53, 443}  # the DNS, and issuers


def test_nats_is_reached_by_services_and_its_own_servers_only(documents):
    clients, servers = find(documents, "NetworkPolicy", "nats")["spec"]["ingress"]
    names = [name for peer in clients["from"] for name in selected(documents, peer["podSelector"]["matchLabels"])]
    assert sorted(names) == ["runcast-admin", "runcast-edge", "runcast-router"]
    (peer,) = servers["from"]
    assert selected(documents, peer["podSelector"]["matchLabels"]) == ["nats"]


def test_every_port_that_is_referred_to_exists(documents):
    for workload in workloads(documents):
        ports = {port["name"]: port["containerPort"] for port in container(workload)["ports"]}
        for name in ("readinessProbe", "livenessProbe"):
            probe = container(workload)[name]
            if "exec" in probe:
                continue
            (port,) = (probe[way]["port"] for way in ("httpGet", "tcpSocket", "grpc") if way in probe)
            assert port in ports or port in ports.values()
        for port in find(documents, "Service", workload["metadata"]["name"])["spec"]["ports"]:
            assert port["port"] == ports[port["targetPort"]]


@pytest.mark.parametrize("role", ROLES)
def test_settings_exist_and_ports_are_the_defaults(role, documents, check_environ, default_port):
    deployment = find(documents, "Deployment", f"runcast-{role}")
    settings = check_environ(role, environ(documents, deployment))
    port = container(deployment)["ports"][0]
    assert settings.port == port["containerPort"] == default_port(role)
    assert settings.host == "0.0.0.0"  # noqa: S104 # in a pod, behind a Service
    assert settings.log == "json"


@pytest.mark.parametrize("role", ROLES)
def test_a_service_checks_who_connects_over_tls_and_says_to_nats_who_it_is(role, documents, check_environ):
    deployment = find(documents, "Deployment", f"runcast-{role}")
    settings = check_environ(role, environ(documents, deployment))
    assert settings.auth == ("jwt" if role == "edge" else "token")
    mounted = {mount["mountPath"]: mount["name"] for mount in container(deployment)["volumeMounts"]}
    volumes = {volume["name"]: volume["secret"]["secretName"] for volume in pod(deployment)["volumes"]}
    assert {path: volumes[name] for path, name in mounted.items()} == {
        "/etc/runcast/auth": f"runcast-{role}-auth",
        "/etc/runcast/tls": f"runcast-{role}-tls",
    }
    assert settings.auth_file == "/etc/runcast/auth/auth.toml"
    assert (settings.tls_cert, settings.tls_key) == ("/etc/runcast/tls/tls.crt", "/etc/runcast/tls/tls.key")
    assert settings.nats_ca == "/etc/runcast/tls/ca.crt"
    (password,) = [entry["valueFrom"]["secretKeyRef"] for entry in container(deployment)["env"] if entry["name"] == "NATS_PASSWORD"]
    assert password == {"name": "nats-passwords", "key": role}
    assert settings.nats_servers == [f"tls://{role}:$(NATS_PASSWORD)@nats-{index}.nats:4222" for index in range(3)]


def test_the_base_holds_no_secret(documents):
    assert not of_kind(documents, "Secret")


def test_nats_reads_the_shipped_permissions(documents):
    held = nats_files(documents)
    assert held["permissions.conf"] == (BASE.parents[1] / "nats/permissions.conf").read_text()
    assert 'include "permissions.conf"' in held["nats.conf"]


@pytest.mark.timeout(120)
def test_the_example_is_valid_and_brings_every_secret(overlay):
    for document in overlay:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    held = {each["metadata"]["name"]: set(each["data"]) for each in of_kind(overlay, "Secret")}
    assert len(held) == 8
    for workload in workloads(overlay):
        named = {volume["secret"]["secretName"] for volume in pod(workload)["volumes"] if "secret" in volume}
        assert named
        assert named <= held.keys()
        for entry in container(workload)["env"]:
            if "secretKeyRef" in entry.get("valueFrom", {}):
                reference = entry["valueFrom"]["secretKeyRef"]
                assert reference["key"] in held[reference["name"]]
    (ingress,) = of_kind(overlay, "Ingress")
    open_to_browsers = {path["path"] for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]}
    assert open_to_browsers == {"/v1/", "/client/", "/react/"}, "what pages load from an edge, and not its health"
    for rule in ingress["spec"]["rules"]:
        for path in rule["http"]["paths"]:
            backend = path["backend"]["service"]
            ports = find(overlay, "Service", backend["name"])["spec"]["ports"]
            assert backend["port"]["name"] in {port["name"] for port in ports}


@pytest.mark.parametrize("role", ROLES)
def test_a_service_starts_with_what_the_example_mounts(role, overlay, tmp_path, check_environ):
    """Its settings, with the mounted files where the test put them, are accepted; NATS's certificate is for the names that it goes to."""
    for what in ("auth", "tls"):
        (tmp_path / what).mkdir()
        for name, content in secret(overlay, f"runcast-{role}-{what}").items():
            (tmp_path / what / name).write_bytes(content)
    values = environ(overlay, find(overlay, "Deployment", f"runcast-{role}"))
    password = secret(overlay, "nats-passwords")[role].decode()
    values = {name: value.replace("/etc/runcast", str(tmp_path)).replace("$(NATS_PASSWORD)", password) for name, value in values.items()}
    settings = load_settings(SETTINGS[role], role, values)
    authority = x509.load_pem_x509_certificate((tmp_path / "tls/ca.crt").read_bytes())
    nats = x509.load_pem_x509_certificate(secret(overlay, "nats-tls")["tls.crt"])
    nats.verify_directly_issued_by(authority)
    names = nats.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
    assert names == [urlsplit(url).hostname for url in settings.nats_servers]


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
    router, edge, admin = (container(find(documents, "Deployment", f"runcast-{role}")) for role in ROLES)
    assert router["readinessProbe"]["exec"]["command"] == ["python", "/opt/runcast/healthcheck.py", "router"]  # gRPC probes know no TLS
    assert "tcpSocket" in router["livenessProbe"]  # NOT_SERVING while NATS is away: no reason to restart
    for web in (edge, admin):
        assert web["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http", "scheme": "HTTPS"}
        assert web["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http", "scheme": "HTTPS"}


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
    assert [urlsplit(url).hostname for url in router.nats_servers] == names
    config = nats_files(documents)["nats.conf"]
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


@pytest.mark.timeout(120)
def test_the_real_nats_server_accepts_its_configuration(overlay, tmp_path):
    for name, content in secret(overlay, "nats-tls").items():
        (tmp_path / name).write_bytes(content)
    nats = find(overlay, "StatefulSet", "nats")
    for file, text in nats_files(overlay).items():
        (tmp_path / file).write_text(text.replace("/etc/nats-tls", str(tmp_path)))
    passwords = secret(overlay, "nats-passwords")
    references = {entry["name"]: entry.get("valueFrom", {}).get("secretKeyRef") for entry in container(nats)["env"]}
    variables = {name: reference["key"] for name, reference in references.items() if reference}
    given = {name: passwords[key].decode() for name, key in variables.items()}
    assert len(given) == len(set(given.values())) == 3
    for environ, status in (({**given, "POD_NAME": "nats-0"}, 0), ({"POD_NAME": "nats-0"}, 1)):
        command = [find_nats_server(), "-t", "-c", tmp_path / "nats.conf"]
        ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=10, check=False)
        assert ended.returncode == status, ended.stderr
