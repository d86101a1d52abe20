"""OpenTelemetry, with the real SDK: what is traced, and the caller's trace context at a device."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runcast.testkit import Cluster
from runcast.testkit.plugin import DeviceFactory
from runcast.wire.lifecycle import ends_run

AGENT = Path(__file__).parent / "otel_agent.py"
GIVEN = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"


async def trace(cluster: Cluster, user: str, how: str) -> list[dict[str, Any]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        AGENT,
        ",".join(cluster.router_addresses()),
        user,
        how,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    told, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, errors.decode()
    assert errors == b"", "nothing could not be detached"
    spans: list[dict[str, Any]] = json.loads(told)
    return spans


@pytest.mark.parametrize("how", ["async", "sync", "given"])
async def test_the_callers_trace_goes_through_agent_and_edge_to_a_device(
    runcast_cluster: Cluster, user: str, device: DeviceFactory, how: str
) -> None:
    watcher = await device()
    spans = await trace(runcast_cluster, user, how)
    await watcher.wait_for(lambda event: event.run_id == "failed" and ends_run(event))
    by_run = {span["attributes"]["runcast.run.id"]: span for span in spans if span["name"].startswith("invoke_agent")}
    tools = [span for span in spans if span["name"] == "execute_tool search"]
    [caller] = [span for span in spans if span["name"] == "request"]
    [query] = [span for span in spans if span["name"] == "query"]
    good, bad, below = by_run["good"], by_run["bad"], by_run["below"]

    assert {span["parent"] for span in (bad, by_run["failed"])} == {caller["id"]}
    assert good["parent"] == (GIVEN[36:52] if how == "given" else caller["id"])
    assert good["trace"] == (GIVEN[3:35] if how == "given" else caller["trace"])
    assert (tools[0]["parent"], query["parent"]) == (good["id"], tools[0]["id"])
    assert tools[1]["parent"] == bad["id"]
    assert below["parent"] == good["id"]
    assert (good["name"], below["name"]) == ("invoke_agent analyst", "invoke_agent helper")

    seen = {(event.run_id, event.WhichOneof("kind")): event.traceparent[:-3] for event in watcher.events}
    at = {span["id"]: f"00-{span['trace']}-{span['id']}" for span in spans}
    if how == "given":
        assert {text for (run_id, _), text in seen.items() if run_id in ("good", "below")} == {GIVEN[:-3]}
    else:
        assert seen["good", "agent_started"] == seen["good", "agent_completed"] == at[good["id"]]
        assert seen["good", "tool_executing"] == seen["good", "tool_completed"] == at[tools[0]["id"]]
        assert seen["good", "agent_thinking"] == at[query["id"]]
        assert seen["below", "agent_response"] == at[below["id"]]
    assert seen["bad", "agent_error"] == at[bad["id"]]


async def test_spans_say_what_happened_and_no_secrets(runcast_cluster: Cluster, user: str) -> None:
    spans = await trace(runcast_cluster, user, "async")
    [good] = [span for span in spans if span["attributes"].get("runcast.run.id") == "good"]
    assert good["attributes"] == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "analyst",
        "gen_ai.conversation.id": "t-1",
        "runcast.run.id": "good",
        "runcast.run.attempt": 1,
    }
    assert good["status"] == "UNSET"
    [fine, raised] = [span for span in spans if span["name"] == "execute_tool search"]
    assert fine["attributes"] == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "search",
        "gen_ai.tool.call.id": "t1",
        "gen_ai.tool.type": "function",
    }
    [bad] = [span for span in spans if span["attributes"].get("runcast.run.id") == "bad"]
    [failed] = [span for span in spans if span["attributes"].get("runcast.run.id") == "failed"]
    for span, kind in ((bad, "KeyError"), (raised, "KeyError"), (failed, "dependency")):
        assert (span["status"], span["attributes"]["error.type"]) == ("ERROR", kind)
    assert all(span["description"] is None and not span["events"] for span in spans)
    assert "secret" not in json.dumps(spans)


def test_without_opentelemetry_nothing_is_imported_and_nothing_done() -> None:
    code = """
import sys
from runcast.client import tracing
import runcast.client.sync
print(tracing.begin_run("a", "", "r", 1, ""), tracing.begin_tool("t", "c"), repr(tracing.current_traceparent()))
print([name for name in sys.modules if name.startswith(("opentelemetry", "sqlite3"))])
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == "None None ''\n[]\n"
