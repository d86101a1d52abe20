"""The whole, under faults: `runcast verify`, twice, for a short time. The long one is `make verify`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from runcast.testkit.checker import check
from runcast.testkit.history import from_lines
from runcast.testkit.verdict import ANOMALIES


@pytest.mark.timeout(150)
@pytest.mark.parametrize(("seed", "nats"), [(1, 1), (5, 3)])
def test_every_promise_is_kept_under_faults(seed: int, nats: int, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from runcast.cli.main import app; app()", "verify", "--json"]
    command += ["--seed", str(seed), "--duration", "15", "--users", "8", "--nats", str(nats), "--history", str(tmp_path / "h.jsonl")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.stdout, ended.stderr
    report = json.loads(ended.stdout)
    assert (report["clean"], ended.returncode) == (True, 0), report
    assert {kind: report[kind] for kind in ANOMALIES} == dict.fromkeys(ANOMALIES, 0)
    assert report["accepted"] == report["delivered"] > 200
    assert report["upstream_accepted"] > 5
    assert report["parked"] == 1, "one user sends poison"
    assert report["snapshots"]["whole"] > 5
    assert report["cancels"] > 0
    assert report["drain_ms"]["max"] > 0, "the first fault is a drain, and what users notice of it is judged"
    assert sum(report["faults"].values()) >= 4
    # What was written down says the same as what was seen.
    verdict = check(from_lines((tmp_path / "h.jsonl").read_bytes().split(b"\n")))
    assert (verdict.clean, verdict.accepted, verdict.shown) == (True, report["accepted"], report["shown"])
