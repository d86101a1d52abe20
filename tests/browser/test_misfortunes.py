"""What browsers do to a page: storage denied, clocks that are wrong and jump, no network, and a client of another version."""

import json

import pytest
from pages import OpenPage, expect_live
from playwright.async_api import Browser, Page, Route, expect

from runcast.client import Runcast
from runcast.testkit import Cluster

pytestmark = pytest.mark.xdist_group("browser")

HOURS = 3_600_000

DENIED = """
  for (const area of ["localStorage", "sessionStorage"])
    Object.defineProperty(window, area, { get() { throw new DOMException("blocked", "SecurityError"); } });
"""

CLOCK = """
  window.skew = %d;
  const now = Date.now.bind(Date);
  Date.now = () => now() + window.skew;
"""
"""The clock of the machine: wrong from the beginning, and set anew when `window.skew` is."""


SHOWN = "(text) => window.runcast.runs.timeline[0]?.messages[0]?.text === text"


async def said(page: Page, group: str, text: str) -> str:
    sent = await page.evaluate("([group, text]) => window.runcast.send({ group, text })", [group, text])
    await expect(page.locator(f'#timeline [data-testid="user-message"][data-id="{sent["id"]}"]')).to_be_visible()
    return str(sent["id"])


async def test_with_storage_denied_each_tab_is_a_device_of_its_own(
    browser: Browser, runcast_cluster: Cluster, user: str, open_page: OpenPage
) -> None:
    context = await browser.new_context()
    await context.add_init_script(DENIED)
    pages = [await open_page(runcast_cluster.edges[0].http_url, context=context) for _ in range(2)]
    assert len({await page.evaluate("window.runcast.device") for page in pages}) == 2
    sent = await said(pages[0], user, "hello")
    await expect(pages[1].locator("#timeline").get_by_test_id("user-message")).to_have_attribute("data-id", sent)
    names = await pages[0].evaluate("navigator.locks.query().then(({ held, pending }) => [held.length, pending.length])")
    assert names == [2, 0], "each leads itself alone"


NO_LOCKS = "Object.defineProperty(Navigator.prototype, 'locks', { value: undefined });"


@pytest.mark.parametrize("lacks", ["web locks", "the module"])
async def test_where_tabs_cannot_share_each_has_its_own_connection(
    browser: Browser, runcast_cluster: Cluster, user: str, open_page: OpenPage, lacks: str
) -> None:
    context = await browser.new_context()
    if lacks == "the module":
        await context.route("**/client/shared.js", lambda route: route.abort())
    if lacks == "web locks":
        await context.add_init_script(NO_LOCKS)
    pages = [await open_page(runcast_cluster.edges[0].http_url, context=context) for _ in range(2)]
    devices = {await page.evaluate("window.runcast.device") for page in pages}
    assert len(devices) == (2 if lacks == "web locks" else 1)
    assert await pages[0].evaluate("navigator.locks?.query().then(({ held, pending }) => held.length + pending.length) ?? 0") == 0
    sent = [await said(page, user, "hello") for page in pages]
    for page in pages:
        await page.wait_for_function("() => window.runcast.log.length === 2")
        assert await page.evaluate("window.runcast.log") == sent


@pytest.mark.parametrize("skew", [-5 * HOURS, 5 * HOURS])
async def test_a_clock_that_is_wrong_by_hours_and_set_right_costs_nothing(
    browser: Browser, runcast_cluster: Cluster, user: str, open_page: OpenPage, skew: int
) -> None:
    context = await browser.new_context()
    await context.add_init_script(CLOCK % skew)
    page = await open_page(runcast_cluster.edges[0].http_url, context=context)
    ids = [await said(page, user, "while it was wrong")]
    await page.evaluate("window.skew = 0")
    ids.append(await said(page, user, "set right"))
    await page.evaluate("(skew) => { window.skew = -skew; }", skew)
    ids.append(await said(page, user, "wrong the other way"))
    assert await page.evaluate("window.runcast.log") == ids
    counts = await page.evaluate("window.runcast.counts")
    assert (counts["gaps"], counts["repeats"], counts["connects"]) == (0, 0, 1)


async def test_a_page_without_network_says_so_and_misses_nothing(runcast_cluster: Cluster, user: str, open_page: OpenPage) -> None:
    first = await open_page(runcast_cluster.edges[0].http_url)
    tab = await open_page(runcast_cluster.edges[0].http_url, context=first.context)
    pages = [first, tab]
    routers = ",".join(runcast_cluster.router_addresses())
    async with Runcast(routers, agent="test") as rc, rc.run(user=user, thread="t") as run:
        await run.respond("before; ")
        for page in pages:
            await page.wait_for_function(SHOWN, arg="before; ")
        await first.context.set_offline(True)
        # The connection that is there goes silent, as when a laptop leaves its network; who has none can't get one.
        for page in pages:
            await page.wait_for_function("() => dispatchEvent(new Event('online')) && window.runcast.state !== 'live'", polling=500)
        await run.respond("meanwhile; ")
        await run.flush()
        await first.context.set_offline(False)
        for page in pages:
            await expect_live(page)
            await page.wait_for_function(SHOWN, arg="before; meanwhile; ")
            assert await page.evaluate("[window.runcast.counts.gaps, window.runcast.counts.repeats]") == [0, 0]


async def test_a_client_of_another_version_is_told_to_upgrade_and_stays_away(runcast_cluster: Cluster, user: str, browser: Browser) -> None:
    """The client of tomorrow: the one of today, but for what it says that it speaks."""
    context = await browser.new_context()

    async def tomorrow(route: Route) -> None:
        answer = await route.fetch()
        await route.fulfill(response=answer, body=(await answer.text()).replace("runcast.v1.json", "runcast.v2.json"))

    await context.route("**/client/runcast.js", tomorrow)
    page = await context.new_page()
    await page.goto(f"{runcast_cluster.edges[0].http_url}/?user={user}&group={user}")
    await page.wait_for_function("() => window.runcast?.state === 'closed'")
    detail = await page.evaluate("window.runcast.detail")
    assert detail["code"] == 4507, json.dumps(detail)
    assert "runcast.v2.json is not spoken here, but runcast.v1.json" in detail["reason"]
    assert await page.evaluate("window.runcast.counts.connects") == 1
    await expect(page.locator("body")).to_contain_text("Load the page again")
