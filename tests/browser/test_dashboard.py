"""The dashboard in a real Chromium, page by page: figures move under real traffic, who is killed shows, thresholds stay; a user is found,
with devices and runs over time, and played again; with one process and with fifty; and it can be used by all."""

import asyncio
import json
import os
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import nats
import pytest
from chat import FIND, axe_source
from playwright.async_api import Browser, Page, expect

from runcast.admin.replay.export import Export, from_lines
from runcast.admin.replay.spans import SpanError, parse_place
from runcast.bus.histogram import BOUNDS_MS
from runcast.testkit import Cluster, UserDevice
from runcast.testkit.plugin import ClusterFactory
from runcast.wire.limits import STATISTICS_INTERVAL_S
from runcast.wire.limits_dashboard import IMPORT_BYTES_MAX
from runcast.wire.position import Position

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(150)]

SHOTS = Path(__file__).parent / "shots"
REDACTION = Path(__file__).parents[2] / "deploy" / "redaction.example.toml"
TOKYO = ZoneInfo("Asia/Tokyo")  # not this machine's
SOME = re.compile(r"^[1-9][0-9.,]*/s$")


async def look(page: Page, name: str) -> None:
    """Keep pictures, and fail for what axe-core calls serious or critical, or for what makes a phone scroll sideways."""
    SHOTS.mkdir(exist_ok=True)
    size = page.viewport_size
    await page.evaluate(axe_source())
    found: list[str] = []
    for form, scheme, width in (("light", "light", 1400), ("dark", "dark", 1400), ("phone", "light", 390)):
        wanted: Any = scheme
        await page.emulate_media(color_scheme=wanted, reduced_motion="reduce")
        await page.set_viewport_size({"width": width, "height": 900})
        await page.screenshot(path=SHOTS / f"{name}-{form}.png", full_page=True)
        if form != "phone":
            found += [f"{name}, {form}: {each}" for each in await page.evaluate(FIND)]
        elif await page.evaluate("document.documentElement.scrollWidth") > width:  # only tables scroll sideways, in themselves
            found.append(f"{name} is too wide for a phone")
    if size:
        await page.set_viewport_size(size)
    assert found == [], "\n".join(found)


async def open_dashboard(browser: Browser, cluster: Cluster, said: list[str]) -> Page:
    context = await browser.new_context(viewport={"width": 1400, "height": 900}, timezone_id=str(TOKYO))
    context.on("weberror", lambda error: said.append(str(error.error)))
    context.on("console", lambda message: said.append(message.text) if "Content Security Policy" in message.text else None)
    page = await context.new_page()
    url = f"http://localhost:{cluster.admins[0].page_port}"
    await page.goto(f"{url}/dashboard")
    await expect(page.get_by_role("alert")).to_contain_text("not logged in")
    await page.get_by_role("link", name="Log in").click()
    await expect(page.get_by_role("button", name="Log in")).to_be_enabled()
    await look(page, "login")
    await page.get_by_role("button", name="Log in").click()
    await page.get_by_role("link", name="Dashboard").click()
    await expect(page.get_by_test_id("link")).to_have_attribute("data-state", "live")
    return page


async def set_thresholds(page: Page) -> None:
    """What is at its threshold alarms, what can't be one is refused, and the rest stays."""
    await page.get_by_text("Thresholds").click()
    field = page.get_by_label("p99 agent to ack (ms)")
    await field.fill("0.5")
    await expect(page.locator("#alarm-list")).to_contain_text("p99 agent to ack")
    await expect(page.locator("#tile-ack")).to_have_class(re.compile("over"))
    await field.fill("0")
    assert await field.evaluate("(input) => input.validationMessage") == "More than 0, or empty for no alarm."
    await expect(page.locator("#alarm-list")).to_contain_text("threshold 0.5 ms")
    await page.get_by_role("button", name="Usual values").click()
    await expect(field).to_have_value("2000")
    await field.fill("60000")
    await expect(page.locator("#alarm-list")).to_have_text("None: every figure is below its threshold.")


async def tell_fifty(cluster: Cluster) -> None:
    """Fifty processes tell their statistics, one of them that it is not well; until cancelled."""
    connection = await nats.connect(cluster.nats_url)
    uptime_s = 100
    try:
        while True:
            for number in range(50):
                role, process = ("edge", f"edge-of-a-long-name-{number:02d}") if number % 3 else ("router", f"router-{number:02d}")
                sent = uptime_s * 1000
                well = (
                    {"state": "ok", "reason": ""} if number != 9 else {"state": "unavailable", "reason": "shard 3 has no leader just now"}
                )
                told = {
                    "uptime_s": uptime_s, "devices": 1000 + number, "users": 900,
                    "events_stored": sent, "events_sent": sent, "events_acked": sent,
                    "memory_bytes": 90 << 20, "to_send": {"counts": [0, sent] + [0] * (len(BOUNDS_MS) - 1), "max_ms": 9.0},
                    "health": {"state": "ok" if number != 9 else "degraded", "dependencies": {"storage": well}},
                }  # fmt: skip
                await connection.publish(f"stats.{role}.{process}", json.dumps(told).encode())
            await connection.flush()
            await asyncio.sleep(STATISTICS_INTERVAL_S)
            uptime_s += round(STATISTICS_INTERVAL_S)
    finally:
        await connection.close()


async def test_every_page_of_the_dashboard(tmp_path: Path, runcast_cluster_factory: ClusterFactory, browser: Browser, user: str) -> None:
    cluster = await runcast_cluster_factory(routers=1, edges=2, admins=1, environ={"RUNCAST_REDACTION_FILE": str(REDACTION)})
    said: list[str] = []
    page = await open_dashboard(browser, cluster, said)
    rows = page.locator("#processes tbody tr")
    await expect(rows).to_have_count(4, timeout=10_000)
    await expect(page.locator("#tile-in dd")).to_have_text("0/s")
    async with (
        cluster.connect(agent="planner") as agent,
        UserDevice(cluster, user, edge=0) as device,
        agent.run(user=user, title="Go on") as run,
    ):

        async def talk() -> None:
            while True:
                await run.thinking("on it")
                await asyncio.sleep(0.05)

        talking = asyncio.create_task(talk())
        try:
            await expect(page.locator("#tile-in dd")).to_have_text(SOME, timeout=10_000)
            await expect(page.locator("#tile-out dd")).to_have_text(SOME, timeout=10_000)
            await expect(page.locator("#tile-ack dd")).to_have_text(re.compile("^≤ "), timeout=10_000)
            await expect(page.locator("#tile-devices dd")).to_have_text("1")
            await expect(page.locator('[data-process="edge-0"] td').nth(3)).to_have_text("1")
            await expect(page.locator("#streams tbody tr").first).to_contain_text("RUNCAST_EV_0")
            assert "L" in (await page.locator(".chart .line").first.get_attribute("d") or "")
            await set_thresholds(page)
            await look(page, "dashboard")
        finally:
            talking.cancel()
        await find_a_user(page, cluster, user, device, run)
        await play_a_part(page, user)
        await play_a_file(page, user, tmp_path)
        await page.get_by_role("link", name="Dashboard").click()
        await expect(page.get_by_test_id("link")).to_have_attribute("data-state", "live")
    await cluster.edges[1].kill()
    await expect(page.locator('[data-process="edge-1"]')).to_have_attribute("data-state", "gone", timeout=20_000)
    await expect(rows.first).to_contain_text("edge-1")  # the worst comes first
    await expect(page.locator("#alarm-list")).to_contain_text("Processes gone: 1")
    await expect(page.locator("#roles")).to_contain_text("1 edge (1 gone)")
    telling = asyncio.create_task(tell_fifty(cluster))
    try:
        await expect(rows).to_have_count(54)
        await expect(page.locator("#alarm-list")).to_contain_text("Processes that are not ok: 1")
        await expect(page.locator("#dependencies")).to_contain_text("shard 3 has no leader")
        assert (
            await page.locator("#processes").evaluate("(table) => table.parentElement.clientHeight") < 700
        )  # what is below can be reached
        await expect(page.locator("#tile-in dd")).to_have_text(re.compile("^[0-9.]+K/s$"))
        await look(page, "dashboard-50")
    finally:
        telling.cancel()
    await page.reload()
    await page.get_by_text("Thresholds").click()
    await expect(page.get_by_label("p99 agent to ack (ms)")).to_have_value("60000")
    await expect(page.locator("#charts .chart")).to_have_count(6)
    assert "L" in (await page.locator(".chart .line").first.get_attribute("d") or "")  # what was before the page was opened is there
    await page.evaluate("fetch('/api/session', {method: 'DELETE'})")
    await expect(page.get_by_test_id("link")).to_have_attribute("data-state", "ended", timeout=5_000)
    await expect(page.get_by_role("alert")).to_contain_text("log in again")
    await look(page, "dashboard-ended")
    await page.get_by_role("link", name="Find a user").click()  # which follows nothing, and wants a login all the same
    await expect(page.get_by_test_id("link")).to_have_attribute("data-state", "ended")
    await expect(page.get_by_role("alert").first).to_contain_text("not logged in")
    assert said == []


async def find_a_user(page: Page, cluster: Cluster, user: str, device: UserDevice, run: Any) -> None:
    """By the keyboard alone, until something is played."""
    async with run.tool("search", args={"password": "canary-1", "query": "weather"}) as call:
        call.result = {"hits": 3}
    with pytest.raises(TimeoutError):
        async with run.tool("fetch"):
            raise TimeoutError
    async with run.child(agent="helper", title="A part") as child:
        await child.thinking("canary-2")
    await run.respond("canary-3")
    await device.send_message(f"nobody-{user}", "t", "canary-4")

    await page.get_by_role("link", name="Find a user").click()
    await expect(page.get_by_label("User id")).to_be_focused()
    await page.keyboard.type("nobody.at-all")
    await page.keyboard.press("Enter")
    await expect(page.locator("#nobody-title")).to_have_text("Nothing is known of nobody.at-all of default")
    await look(page, "user-nobody")
    await page.get_by_label("User id").fill(user)
    await page.keyboard.press("Enter")
    await expect(page.locator("#who")).to_have_text(f"{user} of default")
    await expect(page.locator("#tile-presence dd")).to_have_text("1 device")
    await expect(page.locator("#tile-edges dd")).to_have_text("edge-0")
    await expect(page.locator("#devices tbody")).to_contain_text("all of the log", timeout=15_000)  # cursors are written every few seconds
    await expect(page.locator("#errors")).to_contain_text("planner: fetch: It took too long")
    await expect(page.locator("#waiting")).to_contain_text(f"nobody-{user}")

    card = page.locator(f'.run[data-run="{run.id}"]')
    await expect(card).to_have_attribute("data-status", "running")
    await expect(card.locator(".label")).to_have_text(["▸ planner", "✓ helper"])
    await expect(card.locator(".bar.ok title")).to_have_text(re.compile("^search, "))
    await expect(card.locator(".bar.error title")).to_have_text(re.compile("^fetch, "))
    await page.get_by_label("Silences from, seconds").fill("1")
    await expect(card.locator(".silence").first).to_be_visible(timeout=10_000)
    await card.get_by_text("As a table").focus()
    await page.keyboard.press("Enter")
    await expect(card.locator("tbody")).to_contain_text("search")
    await expect(card.locator("tbody")).to_contain_text("still")  # the silence goes on
    await look(page, "user")
    async with run.tool("later"):  # the page is told without being asked
        await expect(card.locator("tbody")).to_contain_text("later", timeout=10_000)
    assert "canary" not in await page.content()

    export = await page.request.get(await card.get_by_role("link", name="Export").evaluate("(link) => link.href"))
    written = from_lines((await export.body()).splitlines(keepends=True))
    assert (written.whole, written.head.run_id) == (True, run.id)
    assert b"canary-1" not in await export.body()

    await page.get_by_label("Replay at").select_option("max")
    async with page.expect_popup() as opened:
        await card.get_by_role("link", name="Play").focus()
        await page.keyboard.press("Enter")
    replay = await opened.value
    await expect(replay.get_by_test_id("replay")).to_contain_text(f"What was recorded of {user}, run {run.id}")
    await expect(replay.get_by_test_id("timeline")).to_contain_text("canary-3")
    await expect(replay.get_by_test_id("user")).to_have_text(user)
    assert await replay.evaluate("window.runcast.replay") is True
    assert "canary-1" not in await replay.content()
    assert (await replay.locator("header.bar").bounding_box() or {})["y"] >= (await replay.locator("#replay").bounding_box() or {})[
        "height"
    ]
    await look(replay, "replay-from-dashboard")
    await replay.close()


async def exported(page: Page) -> Export:
    """What Export all gives."""
    answer = await page.request.get(await page.get_by_role("link", name="Export all").evaluate("(link) => link.href"))
    assert answer.ok, await answer.text()
    return from_lines((await answer.body()).splitlines(keepends=True))


async def play_a_part(page: Page, user: str) -> None:
    """From and to, written as for `runcast replay` and by the clock of the browser; what is no place is told at once, and leads nowhere."""
    everything = await exported(page)
    begin, end = page.get_by_label("From", exact=True), page.get_by_label("To", exact=True)
    await begin.fill("yesterday")
    await page.keyboard.press("Tab")
    with pytest.raises(SpanError) as told:
        parse_place("yesterday", 0.0)
    await expect(page.locator("#places-problem")).to_have_text(f"from {told.value}")
    await expect(begin).to_have_attribute("aria-invalid", "true")
    for name in ("Play all", "Export all"):
        await expect(page.get_by_role("link", name=name)).to_have_attribute("aria-disabled", "true")

    middle = everything.batches[2]
    await begin.fill(str(Position(middle.epoch, middle.seq)))
    await expect(page.locator("#places-problem")).to_be_hidden()
    assert (await exported(page)).batches == everything.batches[3:]
    wall = (datetime.now(TOKYO) - timedelta(minutes=10)).isoformat(timespec="minutes")[:16]
    await begin.fill(wall)
    await page.keyboard.press("Tab")
    await expect(page.locator("#places")).to_contain_text("Plays and exports what was stored from ")
    assert (await exported(page)).batches == everything.batches
    await end.fill(wall)
    assert (await exported(page)).batches == []
    await begin.fill("-10m")
    await end.fill("")
    await page.get_by_label("Replay at").select_option("max")
    async with page.expect_popup() as opened:
        await page.get_by_role("link", name="Play all").press("Enter")
    part = await opened.value
    await expect(part.get_by_test_id("replay")).to_contain_text(f"What was recorded of {user}: {everything.events} events")
    await part.close()

    await begin.fill("zzzzzzzz-0000000000000001")
    async with page.expect_popup() as opened:
        await page.get_by_role("link", name="Play all").press("Enter")
    refused = await opened.value
    await expect(refused.get_by_role("alert")).to_contain_text("is a position of other storage")
    await look(refused, "refused")
    await refused.close()
    await begin.fill("")


async def play_a_file(page: Page, user: str, directory: Path) -> None:
    """By the keyboard; what is no export is told, with the line; the rules hold for what was exported without them."""
    answer = await page.request.get(await page.get_by_role("link", name="Export all").evaluate("(link) => link.href"))
    lines = (await answer.body()).splitlines(keepends=True)
    assert any(b"[redacted]" in line for line in lines)
    field = page.get_by_label("Exported before, as JSON lines")
    broken = (
        (b"hello\n", "line 1 is no export's"),
        (
            b"".join([lines[0].replace(b'"form":1', b'"form":9'), *lines[1:]]),
            "line 1: it has form 9, this version reads 1 (request_invalid)",
        ),
        (b"".join([*lines[:3], b'{"is":\n', *lines[3:]]), "line 4 is no export's"),
        (None, "it is larger than 32 MiB; export a run, or a span of time, or use"),
    )
    for number, (content, told) in enumerate(broken):
        file = directory / f"{number}.jsonl"
        file.write_bytes(content or b"")
        if content is None:
            os.truncate(file, IMPORT_BYTES_MAX + 1)
        await field.set_input_files(file)
        await expect(page.locator("#import-problem")).to_be_hidden()
        await field.focus()
        await page.keyboard.press("Tab")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await expect(page.locator("#import-problem")).to_contain_text(told)
    await expect(field).to_have_attribute("aria-invalid", "true")
    await page.get_by_label("From", exact=True).fill("yesterday")
    await page.keyboard.press("Tab")
    await expect(page.locator("#places-problem")).to_be_visible()
    await look(page, "user-refused")
    file = directory / "good.jsonl"
    file.write_bytes(b"".join(line.replace(b"[redacted]", b"canary-5") for line in lines))
    await field.set_input_files(file)
    await page.get_by_label("Speed").select_option("max")
    await page.get_by_role("button", name="Play file").press("Enter")
    banner = page.get_by_test_id("replay")
    await expect(banner).to_contain_text(f"What was recorded of {user}: {len(lines) - 2} events")
    await expect(banner).to_contain_text("It is from a file")
    await expect(page.get_by_test_id("timeline")).to_contain_text("canary-3")
    assert await page.evaluate("window.runcast.replay") is True
    assert "canary-5" not in await page.content()
    await look(page, "replay-from-file")
    await page.go_back()
