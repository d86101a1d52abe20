"""Runs as AG-UI, judged by the protocol's own client: npm's @ag-ui/client reads `/v1/agui/{run}`, and its verifier accepts all of it."""

import asyncio
import contextlib
import json
from typing import Any

import aiohttp
from packages import HERE, find_package
from test_node import find_node

from runcast.testkit import Cluster, Device
from runcast.v1.event_pb2 import TEXT_MODE_DELTA, AgentResponse, Batch, ToolCompleted, ToolExecuting
from tests.delivery.routers import Producer, make_batch

BOUND_S = 40.0


async def judge(cluster: Cluster, user: str, *runs: tuple[str, str]) -> list[dict[str, Any]]:
    """What the client makes of runs, each from a position; fails for whatever it complains of."""
    find_package("@ag-ui/client/package.json")
    arguments = [str(HERE / "agui_reader.mjs"), cluster.edges[0].http_url, cluster.token(user), json.dumps(runs)]
    node = await asyncio.create_subprocess_exec(find_node(), *arguments, stdout=asyncio.subprocess.PIPE)
    try:
        out, _ = await asyncio.wait_for(node.communicate(), BOUND_S)
    finally:
        with contextlib.suppress(ProcessLookupError):
            node.kill()
    *told, last = map(json.loads, out.decode().splitlines())
    assert last["complaints"] == []
    return told


async def converse(cluster: Cluster, user: str) -> str:
    """A run with everything in it, which ends well."""
    async with Device(cluster.ws_url(0), cluster.token(user)) as device, cluster.connect() as rc, rc.run(user=user, thread="t") as run:
        await run.thinking("What is asked?", progress=0.1)
        await run.thinking("Searching", progress=0.5)
        async with run.tool("search", args={"q": "csv"}) as call:
            await run.flush()
            call.result = ["one", "two"]
        with contextlib.suppress(ValueError):
            async with run.tool("broken"):
                raise ValueError("no such file")
        await run.flush()
        for piece in ("I", "t", " "):
            await run.respond(piece)
            await run.flush()
        await run.respond("works.")
        asking = asyncio.ensure_future(run.ask("Shall I?", kind="approval", timeout_s=BOUND_S))
        request = (await device.wait_kind("input_requested")).input_requested.request_id
        await device.answer(run.id, request, True)
        assert await asking
        await run.error("a disk is slow")
        await run.custom("own", {"a": 1})
        await run.complete("done", result={"rows": 3})
    return run.id


def half(user: str, run_id: str) -> Batch:
    """The beginning of a run, with a message and a tool call open."""
    batch = make_batch(user, 1, 1, "agent_started", "agent_response", "tool_executing", run_id=run_id, producer=user)
    batch.events[1].agent_response.MergeFrom(AgentResponse(message_id="m", text="half", mode=TEXT_MODE_DELTA))
    batch.events[2].tool_executing.MergeFrom(ToolExecuting(tool_call_id="c", tool="slow"))
    return batch


async def positions_of(cluster: Cluster, user: str, run_id: str) -> list[str]:
    """The places within a run at which a reader may have left."""
    headers = {"Authorization": f"Bearer {cluster.token(user)}"}
    async with aiohttp.ClientSession(headers=headers) as session, session.get(f"{cluster.edges[0].http_url}/v1/agui/{run_id}") as response:
        return [line.decode().removeprefix("id: ").strip() async for line in response.content if line.startswith(b"id: ")]


async def test_runs_that_end_in_every_way_are_accepted(runcast_cluster: Cluster, user: str) -> None:
    good = await converse(runcast_cluster, user)
    async with runcast_cluster.connect() as rc:
        with contextlib.suppress(TimeoutError):
            async with rc.run(user=user) as failed:
                await failed.respond("half a sent")
                async with failed.tool("slow"):
                    raise TimeoutError
        async with rc.run(user=user) as stopped:
            await stopped.respond("half a sent")
            async with stopped.tool("slow"):
                await stopped.flush()
                async with Device(runcast_cluster.ws_url(0), runcast_cluster.token(user)) as device:
                    await device.cancel(stopped.id, "enough")
                    await asyncio.Event().wait()
        async with rc.run(user=user) as parent, parent.child(agent="helper") as child:
            await child.respond("from below")
    async with Producer(runcast_cluster.routers[0].address, user) as producer:
        await producer.store(half(user, "tried"))
        await producer.store(make_batch(user, 1, 1, "agent_started", "agent_completed", run_id="tried", producer=user, attempt=2))
    told = await judge(runcast_cluster, user, *((run, "") for run in (good, failed.id, stopped.id, parent.id, child.id, "tried")))
    assert [each["refused"] for each in told] == [""] * len(told)
    assert [each["types"][0] for each in told] == ["RUN_STARTED"] * len(told)
    assert [each["types"][-1] for each in told] == ["RUN_FINISHED", "RUN_ERROR", *["RUN_FINISHED"] * 4]
    assert ["assistant", "It works."] in told[0]["messages"]
    assert ["assistant", ["search"]] in told[0]["messages"]
    assert {role for role, _ in told[0]["messages"]} >= {"assistant", "tool", "reasoning", "activity"}
    assert told[0]["result"] == {"rows": 3}
    assert told[1]["code"] == "timeout"
    assert ["assistant", "from below"] in told[4]["messages"]


async def test_a_run_is_accepted_from_wherever_it_is_gone_on_with(runcast_cluster: Cluster, user: str) -> None:
    run_id = await converse(runcast_cluster, user)
    places = await positions_of(runcast_cluster, user, run_id)
    assert len(places) > 5
    told = await judge(runcast_cluster, user, *((run_id, place) for place in places[:-1]))
    assert [each["refused"] for each in told] == [""] * len(told)
    assert [each["types"][-1] for each in told] == ["RUN_FINISHED"] * len(told)


async def test_a_tool_call_id_that_is_used_again_is_another_call(runcast_cluster: Cluster, user: str) -> None:
    kinds = ["tool_executing", "tool_completed"] * 2
    batch = make_batch(user, 1, 1, "agent_started", *kinds, "agent_completed", run_id="twice", producer=user)
    for number in (0, 1):
        call = ToolExecuting(tool_call_id="c", tool=f"tool {number}", args_json=b'{"number":%d}' % number)
        batch.events[1 + 2 * number].tool_executing.CopyFrom(call)
        batch.events[2 + 2 * number].tool_completed.CopyFrom(ToolCompleted(tool_call_id="c", result_json=b"%d" % number))
    async with Producer(runcast_cluster.routers[0].address, user) as producer:
        await producer.store(batch)
    (told,) = await judge(runcast_cluster, user, ("twice", ""))
    assert told["refused"] == ""
    assert told["calls"] == [["tool 0", '{"number":0}', ["0"]], ["tool 1", '{"number":1}', ["1"]]]


async def test_an_orphan_is_closed_and_accepted(runcast_cluster: Cluster, user: str) -> None:
    async with Producer(runcast_cluster.routers[0].address, user) as producer:
        await producer.store(half(user, "orphan"))
    (told,) = await judge(runcast_cluster, user, ("orphan", ""))
    assert (told["refused"], told["types"][-1], told["code"]) == ("", "RUN_ERROR", "run_lost")
    assert {"TEXT_MESSAGE_END", "TOOL_CALL_RESULT"} <= set(told["types"])
