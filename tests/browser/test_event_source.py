"""A browser's own `EventSource`, with a cookie, on a page of the edge: it comes back by itself, and misses and doubles nothing."""

from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import Browser, Request

from runcast.testkit.cluster import Cluster
from tests.delivery.readers import start_short_edge
from tests.unit.bus.identity.issuing import ISS, SECRET, sign

pytestmark = pytest.mark.xdist_group("browser")

OPEN = """() => {
  Object.assign(window, { got: [], ends: [], welcomes: 0, source: new EventSource("/v1/events?device=page&position=earliest") });
  window.source.addEventListener("welcome", () => (window.welcomes += 1));
  window.source.addEventListener("end", ({ data }) => window.ends.push(JSON.parse(data).code));
  window.source.addEventListener("batch", ({ data }) => window.got.push(...JSON.parse(data).events.map(({ id }) => id)));
}"""


async def test_it_comes_back_by_itself(runcast_cluster: Cluster, user: str, browser: Browser, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('default = "small"\n[tiers.small]\ndevices_per_user = 1\n')
    token = sign(SECRET, "HS256", iss=ISS, sub=user)
    asked: list[tuple[str | None, str]] = []

    async def note(request: Request) -> None:
        if "/v1/events" in request.url:
            headers = await request.all_headers()
            asked.append((headers.get("origin"), headers.get("last-event-id", "")))

    async with start_short_edge(runcast_cluster, tmp_path, RUNCAST_COOKIE="session", RUNCAST_POLICY_FILE=str(policy)) as base:
        context = await browser.new_context()
        await context.add_cookies([{"name": "session", "value": token, "url": base, "httpOnly": True, "sameSite": "Strict"}])
        page = await context.new_page()
        page.on("request", note)
        await page.goto(base + "/healthz")
        async with runcast_cluster.connect() as rc, rc.run(user=user) as run:
            async with (
                aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session,
                session.ws_connect(base.replace("http", "ws") + "/v1/ws", protocols=["runcast.v1.json"]) as other,
            ):
                await other.send_json({"type": "hello", "device": "other"})
                assert (await other.receive_json())["type"] == "welcome"
                await page.evaluate(OPEN)
                await page.wait_for_function("() => window.ends.length === 1")
                assert await page.evaluate("[window.ends, window.welcomes]") == [["too_many_devices"], 0]
            await page.wait_for_function("() => window.got.length === 1")
            await run.custom("told while the stream is there")
            await page.wait_for_function("() => window.got.length === 2")
            await page.wait_for_function("() => window.source.readyState === EventSource.CONNECTING")
            await run.custom("told while it is away")
            await page.wait_for_function("() => window.got.length === 3 && window.welcomes >= 2")
        await page.wait_for_function("() => window.got.length === 4")
        assert await page.evaluate("[window.got, window.source.readyState === EventSource.CLOSED]") == [
            [f"{run.id}.1.{seq}" for seq in range(1, 5)],
            False,
        ]
    assert {origin for origin, _ in asked} == {None}, "that is why another header stands in for it"
    assert asked[0][1] == ""
    assert asked[-1][1] > "", "it says where it was"
