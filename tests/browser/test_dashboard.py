"""The dashboard in a real Chromium: figures move under real traffic, who is killed shows, thresholds stay, and it can be used by all."""

import asyncio
import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from runcast.testkit import Cluster, UserDevice
from runcast.testkit.plugin import ClusterFactory

pytestmark = pytest.mark.xdist_group("browser")

SHOTS = Path(__file__).parent / "shots"


async def open_dashboard(browser: Browser, cluster: Cluster, said: list[str]) -> Page:
    context = await browser.new_context(viewport={"width": 1400, "height": 900})
    page = await context.new_page()
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda message: said.append(message.text) if "Content Security Policy" in message.text else None)
    url = f"http://localhost:{cluster.admins[0].page_port}"
    await page.goto(f"{url}/dashboard")
    await expect(page.get_by_role("alert")).to_contain_text("not logged in")
    await page.get_by_role("link", name="Log in").click()
    await page.get_by_role("button", name="Log in").click()
    await page.get_by_role("link", name="Dashboard").click()
    await expect(page.get_by_test_id("link")).to_have_attribute("data-state", "live")
    return page


async def shoot(page: Page, name: str) -> None:
    SHOTS.mkdir(exist_ok=True)
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type] # one of its words
        await page.screenshot(path=SHOTS / f"{name}-{scheme}.png", full_page=True)
    size = page.viewport_size
    await page.set_viewport_size({"width": 390, "height": 800})
    assert await page.evaluate("document.documentElement.scrollWidth") == 390  # only tables scroll sideways, in themselves
    await page.screenshot(path=SHOTS / f"{name}-phone.png", full_page=True)
    if size:
        await page.set_viewport_size(size)


async def test_figures_move_and_a_killed_edge_shows(runcast_cluster_factory: ClusterFactory, browser: Browser, user: str) -> None:
    cluster = await runcast_cluster_factory(routers=1, edges=2, admins=1)
    said: list[str] = []
    page = await open_dashboard(browser, cluster, said)
    rows = page.locator("#processes tbody tr")
    await expect(rows).to_have_count(4, timeout=10_000)
    await expect(page.locator("#tile-in dd")).to_have_text("0/s")
    async with cluster.connect() as agent, UserDevice(cluster, user, edge=0), agent.run(user=user) as run:

        async def talk() -> None:
            while True:
                await run.thinking("on it")
                await asyncio.sleep(0.05)

        talking = asyncio.create_task(talk())
        try:
            some = re.compile(r"^[1-9][0-9.,]*/s$")
            await expect(page.locator("#tile-in dd")).to_have_text(some, timeout=10_000)
            await expect(page.locator("#tile-out dd")).to_have_text(some, timeout=10_000)
            await expect(page.locator("#tile-ack dd")).to_have_text(re.compile("^≤ "), timeout=10_000)
            await expect(page.locator("#tile-devices dd")).to_have_text("1")
            await expect(page.locator('[data-process="edge-0"] td').nth(3)).to_have_text("1")
            await expect(page.locator("#streams tbody tr").first).to_contain_text("RUNCAST_EV_0")
            assert "L" in (await page.locator(".chart .line").first.get_attribute("d") or "")

            await page.get_by_text("Thresholds").click()
            await page.get_by_label("p99 agent to ack (ms)").fill("0.5")
            await expect(page.locator("#alarm-list")).to_contain_text("p99 agent to ack")
            await expect(page.locator("#tile-ack")).to_have_class(re.compile("over"))
            await page.get_by_label("p99 agent to ack (ms)").fill("60000")
            await expect(page.locator("#alarm-list")).to_have_text("None: every figure is below its threshold.")

            await cluster.edges[1].kill()
            await expect(page.locator('[data-process="edge-1"]')).to_have_attribute("data-state", "gone", timeout=20_000)
            await expect(rows.first).to_contain_text("edge-1")  # the worst comes first
            await expect(page.locator("#alarm-list")).to_contain_text("Processes gone: 1")
            await expect(page.locator("#roles")).to_contain_text("1 edge (1 gone)")
            await shoot(page, "dashboard")
        finally:
            talking.cancel()
    await page.reload()
    await page.get_by_text("Thresholds").click()
    await expect(page.get_by_label("p99 agent to ack (ms)")).to_have_value("60000")
    await expect(page.locator("#charts .chart")).to_have_count(6)
    assert "L" in (await page.locator(".chart .line").first.get_attribute("d") or "")  # what was before the page was opened is there
    await page.evaluate("fetch('/api/session', {method: 'DELETE'})")
    await expect(page.get_by_test_id("link")).to_have_attribute("data-state", "ended", timeout=5_000)
    await expect(page.get_by_role("alert")).to_contain_text("log in again")
    assert said == []
