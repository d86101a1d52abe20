"""Arguments of a wrong type or out of range: the call raises there and then, says what to give, and the run goes on."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from runcast.client import Run, Runcast
from runcast.testkit import UserDevice
from runcast.v1.event_pb2 import Event

Call = Callable[[Any], Awaitable[Any]]  # Any: what is given is wrong on purpose


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda run: run.thinking(5), "text is 5"),
        (lambda run: run.thinking("x", progress="50%"), "progress is '50%'"),
        (lambda run: run.thinking("x", step=5, steps=3), "step 5 of 3"),
        (lambda run: run.thinking("x", step=-1), "step -1"),
        (lambda run: run.thinking("x", step=1.5), "step is 1.5"),
        (lambda run: run.thinking("x", remaining_s="soon"), "remaining_s is 'soon'"),
        (lambda run: run.respond(None), "text is None"),
        (lambda run: run.respond(b"bytes"), "text is b'bytes'"),
        (lambda run: run.respond("x", receipt="5"), "receipt is '5'"),
        (lambda run: run.error("x", suggestions="try again"), "suggestions is 'try again'"),
        (lambda run: run.error("x", category=5), "category is 5"),
        (lambda run: run.error("x", retrying=True, retry_after_s=-4), "retry_after_s is -4"),
        (lambda run: run.custom(5), "name is 5"),
        (lambda run: run.custom("n", float("nan")), "NaN"),
        (lambda run: run.complete(5), "summary is 5"),
        (lambda run: run.ask(5), "prompt is 5"),
        (lambda run: run.ask("x", timeout_s="1"), "timeout_s is '1'"),
        (lambda run: run.emit(None), "NoneType is no event"),
        (lambda run: run.emit(Event()), "has no kind"),
        (lambda run: run.emit({"kind": "custom"}), "dict is no event"),
    ],
)
async def test_a_wrong_argument_is_named_and_the_run_goes_on(
    runcast_agent: Runcast, runcast_user: UserDevice, call: Call, told: str
) -> None:
    async with runcast_agent.run(user="alice") as run:
        with pytest.raises((TypeError, ValueError), match=told):
            await call(run)
    await runcast_user.verify(exactly=["agent_started", "agent_completed"])


async def test_a_tool_call_with_wrong_arguments_leaves_nothing_open(runcast_agent: Runcast, runcast_user: UserDevice) -> None:
    async def call_tool(run: Run, **words: Any) -> None:
        async with run.tool("sql", **words):
            pass

    async with runcast_agent.run(user="alice") as run:
        for words, told in (
            ({"estimate_s": "2"}, "estimate_s is '2'"),
            ({"estimate_s": -1}, "estimate_s is -1"),
            ({"purpose": 5}, "purpose"),
        ):
            with pytest.raises((TypeError, ValueError), match=told):
                await call_tool(run, **words)
        with pytest.raises(TypeError, match="error is 5"):
            async with run.tool("sql") as tool:
                tool.fail(5)  # type: ignore[arg-type]
        assert not run.is_open_tool(tool.id)
    await runcast_user.verify(exactly=["agent_started", "tool_executing", "tool_completed", "agent_completed"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"user": None}, "user id is of type NoneType"),
        ({"thread": None}, "thread is of type NoneType"),
        ({"title": None}, "title is None"),
        ({"attempt": "2"}, "attempt is '2'"),
    ],
)
async def test_a_run_says_which_argument_is_wrong(runcast_agent: Runcast, words: dict[str, Any], told: str) -> None:
    with pytest.raises(TypeError, match=told):
        runcast_agent.run(**{"user": "alice", **words})
    with pytest.raises(TypeError, match="in_flight is '5'"):
        runcast_agent.inbox("analysts", in_flight="5")  # type: ignore[arg-type]
