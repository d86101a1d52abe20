"""How the client behaves when there is much to send, no room, or no router: against real ones."""

import asyncio
import random
import time

import pytest

from runcast.client import ConnectionState, OutboxClosedError, OutboxFullError, Run, Runcast, UnsentError
from runcast.testkit import Cluster
from runcast.testkit.device import Device
from runcast.testkit.plugin import ClusterFactory, DeviceFactory
from runcast.testkit.ports import pick_port
from runcast.v1.event_pb2 import Event
from runcast.wire import limits_client as limits
from runcast.wire.lifecycle import ends_run


async def until_end(watcher: Device, run_id: str) -> list[Event]:
    await watcher.wait_for(lambda event: event.run_id == run_id and ends_run(event), 20.0)
    return [event for event in watcher.events if event.run_id == run_id]


def targets(cluster: Cluster) -> str:
    return ",".join(cluster.router_addresses())


# --- merging ---


async def test_text_is_sent_in_fewer_pieces_and_reads_the_same_though_the_router_dies(
    runcast_cluster_factory: ClusterFactory, user: str, device: DeviceFactory
) -> None:
    cluster = await runcast_cluster_factory(routers=2, edges=1)
    watcher = await device(cluster=cluster)
    pieces = [f"{number} " for number in range(400)]
    async with Runcast(targets(cluster), agent="analyst") as rc, rc.run(user=user) as run:
        for number, piece in enumerate(pieces):
            await run.respond(piece)
            await asyncio.sleep(0.002)
            if number == 150:
                for router in cluster.routers:
                    await router.kill()
                for router in cluster.routers:
                    await router.start()
        await run.complete()
        stats = rc.stats()
    seen = await until_end(watcher, run.id)
    assert [event.seq for event in seen] == list(range(1, len(seen) + 1))
    assert "".join(event.agent_response.text for event in seen) == "".join(pieces)
    assert len(seen) < 200
    assert (stats.accepted, stats.merged) == (len(pieces) + 3, len(pieces) + 3 - len(seen))


async def test_the_first_piece_goes_at_once_and_a_flush_does_not_wait(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    async with Runcast(targets(runcast_cluster), agent="analyst", coalesce_s=1.0) as rc, rc.run(user=user) as run:
        await run.flush()
        began = time.monotonic()
        await run.respond("first")
        await watcher.wait_for(lambda event: event.agent_response.text == "first")
        await run.respond("second")
        await run.flush()
        await run.thinking("third")
        receipt = await run.flush(receipt=5.0)
        assert time.monotonic() - began < 0.9
        assert receipt.outcome == "delivered"


# --- no room ---


async def fill(run: Run) -> int:
    """Emit until there is no room; returns how many were taken."""
    count = 0
    while True:
        try:
            await run.custom("n", count)
        except OutboxFullError:
            return count
        count += 1


async def test_raise_tells_the_caller_and_the_end_has_room(
    runcast_cluster_factory: ClusterFactory, user: str, device: DeviceFactory
) -> None:
    cluster = await runcast_cluster_factory(routers=1, edges=1)
    watcher = await device(cluster=cluster)
    async with Runcast(targets(cluster), agent="analyst", when_full="raise") as rc:
        async with rc.run(user=user) as run:
            await run.flush()
            await cluster.routers[0].pause()
            count = await fill(run)
            assert count <= limits.OUTBOX_EVENTS_MAX
            with pytest.raises(OutboxFullError, match="wait for a router"):
                await run.thinking("no")
            cluster.routers[0].resume()
        seen = await until_end(watcher, run.id)
        assert rc.stats().dropped == 0
    assert len(seen) == count + 2
    assert [event.seq for event in seen] == list(range(1, len(seen) + 1))


async def test_drop_progress_drops_that_alone_and_counts_it(
    runcast_cluster_factory: ClusterFactory, user: str, device: DeviceFactory
) -> None:
    cluster = await runcast_cluster_factory(routers=1, edges=1)
    watcher = await device(cluster=cluster)
    async with Runcast(targets(cluster), agent="analyst", when_full="drop_progress") as rc:
        async with rc.run(user=user) as run:
            await run.flush()
            await cluster.routers[0].pause()
            said = 0
            waiting: asyncio.Task[None] | None = None
            async with asyncio.TaskGroup() as group:
                while rc.stats().queued + rc.stats().in_flight < limits.OUTBOX_EVENTS_MAX:
                    await run.custom("n", said)
                    said += 1
                waiting = group.create_task(run.custom("n", said))
                for number in range(5):
                    await run.thinking(f"dropped {number}")
                assert not waiting.done(), "critical events wait"
                assert rc.stats().dropped == 5
                cluster.routers[0].resume()
            await run.thinking("kept")
        seen = await until_end(watcher, run.id)
    assert [int(event.custom.data_json) for event in seen if event.HasField("custom")] == list(range(said + 1))
    assert [event.agent_thinking.text for event in seen if event.HasField("agent_thinking")] == ["kept"]


async def test_who_is_cancelled_while_it_waits_for_room_has_said_nothing_and_the_others_keep_their_turn(
    runcast_cluster_factory: ClusterFactory, user: str, device: DeviceFactory
) -> None:
    cluster = await runcast_cluster_factory(routers=1, edges=1)
    watcher = await device(cluster=cluster)
    async with Runcast(targets(cluster), agent="analyst") as rc:
        async with rc.run(user=user) as run:
            await run.flush()
            await cluster.routers[0].pause()
            said = 0
            while rc.stats().queued + rc.stats().in_flight < limits.OUTBOX_EVENTS_MAX:
                await run.custom("n", said)
                said += 1
            async with asyncio.TaskGroup() as group:
                waiting = [group.create_task(run.custom("n", said + number)) for number in range(10)]
                await asyncio.sleep(0)
                for number in (0, 4, 9):  # the first of the line, one within, the last
                    waiting[number].cancel()
                await asyncio.wait([waiting[number] for number in (0, 4, 9)])
                cluster.routers[0].resume()
        seen = await until_end(watcher, run.id)
    assert [int(event.custom.data_json) for event in seen if event.HasField("custom")] == [
        *range(said),
        *(said + number for number in (1, 2, 3, 5, 6, 7, 8)),
    ]


async def test_who_waits_for_room_is_told_when_the_runcast_closes(runcast_cluster_factory: ClusterFactory, user: str) -> None:
    cluster = await runcast_cluster_factory(routers=1, edges=0)
    rc = Runcast(targets(cluster), agent="analyst")
    async with rc:
        run = rc.run(user=user)
        await run.__aenter__()
        await run.flush()
        await cluster.routers[0].kill()
        while rc.stats().queued + rc.stats().in_flight < limits.OUTBOX_EVENTS_MAX:
            await run.custom("n", 0)
        told: list[str] = []

        async def say() -> None:
            try:
                await run.custom("n", 1)
            except OutboxClosedError as error:
                told.append(error.code.name)

        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(say())
            await asyncio.sleep(0)
            with pytest.raises(UnsentError, match=r"router 127.*never sent.*of user") as caught:
                await rc.close(0.1)
    assert told == ["outbox_closed"] * 3
    assert sum(len(left.unsure) + len(left.unsent) for left in caught.value.leftovers) == limits.OUTBOX_EVENTS_MAX


# --- what the connection is like ---


async def test_the_connection_says_how_it_is(runcast_cluster_factory: ClusterFactory, user: str) -> None:
    cluster = await runcast_cluster_factory(routers=1, edges=0)
    router = cluster.routers[0]
    states: list[ConnectionState] = []

    async def until(state: str, start: int) -> ConnectionState:
        async with asyncio.timeout(10.0):
            while not any(told.state == state for told in states[start:]):
                changed.clear()
                await changed.wait()
        return next(told for told in states[start:] if told.state == state)

    changed = asyncio.Event()

    def note(state: ConnectionState) -> None:
        states.append(state)
        changed.set()
        raise RuntimeError("a callback that fails costs nothing")

    async with Runcast(targets(cluster), agent="analyst", on_state=note) as rc:
        await until("connected", 0)
        assert [told.state for told in states] == ["connecting", "connected"]
        assert {told.router for told in states} == {router.address}
        async with rc.run(user=user) as run:
            await run.flush()
            mark = len(states)
            await router.kill()
            left = await until("waiting", mark)
            assert left.reason
            await router.start()
            await until("connected", mark)
            await run.flush()
        stats = rc.stats()
        assert stats.connection.state == "connected"
        assert stats.reconnects == 1
    assert states[-1].state == "closed"
    stats = rc.stats()
    assert stats.connection == states[-1]
    assert (stats.queued, stats.in_flight, stats.bytes, stats.failed) == (0, 0, 0, 0)
    assert stats.accepted == stats.stored == 2
    assert stats.latency_p50_s is not None
    assert 0.0 < stats.latency_p50_s <= (stats.latency_p99_s or 0.0)


async def test_routers_that_are_dead_cost_the_caller_nothing_but_time(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    dead = [f"127.0.0.1:{pick_port(random.Random())}" for _ in range(3)]
    async with Runcast(",".join([*dead, targets(runcast_cluster)]), agent="analyst") as rc, rc.run(user=user) as run:
        took = []
        for number in range(50):
            began = time.perf_counter()
            await run.custom("n", number)
            took.append(time.perf_counter() - began)
        assert sorted(took)[25] < 0.001, "emitting needs no router"
        await rc.ready(20.0)
    assert len(await until_end(watcher, run.id)) == 52


async def test_a_wall_clock_that_jumps_changes_no_wait(
    runcast_cluster: Cluster, user: str, device: DeviceFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = await device()
    real = time.time_ns
    jump_ns = 0
    monkeypatch.setattr(time, "time_ns", lambda: real() + jump_ns)
    monkeypatch.setattr(time, "time", lambda: (real() + jump_ns) / 1e9)
    async with Runcast(targets(runcast_cluster), agent="analyst") as rc, rc.run(user=user) as run:
        began = time.monotonic()
        for hours in (0, -24, 24 * 365, -1):
            jump_ns = hours * 3_600_000_000_000
            await run.respond(f"{hours} ")
            await run.thinking("x")
            receipt = await run.flush(receipt=5.0)
            assert receipt.outcome == "delivered"
            assert 0.0 <= receipt.latency_s < 5.0
        stats = rc.stats()
        await run.complete()
        assert time.monotonic() - began < 5.0
    seen = await until_end(watcher, run.id)
    assert "".join(event.agent_response.text for event in seen) == "0 -24 8760 -1 "
    assert stats.latency_p99_s is not None
    assert stats.latency_p99_s < 5.0
