"""What people are told of errors, and what becomes of values that are odd or too large, as a device sees it."""

import asyncio
import dataclasses
import json
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from runcast.client import Classification, EventTooLargeError, LifecycleError, Run, Runcast
from runcast.testkit import Cluster
from runcast.testkit.device import Device
from runcast.testkit.plugin import DeviceFactory
from runcast.v1.event_pb2 import (
    SEVERITY_DEGRADED,
    SEVERITY_FATAL,
    SEVERITY_RECOVERABLE,
    TOOL_STATUS_ERROR,
    AgentError,
    Event,
)
from runcast.wire import limits, limits_client
from runcast.wire.lifecycle import ends_run


class RateLimitError(Exception):
    """As those of model providers."""

    status_code = 429

    def __init__(self, text: str = "") -> None:
        super().__init__(text)
        self.headers = {"retry-after": "2"}


class QuotaError(Exception):
    pass


def connect(cluster: Cluster, **options: object) -> Runcast:
    return Runcast(",".join(cluster.router_addresses()), agent="analyst", **options)  # type: ignore[arg-type]


pytestmark = pytest.mark.runcast_agent(agent="analyst", tenant="default")


@pytest.fixture
def rc(runcast_agent: Runcast) -> Runcast:
    return runcast_agent


async def seen(watcher: Device, run: Run) -> list[Event]:
    await watcher.wait_for(lambda event: event.run_id == run.id and ends_run(event))
    return [event for event in watcher.events if event.run_id == run.id]


async def errors(watcher: Device, run: Run) -> list[AgentError]:
    return [event.agent_error for event in await seen(watcher, run) if event.HasField("agent_error")]


# --- errors ---


async def test_an_exception_is_told_by_what_it_means(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    async with rc.run(user=user) as run:
        await run.error(RateLimitError("key sk-123"), retrying=True)
        await run.error(RateLimitError("key sk-123"), retrying=True, retry_after_s=0.5, suggestions=["Have a coffee."])
        await run.error(ConnectionError("10.0.0.7:5432"), severity="recoverable", category="database")
        await run.error(KeyError("x"))
        await run.error("Nothing new since yesterday.")
        async with run.tool("search") as call:
            call.fail(TimeoutError("/srv/index"))
        await run.fail(PermissionError("/etc/shadow"), suggestions=["Ask Ann."])
    told = await errors(watcher, run)
    recoverable, degraded = SEVERITY_RECOVERABLE, SEVERITY_DEGRADED
    assert [(error.severity, error.category, error.retrying, error.retry_after_ms) for error in told] == [
        (recoverable, "rate_limit", True, 2000),
        (recoverable, "rate_limit", True, 500),
        (recoverable, "database", False, 0),
        (degraded, "unknown", False, 0),
        (recoverable, "unknown", False, 0),
        (SEVERITY_FATAL, "unknown", False, 0),
    ]
    assert [list(error.suggestions) for error in told[:2]] == [["Wait a little, then try again."], ["Have a coffee."]]
    assert told[4].message == "Nothing new since yesterday."
    assert list(told[5].suggestions) == ["Ask Ann."]
    tool = next(event.tool_completed for event in await seen(watcher, run) if event.HasField("tool_completed"))
    assert (tool.status, tool.error) == (TOOL_STATUS_ERROR, "It took too long and was given up.")
    text = str(watcher.events)
    assert not [secret for secret in ("sk-123", "10.0.0.7", "/etc", "/srv", "Traceback", "KeyError") if secret in text]


async def test_a_block_that_raises_says_what_to_do(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    with pytest.raises(ExceptionGroup):
        async with rc.run(user=user) as run:
            raise ExceptionGroup("several", [KeyError("x"), RateLimitError()])
    [error] = await errors(watcher, run)
    assert (error.severity, error.category) == (SEVERITY_FATAL, "rate_limit")
    assert error.suggestions


async def test_detail_and_rules_are_ones_own_choice(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    rules = [(QuotaError, Classification("quota", "That was all for today.", ("Come back tomorrow.",)))]
    async with connect(runcast_cluster, classify=rules, error_detail=True) as rc, rc.run(user=user) as run:
        await run.error(QuotaError("used 5 of 5"))
    [error] = await errors(watcher, run)
    assert (error.category, error.message) == ("quota", "That was all for today. (QuotaError: used 5 of 5)")
    assert list(error.suggestions) == ["Come back tomorrow."]


async def test_misuse_says_what_to_do(rc: Runcast, runcast_cluster: Cluster, user: str) -> None:
    async with rc.run(user=user) as run:
        with pytest.raises(ValueError, match="fail"):
            await run.error("x", severity="fatal")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="text for people, or an exception"):
            await run.error(5)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="sevrity"):
            await run.error("x", sevrity="degraded")  # type: ignore[call-overload]
        with pytest.raises(TypeError, match="retrying"):
            await run.fail("x", retrying=True)  # type: ignore[call-overload]
        with pytest.raises(ValueError, match="0 or more"):
            await run.error("x", retrying=True, retry_after_s=-1)
        with pytest.raises(ValueError, match="receipt"):
            await run.error("x", receipt=0.0)
        with pytest.raises(LifecycleError, match="is another one than this"):
            await asyncio.to_thread(lambda: asyncio.run(run.respond("from elsewhere")))
        with pytest.raises(LifecycleError, match=r"runcast\.client\.sync is for threads"):
            await asyncio.to_thread(run.child)
    with pytest.raises(ValueError, match="oversize is 'cut'"):
        connect(runcast_cluster, oversize="cut")
    with pytest.raises(TypeError, match="no rule"):
        connect(runcast_cluster, classify=["timeout"])


# --- values ---


@dataclasses.dataclass
class Row:
    id: uuid.UUID
    at: datetime
    price: Decimal
    file: Path


async def test_values_are_written_as_what_they_mean(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    row = Row(uuid.UUID(int=5), datetime(2026, 11, 21, tzinfo=UTC), Decimal("9.90"), Path("a/b"))
    async with rc.run(user=user, input={"tags": {"a"}}) as run:
        async with run.tool("read", args=row) as call:
            call.result = [row]
        with pytest.raises(TypeError, match="object has no form in JSON"):
            await run.custom("odd", object())
        await run.complete(result=row)
    events = await seen(watcher, run)
    plain = {"id": str(row.id), "at": "2026-11-21T00:00:00+00:00", "price": "9.90", "file": "a/b"}
    assert json.loads(events[0].agent_started.input_json) == {"tags": ["a"]}
    assert json.loads(events[1].tool_executing.args_json) == plain
    assert json.loads(events[2].tool_completed.result_json) == [plain]
    assert json.loads(events[3].agent_completed.result_json) == plain


LARGE = "ü" * limits.EVENT_BYTES_MAX


async def test_what_is_too_large_is_refused_unless_told_otherwise(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    async with rc.run(user=user) as run:
        with pytest.raises(EventTooLargeError):
            await run.respond(LARGE)
        with pytest.raises(EventTooLargeError):
            async with run.tool("read") as call:
                call.result = LARGE
        with pytest.raises(EventTooLargeError):
            await run.complete(result=LARGE)
        await run.respond("the run goes on")
    events = await seen(watcher, run)
    assert [event.WhichOneof("kind") for event in events[1:]] == [
        "tool_executing",
        "tool_completed",
        "agent_response",
        "agent_response",
        "agent_completed",
    ]
    assert events[2].tool_completed.error == "What the agent had to say is too large to be shown."


async def test_what_is_too_large_may_be_cut(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    async with connect(runcast_cluster, oversize="truncate") as rc, rc.run(user=user, title="A title", input=LARGE) as run:
        await run.respond(LARGE)
        async with run.tool("read", args={"q": LARGE}, purpose="to know") as call:
            call.result = {"text": LARGE}
        await run.custom("chart", [LARGE])
        await run.complete("done", result=LARGE)
    events = await seen(watcher, run)
    size = len(LARGE.encode())
    told = [
        json.loads(text)
        for text in (
            events[0].agent_started.input_json,
            events[2].tool_executing.args_json,
            events[3].tool_completed.result_json,
            events[4].custom.data_json,
            events[6].agent_completed.result_json,
        )
    ]
    assert [(each["truncated"], each["bytes"] - size) for each in told] == [(True, 2), (True, 8), (True, 11), (True, 4), (True, 2)]
    assert told[1]["head"].startswith('{"q":"ü')
    assert events[1].agent_response.text.endswith(f"ü… [cut: {size} bytes in all]")
    assert (events[0].agent_started.title, events[2].tool_executing.purpose) == ("A title", "to know")
    assert all(event.ByteSize() <= limits.EVENT_BYTES_MAX for event in events)
    assert events[2].ByteSize() > limits.EVENT_BYTES_MAX - 2 * limits_client.EVENT_NAMES_BYTES, "no more is cut than has to be"
