"""What an admin answered, for people and programs: nothing that a terminal would obey, and numbers as numbers."""

import json
from datetime import UTC

import pytest
from rich.console import Console

from runcast.cli.admin import forms
from runcast.v1 import admin_pb2 as pb
from runcast.v1.event_pb2 import User


def shown(table: object) -> str:
    console = Console(width=200, force_terminal=False)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


STATUS = pb.GetStatusResponse(
    id="admin-0",
    shards=4,
    processes=[
        pb.ProcessStatistics(role="edge", id="edge-0", age_ms=3, statistics_json=b'{"devices":3,"users":2,"uptime_s":7300,"version":"1"}'),
        pb.ProcessStatistics(
            role="router",
            id="[red]r\x1b[31m",
            statistics_json=b'{"events_stored":12345,"refusals":{"a":2,"b":1},"health":{"state":"degraded"},"version":5}',
        ),
        pb.ProcessStatistics(role="router", id="broken", statistics_json=b"[]"),
        pb.ProcessStatistics(
            role="router", id="files", statistics_json=b'{"health":{"state":"ok"},"auth":{"state":"ok"},"policy":{"state":"degraded"}}'
        ),
        pb.ProcessStatistics(role="router", id="none", statistics_json=b"{"),
    ],
    dependencies=[pb.DependencyStatus(name="nats", state="unavailable", reason="gone\nfar", for_s=90)],
    streams=[pb.StreamStatus(name="RUNCAST_EV_0", messages=1200, bytes=3 << 20, first_seq=1, last_seq=1200, replicas=3)],
)


def test_processes_as_a_table() -> None:
    lines = shown(forms.processes(STATUS)).splitlines()
    assert [line.split()[1] for line in lines] == ["process", "edge-0", "[red]r\ufffd[31m", "broken", "files", "none"]
    assert "2.0 h" in lines[1]
    assert "2 users, 3 devices" in lines[1]
    assert "degraded" in lines[2]
    assert "degraded (policy)" in lines[4]
    assert "12,345 events stored, 3 refused" in lines[2]
    assert "\x1b" not in "".join(lines)


def test_what_it_depends_on_and_its_streams() -> None:
    assert shown(forms.dependencies(STATUS)).splitlines()[1].split() == ["nats", "unavailable", "2", "min", "gone\u21b5far"]
    assert shown(forms.streams(STATUS)).splitlines()[1].split() == ["RUNCAST_EV_0", "1,200", "3.0", "MiB", "1", "1200", "3"]


def test_data_for_programs() -> None:
    data = forms.to_data(STATUS)
    assert json.loads(json.dumps(data)) == data
    assert data["processes"][0]["statistics"]["devices"] == 3
    assert data["processes"][4]["statistics"] == {}
    assert data["streams"][0]["bytes"] == 3 << 20
    assert data["parked"] == 0
    assert forms.to_data(pb.EraseResponse(removed={"stream": 3}))["removed"] == {"stream": 3}
    assert forms.to_data(pb.Target(agent="a")) == {"agent": "a"}
    revocation = forms.to_data(pb.Revocation(id="x", target=pb.Target(user=User(tenant="t", id="u"))))
    assert revocation["target"] == {"user": {"tenant": "t", "id": "u"}}


USER = User(tenant="acme", id="alice")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (pb.Target(user=USER), "user acme/alice"),
        (pb.Target(device=pb.UserDevice(user=USER, device="phone")), "device phone of acme/alice"),
        (pb.Target(token_id="t1"), "token t1"),
        (pb.Target(agent="analyst"), "agent analyst"),
        (pb.Target(), ""),
    ],
)
def test_targets_in_words(target: pb.Target, words: str) -> None:
    assert forms.target_words(target) == words


def test_revocations_and_audit_are_one_line_each() -> None:
    revocation = pb.Revocation(
        id="user.acme.alice", target=pb.Target(user=USER), by="ops", at_ms=0, ends_at_ms=86_400_000, reason="a\nb", until_new_token=True
    )
    text = shown(forms.revocations([revocation], UTC))
    assert text.splitlines()[1].startswith(
        "user.acme.alice  user acme/alice  1970-01-01 00:00:00  1970-01-02 00:00:00, or a new token  ops"
    )
    assert "a\u21b5b" in text
    entry = pb.AuditEntry(at_ms=0, address="http:127.0.0.1", action="Login", target="\x1b]0;x\x07", outcome="unauthenticated")
    line = shown(forms.audit([entry], UTC)).splitlines()[1]
    assert line.split() == ["1970-01-01", "00:00:00", "?", "http:127.0.0.1", "Login", "\ufffd]0;x\ufffd", "unauthenticated"]


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (3599, "60 min"), (3600, "1.0 h"), (180_000, "2.1 d")]
)
def test_durations(seconds: float, words: str) -> None:
    assert forms.duration(seconds) == words
