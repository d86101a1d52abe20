"""While routers, edges and NATS die, every question gets one answer: the first that was kept, in the agent and on every device."""

import asyncio
import itertools
import json

from runcast.client import Runcast
from runcast.testkit.cluster import Cluster
from runcast.testkit.device import Device
from runcast.testkit.device_link import DeviceClosedError
from runcast.testkit.device_session import Received
from runcast.v1.event_pb2 import INPUT_OUTCOME_ANSWERED, Event
from runcast.wire.errors import RefusedError

RUNS = 4
THINKING_S = 0.2
"""How long a person takes for an answer; below what makes a thousand of them while things break."""


async def answer(device: Device, asked: Event, kept: dict[str, list[str]]) -> None:
    """Answer until it is known what became of it."""
    name = f"{asked.run_id}/{asked.input_requested.request_id}"
    text = f"{device.device} on {name}"
    await asyncio.sleep(THINKING_S)
    while True:
        try:
            await device.answer(asked.run_id, asked.input_requested.request_id, text, id=text[:128], timeout=2.0)
        except (TimeoutError, DeviceClosedError):
            continue
        except RefusedError as exc:
            if exc.code.retry:
                await asyncio.sleep(max(exc.retry_after_s, 0.05))
                continue
            if exc.code.name != "request_closed":
                raise
            return
        kept.setdefault(name, []).append(text)
        return


async def ask(rc: Runcast, user: str, number: int, done: asyncio.Event) -> list[str]:
    """A run that asks two questions at a time, until it is done; what it was told."""
    told: list[str] = []
    async with rc.run(user=user, run_id=f"r{number}") as run:

        async def one(prompt: str) -> None:
            told.append(await run.ask(prompt))

        while not done.is_set():
            async with asyncio.TaskGroup() as group:
                group.create_task(one("How?"))
                group.create_task(one(f"And {len(told)}?"))
    return told


async def break_things(cluster: Cluster, done: asyncio.Event) -> None:
    """Kill and start again, one after the other."""
    for node in (cluster.routers[0], cluster.edges[0], cluster.nats, cluster.routers[1], cluster.edges[1]):
        await node.kill()
        await node.start()
    done.set()


async def test_every_question_gets_the_first_answer(runcast_cluster_factory, user: str):
    cluster = await runcast_cluster_factory(routers=2, edges=2)
    urls = cluster.ws_urls()
    kept: dict[str, list[str]] = {}
    done = asyncio.Event()
    devices: list[Device] = []
    async with asyncio.TaskGroup() as answering:
        for number in range(2):

            def on_event(received: Received, number: int = number) -> None:
                if received.event.HasField("input_requested"):
                    answering.create_task(answer(devices[number], received.event, kept))

            devices.append(
                Device([*urls[number:], *urls[:number]], cluster.token(user), device=f"d{number}", reconnect=True, on_event=on_event)
            )
            await devices[number].connect()
        async with Runcast(",".join(cluster.router_addresses()), agent="test") as rc, asyncio.TaskGroup() as group:
            group.create_task(break_things(cluster, done))
            async with asyncio.timeout(50):
                told = await asyncio.gather(*(ask(rc, user, number, done) for number in range(RUNS)))
        for device in devices:
            for number in range(RUNS):
                await device.wait_kind("agent_completed", run_id=f"r{number}", timeout=15)
    assert len(kept) > 10 * RUNS
    assert {name: len(texts) for name, texts in kept.items()} == dict.fromkeys(kept, 1), "one answer is kept of each question"
    assert sorted(itertools.chain(*told)) == sorted(text for [text] in kept.values()), "and that one came to the agent"
    for device in devices:
        device.check_chain()
        settled = {
            f"{event.run_id}/{event.input_resolved.request_id}": event.input_resolved
            for event in device.events
            if event.HasField("input_resolved")
        }
        assert {each.outcome for each in settled.values()} == {INPUT_OUTCOME_ANSWERED}
        assert {name: [json.loads(each.value_json)] for name, each in settled.items()} == kept
        await device.close()
