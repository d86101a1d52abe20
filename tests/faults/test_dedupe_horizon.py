"""A router outage longer than what storage remembers: what was in flight is indeterminate, what was not sent is kept."""

import asyncio
import time

import pytest

from runcast.client import ConnectionState, Runcast, RunIndeterminateError
from runcast.testkit.device import Device
from runcast.wire import limits, subjects
from tests.delivery.routers import jetstream

WINDOW_S = limits.RESEND_MARGIN_S + 7.0


async def test_an_outage_past_the_dedupe_window_is_told_and_what_was_not_sent_is_kept(runcast_cluster_factory, user: str):
    cluster = await runcast_cluster_factory(routers=1, edges=1)
    (router,) = cluster.routers
    async with jetstream(cluster) as js:
        for shard in range(limits.SHARDS_EMBEDDED):
            info = await js.stream_info(subjects.event_stream(shard))
            await js.update_stream(info.config.evolve(duplicate_window=WINDOW_S))
    await router.restart()
    away = asyncio.Event()

    def note(state: ConnectionState) -> None:
        if state.state == "waiting":
            away.set()

    async with (
        Device(cluster.edges[0].url, cluster.token(user), reconnect=True) as device,
        Runcast(router.address, agent="test", on_state=note) as rc,
    ):
        broken = rc.run(user=user, thread="t")
        await broken.__aenter__()
        await broken.thinking("stored")
        await broken.flush()
        await router.pause()
        await broken.custom("in flight", {})
        await asyncio.sleep(0.2)  # it has left: nothing tells so before an answer, and none can come
        await broken.custom("not sent", {})
        await router.kill()
        begun = time.monotonic()
        async with asyncio.timeout(5):
            await away.wait()  # what is said before that is sent, too, and just as unsure
        kept = rc.run(user=user, thread="t")
        await kept.__aenter__()
        await kept.custom("said during the outage", {})
        with pytest.raises(RunIndeterminateError) as caught:
            await broken.flush()
        assert time.monotonic() - begun < WINDOW_S, "told before a resend could be stored twice"
        assert [event.custom.name for event in caught.value.unsure] == ["in flight"]
        assert [event.custom.name for event in caught.value.unsent] == ["not sent"]
        assert (caught.value.code.name, caught.value.code.definite) == ("indeterminate", False)
        await asyncio.sleep(max(0.0, begun + WINDOW_S + 1 - time.monotonic()))  # the outage itself
        await router.start()
        await kept.complete()
        await kept.flush()
        await device.wait_kind("agent_completed", run_id=kept.id)
        names = [event.WhichOneof("kind") for event in device.events if event.run_id == kept.id]
        assert names == ["agent_started", "custom", "agent_completed"]
        assert not any(event.WhichOneof("kind") == "custom" for event in device.events if event.run_id == broken.id), (
            "not sent again, and never stored"
        )
