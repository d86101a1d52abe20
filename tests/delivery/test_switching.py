"""One cursor for all transports: a reader that is cut off goes on by another one, in the midst of a run, and has every event once."""

import asyncio
from typing import Any

import aiohttp

from runcast.testkit import Cluster, Device
from tests.delivery.test_durable import Reader
from tests.delivery.test_http import Http

BOUND_S = 10.0
STEP = 12
"""Events that a transport brings before it is cut."""


class Told:
    """A run that goes on until it is told to end."""

    def __init__(self, cluster: Cluster, user: str) -> None:
        self._cluster, self._user = cluster, user
        self.run_id = ""
        self.begun = asyncio.Event()
        self.enough = asyncio.Event()
        self.told = 0

    async def tell(self) -> None:
        async with self._cluster.connect() as rc, rc.run(user=self._user) as run:
            self.run_id = run.id
            while not self.enough.is_set():
                self.told += 1
                await run.custom("told", self.told)
                await run.flush()
                self.begun.set()


def numbers(events: list[dict[str, Any]]) -> list[int]:
    return [event["data"]["data"] for event in events if event["kind"] == "custom"]


async def over_websocket(cluster: Cluster, user: str, edge: int, position: str, *, to_end: bool = False) -> tuple[list[int], str]:
    async with Device(cluster.ws_url(edge), cluster.token(user), device="reader", position=position) as device:
        await (device.wait_kind("agent_completed") if to_end else device.wait_count(STEP))
        return [int(event.custom.data_json) for event in device.events if event.WhichOneof("kind") == "custom"], str(device.position)


async def over_sse(http: Http, position: str) -> tuple[list[int], str]:
    events: list[dict[str, Any]] = []
    async with http.stream(last_id=position, device="reader", snapshot="false") as stream:
        while len(events) < STEP:
            event = await stream.read()
            events += event.data["events"] if event.kind == "batch" else []
        return numbers(events), stream.last_id


async def over_durable(reader: Reader, position: str) -> tuple[list[int], str]:
    events: list[dict[str, Any]] = []
    while len(events) < STEP:
        page = await reader.read(position, live="long-poll", device="reader")
        assert page.status == 200
        events += page.body
        position = page.next
    return numbers(events), position


async def over_agui(http: Http, run_id: str, position: str) -> tuple[list[int], str]:
    found: list[int] = []
    whole = 0  # as far as the id says: what comes after it is told again
    async with http.stream(f"/v1/agui/{run_id}", last_id=position) as stream:
        while whole < STEP:
            event = (await stream.read()).data
            if event["type"] == "CUSTOM":
                found.append(event["value"])
            if stream.last_id != position:
                position, whole = stream.last_id, len(found)
    return found[:whole], position


async def cursor_of(cluster: Cluster, user: str, edge: int) -> str:
    async with Device(cluster.ws_url(edge), cluster.token(user), device="reader", ack=False) as device:
        assert device.welcome is not None
        return device.welcome.position


async def test_a_reader_changes_over_in_the_midst_of_a_run(runcast_cluster: Cluster, user: str) -> None:
    token = runcast_cluster.token(user)
    telling = Told(runcast_cluster, user)
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
        bases = [edge.http_url for edge in runcast_cluster.edges]
        tasks.create_task(telling.tell())
        try:
            await telling.begun.wait()
            found, places = [], []
            position = "earliest"
            for number, transport in enumerate(("websocket", "sse", "durable", "agui", "websocket", "sse", "durable")):
                base = bases[number % 2]
                match transport:
                    case "websocket":
                        told, position = await over_websocket(runcast_cluster, user, number % 2, position)
                    case "sse":
                        told, position = await over_sse(Http(session, base, token), position)
                    case "durable":
                        told, position = await over_durable(Reader(session, base, token), position)
                    case "agui":
                        told, position = await over_agui(Http(session, base, token), telling.run_id, position)
                found += told
                places.append(position)
            at = len(found)
            assert await Http(session, bases[0], token).post("/v1/ack", {"device": "reader", "pos": position}) == (204, None)
            async with asyncio.timeout(BOUND_S):  # who lost its position goes on from what was acknowledged, once that is written
                while await cursor_of(runcast_cluster, user, 1) != position:
                    pass
        finally:
            telling.enough.set()
        rest, _ = await over_websocket(runcast_cluster, user, 0, position, to_end=True)
    assert at >= 7 * STEP - 2
    assert places == sorted(set(places))
    assert rest, "the run was under way"
    assert found + rest == list(range(1, telling.told + 1))
