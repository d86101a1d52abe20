"""A page that takes events one by one acknowledges what it took and no more; one that draws is told once a frame."""

import pytest
from pages import OpenPage

from runcast.client import Runcast
from runcast.testkit.cluster import Cluster

pytestmark = pytest.mark.xdist_group("browser")

OPEN = """async ([token, device]) => {
  const { connect } = await import("/client/runcast.js");
  window.second = connect("/v1/ws", { token, device, from: "earliest" });
  window.told = [];
  window.states = [];
  window.second.on("change", (entries) => window.told.push(entries.map(({ id }) => id)));
  window.second.on("state", (state, { reason }) => window.states.push([state, reason]));
  window.loop = window.second[Symbol.asyncIterator]();
  window.take = async (count) => {
    const texts = [];
    for (let taken = 0; taken < count; taken += 1) texts.push((await window.loop.next()).value.event.data.name ?? "");
    return texts;
  };
}"""


async def test_what_was_not_taken_is_not_acknowledged(runcast_cluster: Cluster, user: str, open_page: OpenPage) -> None:
    page = await open_page(runcast_cluster.edges[0].http_url)
    await page.evaluate(OPEN, [f"dev.default.{user}", "looping"])
    await page.wait_for_function("() => window.second.state === 'live'")
    routers = ",".join(runcast_cluster.router_addresses())
    async with Runcast(routers, agent="test") as rc, rc.run(user=user, thread="t") as run:
        for number in range(700):
            await run.custom(f"n{number}", {})
        await page.wait_for_function("() => window.states.some(([state, reason]) => state === 'behind' && reason === 'untaken')")
        await page.wait_for_function("() => window.runcast.log.length === 701")
        assert await page.evaluate("window.second.log.length") < 701, "the edge waits: nothing is acknowledged"
        names = await page.evaluate("() => window.take(600)")
        assert names == ["", *(f"n{number}" for number in range(599))]
        await page.wait_for_function("() => window.second.state === 'live'")
        names = await page.evaluate("() => window.take(101)")
        assert names == [f"n{number}" for number in range(599, 700)]
    assert await page.evaluate("[window.second.counts.repeats, window.second.counts.gaps, window.second.counts.connects]") == [0, 0, 1]
    told = await page.evaluate("window.told")
    assert 1 <= len(told) < 200, "not once an event"
    assert all(ids == [run.id] for ids in told)

    # One that takes nothing of what was there before it is behind, not catching up for ever.
    await page.evaluate("() => window.second.close()")
    await page.evaluate(OPEN, [f"dev.default.{user}", "late"])
    await page.wait_for_function("() => window.second.state === 'behind'")
    assert len(await page.evaluate("() => window.take(702)")) == 702
    await page.evaluate("() => { window.loop.return(); }")
    await page.wait_for_function("() => window.second.state === 'live'")
    assert [state for state, _ in await page.evaluate("window.states")] == ["resuming", "behind", "live"]
