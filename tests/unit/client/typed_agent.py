"""An agent that uses the whole API of both clients; mypy must agree with what it says of types (`test_typing.py`). It is never run."""

from typing import Any, assert_type

from runcast.client import (
    Answer,
    Classification,
    ConnectionState,
    EventTooLargeError,
    Inbox,
    InboxMessage,
    NoAnswerError,
    Receipt,
    Rule,
    Run,
    Runcast,
    RuncastError,
    Statistics,
    ToolCall,
    UnsentError,
    current_run,
    instrument,
    sync,
    tool,
)
from runcast.v1.event_pb2 import Custom, Event
from runcast.wire.position import Position

RULES: list[Rule] = [(KeyError, "bad_input"), ("acme.Busy", Classification("rate_limit", retry_after_s=2.0))]


@tool
async def fetch(url: str, *, tries: int = 1) -> bytes:
    return url.encode() * tries


@tool(name="add", purpose="adds", estimate_s=0.1)
def add(a: int, b: int) -> int:
    return a + b


async def speak(run: Run) -> None:
    assert_type((run.id, run.attempt, run.cancelled, run.cancel_reason, run.is_open), tuple[str, int, bool, str, bool])
    assert_type(await run.thinking("x", progress=0.5, step=1, steps=2), None)
    assert_type(await run.respond("x"), None)
    assert_type(await run.respond("x", whole=True, receipt=1.0), Receipt)
    assert_type(await run.end_message(), None)
    assert_type(await run.error("slow", severity="degraded", suggestions=["wait"]), None)
    assert_type(await run.error(KeyError("x"), receipt=1.0), Receipt)
    assert_type(await run.custom("chart", {"x": [1]}), None)
    assert_type(await run.custom("chart", receipt=1.0), Receipt)
    assert_type(await run.emit(Event(custom=Custom(name="x"))), int)
    assert_type(await run.flush(), Position | None)
    assert_type(await run.flush(receipt=1.0), Receipt)
    assert_type(await run.ask("Sure?", kind="approval"), bool)
    assert_type(await run.ask("Sure?", kind="approval", default=None, timeout_s=1.0), bool | None)
    assert_type(await run.ask("Which?", options=["a", "b"]), str)
    assert_type(await run.fail(ValueError("x")), None)
    assert_type(await run.complete("done", result={"n": 1}), None)
    assert_type(await run.complete(receipt=1.0), Receipt)
    async with run.child(agent="helper", title="part") as child:
        assert_type(child, Run)
    async with run.tool("search", args={"q": 1}, purpose="to find", estimate_s=1.0) as call:
        assert_type(call, ToolCall)
        call.result = [1, 2]
        call.fail("nothing")


async def use_async() -> None:
    states: list[ConnectionState] = []
    async with Runcast(
        "127.0.0.1:7400",
        agent="a",
        tenant="t",
        classify=RULES,
        error_detail=True,
        oversize="truncate",
        coalesce_s=0.0,
        when_full="raise",
        on_state=states.append,
        spill="x",
    ) as rc:
        assert_type(rc.stats(), Statistics)
        assert_type(rc.stats().connection, ConnectionState)
        assert_type(rc, Runcast)
        assert_type(await rc.ready(1.0), None)
        assert_type(await rc.is_online("alice", tenant="t"), bool)
        assert_type(rc.stats(), Statistics)
        assert_type(rc.stats().connection, ConnectionState)
        inbox = rc.inbox("group", in_flight=2)
        assert_type(inbox, Inbox)
        async for message in inbox:
            assert_type(message, InboxMessage)
            assert_type((message.user, message.data, message.answer, message.tries), tuple[str, Any, Answer | None, int])
            async with rc.run(user=message.user, thread=message.thread, reply_to=message.id, title="x", input={"q": 1}) as run:
                await speak(run)
            await message.ack()
        assert_type(current_run(), Run)
        assert_type(current_run(None), Run | None)
        assert_type(await fetch("x", tries=2), bytes)
        assert_type(add(1, 2), int)
        assert_type(instrument({"add": add})["add"](1, 2), int)
        try:
            await rc.close(1.0)
        except UnsentError as exc:
            assert_type([left.unsent for left in exc.leftovers], list[tuple[Event, ...]])
        except NoAnswerError as exc:
            assert_type(exc.code.retry, bool)
        except (EventTooLargeError, RuncastError) as exc:
            assert_type(exc.message, str)


def speak_blocking(run: sync.Run) -> None:
    assert_type((run.id, run.attempt, run.cancelled, run.cancel_reason, run.is_open), tuple[str, int, bool, str, bool])
    assert_type(run.thinking("x", progress=0.5, step=1, steps=2), None)
    assert_type(run.respond("x"), None)
    assert_type(run.respond("x", whole=True, receipt=1.0), Receipt)
    assert_type(run.error(KeyError("x"), receipt=1.0), Receipt)
    assert_type(run.custom("chart", {"x": [1]}), None)
    assert_type(run.emit(Event(custom=Custom(name="x"))), int)
    assert_type(run.flush(), Position | None)
    assert_type(run.flush(receipt=1.0), Receipt)
    assert_type(run.ask("Sure?", kind="approval"), bool)
    assert_type(run.ask("Which?", options=["a", "b"]), str)
    assert_type(run.complete(receipt=1.0), Receipt)
    with run.child(agent="helper") as child:
        assert_type(child, sync.Run)
    with run.tool("search", args={"q": 1}) as call:
        assert_type(call, sync.ToolCall)
        call.result = [1, 2]


def use_blocking() -> None:
    with sync.Runcast("127.0.0.1:7400", agent="a", when_full="drop_progress", coalesce_s=0, on_state=print) as rc:
        assert_type(rc, sync.Runcast)
        assert_type(rc.ready(1.0), None)
        assert_type(rc.is_online("alice"), bool)
        assert_type(rc.stats().latency_p99_s, float | None)
        for message in rc.inbox("group", in_flight=2):
            assert_type(message, sync.InboxMessage)
            with rc.run(user=message.user, thread=message.thread, reply_to=message.id) as run:
                speak_blocking(run)
            message.ack()
        assert_type(sync.current_run(), sync.Run)
        assert_type(sync.current_run(None), sync.Run | None)
        rc.close(1.0)


async def misuse(run: Run, blocking: sync.Run) -> None:
    """Each of these is a mistake, and mypy says so."""
    await run.thinking(1)  # type: ignore[arg-type]
    await run.thinking("x", progres=0.5)  # type: ignore[call-arg]
    await run.error("x", severity="fatal")  # type: ignore[call-overload]
    blocking.thinking(1)  # type: ignore[arg-type]
    blocking.custom()  # type: ignore[call-overload]
    sync.Runcast("127.0.0.1:7400")  # type: ignore[call-arg]
    Runcast("127.0.0.1:7400", agent="a", oversize="maybe")  # type: ignore[arg-type]
    Runcast("127.0.0.1:7400", agent="a", when_full="lose")  # type: ignore[arg-type]
