"""Devices that are behind, late, or never acknowledge: they catch up with less than was sent, and cost others nothing."""

import asyncio
import itertools

import psutil
import pytest

from runcast.client import Run, Runcast
from runcast.testkit.cluster import Cluster
from runcast.testkit.device import Device
from runcast.v1.event_pb2 import Event
from runcast.wire import limits
from runcast.wire.frames import CODECS, Batch
from runcast.wire.lifecycle import is_critical
from runcast.wire.position import SNAPSHOT_EPOCH, Position
from runcast.wire.runstate import reduce_frames

DELTAS = 20_000

subprotocols = pytest.mark.parametrize("subprotocol", CODECS)


def client(cluster: Cluster) -> Runcast:
    """Sends every piece by itself, so that there is much to catch up with."""
    return Runcast(",".join(cluster.router_addresses()), agent="test", coalesce_s=0)


async def work(run: Run, deltas: int) -> None:
    """A tool, a long answer in small pieces with progress now and then, and another tool."""
    async with run.tool("look", args={"n": 1}) as tool:
        tool.result = "found"
    for number in range(deltas):
        await run.respond(f"{number} ")
        if number % 50 == 0:
            await run.thinking(f"word {number}", progress=number / deltas)
            await run.flush()
    async with run.tool("check", args={"n": 2}) as tool:
        tool.result = "right"


def batches(device: Device) -> list[Batch]:
    return [frame for frame in device.frames if isinstance(frame, Batch)]


def seqs(device: Device) -> list[int]:
    """Every seq that the device was given, alone or merged."""
    ranges = (range(event.first_seq or event.seq, event.seq + 1) for event in device.events)
    return list(itertools.chain.from_iterable(ranges))


def critical(device: Device) -> list[Event]:
    return [event for event in device.events if is_critical(event)]


async def until_caught_up(device: Device, other: Device, timeout: float = 20.0) -> None:
    """Acknowledge by hand until `device` is where `other` is."""
    async with asyncio.timeout(timeout):
        while device.position != other.position:
            seen = len(device.received)
            await device.acknowledge()
            if device.position != other.position:
                await device.wait_for(lambda _: True, timeout, start=seen)


@subprotocols
async def test_a_device_behind_catches_up_with_less_and_shows_the_same(runcast_cluster, device, user, subprotocol):
    quick = await device(device="quick", subprotocol=subprotocol)
    slow = await device(device="slow", ack=False, subprotocol=subprotocol)
    async with client(runcast_cluster) as rc, rc.run(user=user, thread="t", title="long") as run:
        await work(run, DELTAS)
    await quick.wait_kind("agent_completed", timeout=20)
    assert len(slow.events) < limits.WINDOW_EVENTS + limits.BATCH_EVENTS_MAX
    await until_caught_up(slow, quick)
    late = await device(device="late", subprotocol=subprotocol)
    await late.wait_kind("agent_completed")

    total = quick.events[-1].seq
    assert total > DELTAS
    state = reduce_frames(quick.frames).state()
    assert state[0]["messages"][0]["text"] == "".join(f"{number} " for number in range(DELTAS))
    for each in (quick, slow, late):
        assert reduce_frames(each.frames).state() == state
        assert seqs(each) == list(range(1, total + 1))
        assert critical(each) == critical(quick)
    # Merged, but for the last few batches, fewer than are worth it; for the slow one also but for the window that it had.
    assert len(late.events) < total / 8
    assert len(batches(late)) < 60, "it was written in four hundred batches or more"
    assert len(slow.events) < total / 5


@subprotocols
async def test_a_snapshot_shows_what_is_under_way_and_goes_on_live(runcast_cluster, device, user, subprotocol):
    whole = await device(device="whole")
    async with client(runcast_cluster) as rc:
        await whole.send_message("nobody", "t", "first question", id="q1")
        async with rc.run(user=user, thread="t", title="done") as run:
            await work(run, 200)
        run = rc.run(user=user, thread="t", title="under way")
        async with run:
            await work(run, 100)
            await run.flush()
            await whole.wait_for(lambda event: event.run_id == run.id and event.tool_completed.tool == "check")
            page = await device(device="page", snapshot=True, subprotocol=subprotocol)
            assert (page.welcome.outcome, page.welcome.tip) == ("snapshot", whole.position)
            (summary,) = page.welcome.runs
            assert (summary.run_id, summary.attempt, summary.title, summary.agent) == (run.id, 1, "under way", "test")
            await page.wait_for(lambda event: event.run_id == run.id and event.seq == summary.seq)
            assert page.session.caught_up
            *_, said, done, under_way = reduce_frames(page.frames).state()
            said_whole, done_whole, under_way_whole = reduce_frames(whole.frames).state()
            assert (said, under_way) == (said_whole, under_way_whole)
            assert [done[key] for key in ("status", "title", "messages")] == [done_whole[key] for key in ("status", "title", "messages")]
            assert done["tools"] == []
            assert len(page.events) < 20
            await run.respond("and more")
        await page.wait_for(lambda event: event.run_id == run.id and event.HasField("agent_completed"))
        await whole.wait_for(lambda event: event.run_id == run.id and event.HasField("agent_completed"))
        assert reduce_frames(page.frames).state()[-1] == reduce_frames(whole.frames).state()[-1]
        await page.acknowledge()
        again = await page.reconnect()
        assert (again.outcome, again.position) == ("resumed", whole.position)


async def test_who_missed_very_much_gets_a_snapshot_unless_it_is_forbidden(runcast_cluster, device, user):
    first = await device(device="first")

    async def many(rc: Runcast, number: int) -> None:
        async with rc.run(user=user, thread="t", title=str(number)) as run:
            for step in range(limits.SNAPSHOT_BACKLOG_BATCHES // 20):
                await run.custom("step", {"n": step})
                await run.flush()

    start = first.position
    async with client(runcast_cluster) as rc, asyncio.TaskGroup() as group:
        for number in range(21):
            group.create_task(many(rc, number))
    total = 21 * (limits.SNAPSHOT_BACKLOG_BATCHES // 20 + 2)
    await first.wait_count(total, timeout=20)
    for position in (start, ""):
        told = await device(device=f"told {position}", snapshot=None, position=position)
        assert told.welcome.outcome == "snapshot"
        await told.wait_count(42)
        assert [entry["status"] for entry in reduce_frames(told.frames).state()] == ["completed"] * 21
        await told.disconnect()
    never = await device(device="never", snapshot=False, position="earliest")
    assert never.welcome.outcome == "resumed"
    await never.wait_count(total, timeout=20)
    assert len(never.events) == total


async def test_a_part_of_a_snapshot_is_no_place_to_go_on_from(runcast_cluster, device, user):
    async with client(runcast_cluster) as rc, rc.run(user=user, thread="t") as run:
        await work(run, 10)
    half = str(Position(SNAPSHOT_EPOCH, 1))
    raw = await device(device="raw", position=half)
    assert (raw.welcome.outcome, raw.welcome.reason) == ("reset", "unfinished")
    anew = await device(device="anew", position=half, snapshot=True)
    assert (anew.welcome.outcome, anew.welcome.reason) == ("snapshot", "unfinished")
    await asyncio.gather(raw.wait_kind("agent_completed"), anew.wait_kind("agent_completed"))


async def test_stalled_devices_cost_an_edge_little_and_others_nothing(runcast_cluster_factory):
    cluster = await runcast_cluster_factory(routers=1, edges=1)
    users, each = 8, 25
    edge = psutil.Process(cluster.edges[0].pid)

    async def flood(rc: Runcast, user: str) -> None:
        async with rc.run(user=user, thread="t") as run:
            for number in range(2 * limits.WINDOW_EVENTS):
                await run.respond(f"some words, number {number} ")
                if number % 16 == 0:
                    await run.flush()

    async def flood_all(rc: Runcast) -> None:
        marks = [len(device.received) for device in quick]
        async with asyncio.TaskGroup() as group:
            for number in range(users):
                group.create_task(flood(rc, f"u{number}"))
        await asyncio.gather(*(device.wait_kind("agent_completed", 20, start=mark) for device, mark in zip(quick, marks, strict=True)))

    def open_device(user: int, number: int, *, ack: bool) -> Device:
        return Device(cluster.edges[0].url, cluster.token(f"u{user}"), device=f"d{number}", ack=ack, record=ack, position="latest")

    quick = [open_device(user, 0, ack=True) for user in range(users)]
    stalled = [open_device(user, number, ack=False) for user in range(users) for number in range(1, each + 1)]
    try:
        async with client(cluster) as rc:
            for device in quick:
                await device.connect()
            for _ in range(2):  # what serving these users takes at all
                await flood_all(rc)
            for device in stalled:
                await device.connect()
            before = edge.memory_info().rss
            await flood_all(rc)
            grown = edge.memory_info().rss - before
        tips = {device.welcome.user: device.position for device in quick}
        assert all(device.connected and device.position < tips[device.welcome.user] for device in stalled)
        for device in quick:
            given = seqs(device)
            assert given == 3 * list(range(1, len(given) // 3 + 1))
        assert grown / len(stalled) < 64 * limits.KIB, f"{grown / len(stalled) / limits.KIB:.1f} KiB for each stalled device"
    finally:
        for device in [*quick, *stalled]:
            await device.close()
