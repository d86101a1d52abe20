"""No frozen screen (P7): a run whose agent died ends visibly, once, within seconds; one whose agent comes back in time goes on unseen."""

import asyncio
import contextlib
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from runcast.testkit.cluster import Cluster
from runcast.testkit.device import Device
from runcast.testkit.ports import HOST
from runcast.testkit.processes import Process
from runcast.v1.event_pb2 import TOOL_STATUS_CANCELLED, Event
from runcast.wire import limits

AGENT = Path(__file__).parent / "agent.py"
VISIBLE_S = 10.0
"""What P7 promises for a killed agent."""
QUIET_S = limits.LEASE_S + limits.LEASE_REFRESH_S
"""Whoever was to be declared lost by mistake would be by then."""


class Told:
    """What the cluster's processes wrote to stderr."""

    def __init__(self) -> None:
        self._lines: list[tuple[str, str]] = []
        self._waiting: list[tuple[Callable[[str, str], bool], asyncio.Future[str]]] = []

    def take(self, name: str, line: str) -> None:
        self._lines.append((name, line))
        for matches, future in self._waiting:
            if matches(name, line) and not future.done():
                future.set_result(line)

    async def line(self, name: str, pattern: str, timeout: float = 20.0) -> str:
        """The first line of `name` that matches."""

        def matches(who: str, line: str) -> bool:
            return who == name and re.search(pattern, line) is not None

        for who, line in self._lines:
            if matches(who, line):
                return line
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append((matches, future))
        return await asyncio.wait_for(future, timeout)


class Scene:
    """A cluster, agents in processes, and devices."""

    def __init__(self, cluster: Cluster, told: Told) -> None:
        self.cluster = cluster
        self.told = told
        self.devices: list[Device] = []

    async def agent(self, user: str, *, run_id: str = "r", attempt: int = 1, routers: str = "", name: str = "agent") -> Process:
        """Start an agent; it has a tool open when this returns."""
        where = routers or ",".join(self.cluster.router_addresses())
        return await self.cluster.add(name, [str(AGENT), where, user, run_id, str(attempt)], ready="^ready agent")

    async def device(self, user: str, edge: int = 0, **more: object) -> Device:
        url = self.cluster.edges[edge].url
        device = Device(url, self.cluster.token(user), device=f"d{len(self.devices)}", **more)  # type: ignore[arg-type]
        self.devices.append(device)
        await device.connect()
        return device


@pytest.fixture
async def scene(runcast_cluster_factory) -> AsyncIterator[Scene]:
    told = Told()
    cluster = await runcast_cluster_factory(routers=2, edges=2, echo=told.take)
    scene = Scene(cluster, told)
    yield scene
    for device in scene.devices:
        await device.close()
    for device in scene.devices:
        device.check_chain()


def kinds(events: list[Event]) -> list[str]:
    return [str(event.WhichOneof("kind")) for event in events]


def assert_lost_once(events: list[Event], *, attempt: int = 1) -> None:
    """The run ended by its open tool's cancellation and its loss, with no hole and nothing behind it."""
    mine = [event for event in events if event.attempt == attempt]
    assert [event.seq for event in mine] == list(range(1, len(mine) + 1))
    assert kinds(mine).count("run_lost") == 1
    assert kinds(mine)[-2:] == ["tool_completed", "run_lost"]
    begun = next(event for event in mine if event.WhichOneof("kind") == "tool_executing")
    closed, lost = mine[-2:]
    assert closed.tool_completed.status == TOOL_STATUS_CANCELLED
    assert closed.tool_completed.tool_call_id == begun.tool_executing.tool_call_id
    assert (lost.agent, lost.thread, lost.run_id) == (begun.agent, begun.thread, begun.run_id)


def say(agent: Process) -> None:
    os.kill(agent.pid, signal.SIGUSR1)


async def test_a_killed_agent_s_run_ends_on_every_device_once_and_soon(scene: Scene, user: str) -> None:
    agent = await scene.agent(user)
    live = [await scene.device(user, edge) for edge in (0, 1)]
    for device in live:
        await device.wait_kind("tool_executing")
    killed = time.monotonic()
    await agent.kill()
    for device in live:
        await device.wait_kind("run_lost", VISIBLE_S)
    assert time.monotonic() - killed < VISIBLE_S
    late = await scene.device(user, 1, position="earliest")
    await late.wait_kind("run_lost")
    await asyncio.sleep(limits.LEASE_REFRESH_S)  # the other router heard of it too
    for device in (*live, late):
        assert_lost_once(device.events)
        assert [event.id for event in device.events] == [event.id for event in live[0].events]


async def test_an_agent_that_stood_still_or_whose_run_ended_shows_nothing(scene: Scene, user: str) -> None:
    frozen = await scene.agent(f"{user}-1", name="frozen")
    done = await scene.agent(f"{user}-2", name="done")
    devices = [await scene.device(f"{user}-{number}") for number in (1, 2)]
    os.kill(done.pid, signal.SIGUSR2)
    await scene.told.line("done", "^ended")
    await done.kill()
    await frozen.pause()
    await asyncio.sleep(3.0)
    frozen.resume()
    await asyncio.sleep(QUIET_S)
    say(frozen)
    await scene.told.line("frozen", "^said 1")
    await devices[0].wait_for(lambda event: event.agent_response.text == "1 ")
    assert "run_lost" not in kinds(devices[0].events)
    assert kinds(devices[1].events)[-1] == "agent_completed"


async def test_a_router_that_dies_is_replaced_within_the_lease(scene: Scene, user: str) -> None:
    first, second = scene.cluster.router_addresses()
    agent = await scene.agent(user, routers=f"{first},{second}")
    device = await scene.device(user)
    holding = await holder_of(scene)
    await scene.cluster.routers[holding].kill()
    await asyncio.sleep(QUIET_S)
    say(agent)
    await scene.told.line("agent", "^said 1")
    os.kill(agent.pid, signal.SIGUSR2)
    await device.wait_kind("agent_completed")
    events = device.events
    assert "run_lost" not in kinds(events)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))


async def holder_of(scene: Scene) -> int:
    """The router that holds the newest Publish stream."""
    found: asyncio.Queue[int] = asyncio.Queue()
    async with asyncio.TaskGroup() as group:

        async def look(index: int) -> None:
            await scene.told.line(f"router-{index}", "producer_opened")
            found.put_nowait(index)

        tasks = [group.create_task(look(index)) for index in (0, 1)]
        index = await found.get()
        for task in tasks:
            task.cancel()
    return index


async def test_a_cut_off_agent_learns_that_its_run_was_lost(scene: Scene, user: str) -> None:
    async with Relay(scene.cluster.routers[0].port) as relay:
        agent = await scene.agent(user, routers=f"{HOST}:{relay.port}")
        device = await scene.device(user)
        await relay.cut()
        await device.wait_kind("run_lost", VISIBLE_S)
        say(agent)
        await relay.mend()
        refused = await scene.told.line("agent", "^refused")
        assert refused.startswith("refused run_lost RunRefusedError")
        assert "begin attempt 2" in refused
        assert_lost_once(device.events)
        await agent.kill()
        again = await scene.agent(user, attempt=2, routers=f"{HOST}:{relay.port}", name="again")
        await device.wait_for(lambda event: event.attempt == 2 and event.WhichOneof("kind") == "tool_executing")
        await again.kill()
        await device.wait_for(lambda event: event.attempt == 2 and event.WhichOneof("kind") == "run_lost", VISIBLE_S)
        assert_lost_once(device.events, attempt=2)


async def test_a_router_that_stood_still_takes_nothing_for_a_lost_run(scene: Scene, user: str) -> None:
    idle = await scene.agent(f"{user}-idle", name="idle")
    router = scene.cluster.routers[await holder_of(scene)]
    bound = await scene.agent(user, routers=router.address)  # has nowhere else to go
    devices = [await scene.device(user, edge) for edge in (0, 1)]
    unaware = await scene.device(f"{user}-idle")
    await router.pause()
    for device in devices:
        await device.wait_kind("run_lost", VISIBLE_S)
    say(bound)
    router.resume()
    assert (await scene.told.line("agent", "^refused")).startswith("refused run_lost")
    for device in devices:
        assert_lost_once(device.events)
    say(idle)  # left the router by itself, in time
    await unaware.wait_for(lambda event: event.agent_response.text == "1 ")
    assert "run_lost" not in kinds(unaware.events)


async def test_what_no_router_saw_is_found_by_a_sweep(scene: Scene, user: str) -> None:
    dead, alive = await scene.agent(f"{user}-1", name="dead"), await scene.agent(f"{user}-2", name="alive")
    devices = [await scene.device(f"{user}-{number}") for number in (1, 2)]
    for router in scene.cluster.routers:
        await router.kill()
    await dead.kill()
    await asyncio.sleep(QUIET_S)
    for router in scene.cluster.routers:
        await router.start()
    await devices[0].wait_kind("run_lost", limits.LEASE_S + limits.SWEEP_S)
    await asyncio.sleep(limits.LEASE_REFRESH_S)
    assert_lost_once(devices[0].events)
    say(alive)  # its lease had ended too, but it came back before anybody judged
    await scene.told.line("alive", "^said 1")
    await devices[1].wait_for(lambda event: event.agent_response.text == "1 ")
    assert "run_lost" not in kinds(devices[1].events)


async def test_a_superseded_attempt_appears_nowhere_and_is_not_lost(scene: Scene, user: str) -> None:
    first = await scene.agent(user, name="first")
    live = [await scene.device(user, edge) for edge in (0, 1)]
    for device in live:
        await device.wait_kind("tool_executing")
    second = await scene.agent(user, attempt=2, name="second")
    for number in (1, 2):
        say(first)
        await scene.told.line("first", f"^said {number}")
    await first.kill()
    say(second)
    await scene.told.line("second", "^said 1")
    await asyncio.sleep(QUIET_S)
    late = await scene.device(user, 1, position="earliest")
    for device in (*live, late):
        await device.wait_for(lambda event: event.attempt == 2 and event.agent_response.text == "1 ")
        assert "run_lost" not in kinds(device.events)
        assert [(event.attempt, event.seq) for event in device.events] == sorted((event.attempt, event.seq) for event in device.events)
        assert not [event for event in device.events if event.attempt == 1 and event.agent_response.text == "1 "]
        assert device.session.superseded == 0  # the edges left it out already


class Relay:
    """A TCP connection in between that can be cut and mended."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._whole = True
        self.port = 0

    async def __aenter__(self) -> "Relay":
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self.cut()
        await self._server.wait_closed()

    async def cut(self) -> None:
        self._whole = False
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def mend(self) -> None:
        self._whole = True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._whole:
            writer.transport.abort()
            return
        onward, back = await asyncio.open_connection(HOST, self._target)
        self._writers |= {writer, back}
        try:
            with contextlib.suppress(ConnectionError, OSError):
                await asyncio.gather(_pump(reader, back), _pump(onward, writer))
        finally:
            self._writers -= {writer, back}
            writer.transport.abort()
            back.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()
