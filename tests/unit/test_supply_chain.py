"""What is asked about what is locked, and what is told about what is shipped: `make audit`, `make sbom`.

The service that is asked is a real HTTP server that speaks OSV's protocol (https://google.github.io/osv.dev/post-v1-query/); pip-audit is
the real one.
"""

import datetime
import importlib.util
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from runcast.wire import VERSION

ROOT = Path(__file__).parents[2]
LOCK = "good==1.0 \\\n    --hash=sha256:{0}\npoor==2.0 \\\n    --hash=sha256:{0}\n".format("0" * 64)
FIXED = {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.1"}]}
KNOWN = {"id": "TEST-1", "affected": [{"package": {"name": "poor", "ecosystem": "PyPI"}, "ranges": [FIXED]}]}


class Service:
    """Answers who asks what is known of a package."""

    def __init__(self) -> None:
        self.status = 200
        self.known: dict[str, list[dict[str, Any]]] = {}
        self.asked: list[str] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                service.asked.append(asked["package"]["name"])
                body = json.dumps({"vulns": service.known.get(asked["package"]["name"], [])}).encode()
                self.send_response(service.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 # the base class's
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/query"


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    thread = threading.Thread(target=service.server.serve_forever)
    thread.start()
    yield service
    service.server.shutdown()
    thread.join()
    service.server.server_close()


def audit(tmp_path: Path, url: str, *options: str, accepted: str = "") -> subprocess.CompletedProcess[str]:
    (tmp_path / "some.lock").write_text(LOCK)
    (tmp_path / "accepted.toml").write_text(accepted)
    command = [sys.executable, ROOT / ".ci/audit.py", "--osv-url", url, "--accepted", tmp_path / "accepted.toml", *options]
    return subprocess.run([*command, tmp_path / "some.lock"], capture_output=True, text=True, timeout=50, check=False)


def test_a_known_vulnerability_fails(service: Service, tmp_path: Path) -> None:
    service.known = {"poor": [KNOWN]}
    ended = audit(tmp_path, service.url)
    assert (ended.returncode, set(service.asked)) == (1, {"good", "poor"}), ended.stderr
    assert "VULNERABLE poor 2.0: TEST-1; fixed in 2.1" in ended.stdout
    assert "good 1.0" not in ended.stdout


def test_none_is_known(service: Service, tmp_path: Path) -> None:
    ended = audit(tmp_path, service.url, "--required")
    assert ended.returncode == 0, ended.stderr
    assert "2 Python packages of some.lock were asked for" in ended.stdout
    assert "no known vulnerabilities" in ended.stdout


@pytest.mark.parametrize("status", [0, 404])
def test_nobody_to_ask_is_said_and_fails_where_it_is_required(service: Service, tmp_path: Path, status: int) -> None:
    service.status = status
    url = service.url if status else "http://127.0.0.1:9/v1/query"
    for options, returncode in (((), 0), (("--required",), 1)):
        ended = audit(tmp_path, url, *options)
        assert ended.returncode == returncode
        assert "NOT AUDITED" in ended.stderr
        assert "no known vulnerabilities" not in ended.stdout
    assert len(service.asked) == (2 if status else 0)  # one question each time, not one for every package


def test_what_is_accepted_counts_again_when_its_time_is_over(service: Service, tmp_path: Path) -> None:
    service.known = {"poor": [KNOWN]}
    today = datetime.datetime.now(datetime.UTC).date()
    for days, returncode in ((30, 0), (0, 1)):
        until = today + datetime.timedelta(days=days)
        entry = f'[[accepted]]\nid = "TEST-1"\npackage = "poor"\nreason = "never called"\nuntil = {until}\n'
        assert audit(tmp_path, service.url, accepted=entry).returncode == returncode


def test_what_was_skipped_was_not_looked_at() -> None:
    """As pip-audit reports it, with exit status 0, of an index that says nothing about vulnerabilities."""
    spec = importlib.util.spec_from_file_location("audit", ROOT / ".ci/audit.py")
    assert spec is not None
    assert spec.loader is not None
    audit = importlib.util.module_from_spec(spec)
    sys.modules["audit"] = audit
    spec.loader.exec_module(audit)
    looked = {"name": "poor", "version": "2.0", "vulns": [{"id": "TEST-1", "fix_versions": ["2.1"]}]}
    report = audit.read_report(json.dumps({"dependencies": [{"name": "a", "skip_reason": "not found on PyPI"}, looked], "fixes": []}))
    assert (report.looked, report.skipped) == (1, ["not found on PyPI"])
    assert report.found == [audit.Found("poor", "2.0", "TEST-1", "2.1")]


def test_ci_asks_before_the_tests() -> None:
    text = (ROOT / ".ci/run").read_text()
    assert text.index("make lint") < text.index("make audit") < text.index("make test")


def test_the_list_of_what_is_shipped_is_valid_and_whole(tmp_path: Path) -> None:
    lock = "deploy/requirements.lock"
    recipe = re.search(r"^SBOM = \$\(BIN\)/(\S+) (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe is not None
    file = tmp_path / "sbom.json"
    command = [Path(sys.executable).parent / recipe[1], *recipe[2].split(), lock, "-o", file]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=50)
    text = file.read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    listed = json.loads(text)
    assert (listed["metadata"]["component"]["name"], listed["metadata"]["component"]["version"]) == ("runcast", VERSION)
    pins = re.findall(r"^([a-z0-9-]+)==([^ ;]+)", (ROOT / lock).read_text(), re.MULTILINE)
    assert sorted((each["name"], each["version"]) for each in listed["components"]) == sorted(pins)
    for each in listed["components"]:
        assert each["purl"].startswith("pkg:pypi/")
        assert any(reference.get("hashes") for reference in each["externalReferences"])
