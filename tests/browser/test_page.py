"""The demo page in a real browser, against real edges, routers and an agent: what a person sees is what the stream holds."""

import asyncio
import re
from typing import Any

import pytest
from pages import OpenPage, answering, expect_live
from playwright.async_api import Browser, Page, expect

from runcast.testkit import Cluster
from runcast.testkit.plugin import ClusterFactory

pytestmark = pytest.mark.xdist_group("browser")

PIECES = [f"piece {number} of the answer, csv.py:{number}\n" for number in range(60)]

MARKUP = '<img src="x" onerror="window.hacked = true"><b>bold</b>'


def routers(cluster: Cluster) -> str:
    return ",".join(cluster.router_addresses())


async def ask(page: Page, question: str) -> None:
    await page.get_by_test_id("question").fill(question)
    await page.keyboard.press("Enter")


async def log(page: Page) -> list[str]:
    ids: list[str] = await page.evaluate("window.runcast.log")
    return ids


TWICE = """async () => {
  const { complete, Runs } = await import("/client/runs.js");
  const { Notes } = await import("/demo/notes.js");
  const { RunView } = await import("/demo/view.js");
  const runs = new Runs(10);
  let seq = 0;
  for (const [kind, data] of [["executing", { args: 1 }], ["completed", { result: "one" }], ["executing", { args: 2 }]]) {
    seq += 1;
    const call = { tool_call_id: "c", tool: "t", ...data };
    runs.apply(complete({ id: `r.1.${seq}`, kind: `tool_${kind}`, run_id: "r", attempt: 1, seq, data: call }));
  }
  const shown = new RunView(runs.get("r"), false, { answer() {}, retry() {} });
  shown.sync(runs.get("r"), { asked: "", notes: new Notes().of("r"), children: new Map(), mayRetry: false });
  return [...shown.element.querySelectorAll("[data-tool]")].map((tool) => [tool.dataset.status, tool.querySelector(".inside").textContent]);
}"""


async def test_a_call_under_an_id_used_before_is_shown_by_itself(runcast_cluster: Cluster, open_page: OpenPage) -> None:
    page = await open_page(runcast_cluster.edges[0].http_url)
    assert await page.evaluate(TWICE) == [["ok", "Arguments1Resultone"], ["running", "Arguments2"]]


async def test_a_reload_in_mid_run_shows_everything_again_without_gap_or_repeat(
    runcast_cluster: Cluster, user: str, open_page: OpenPage
) -> None:
    async with answering(routers(runcast_cluster), user) as agent:
        page = await open_page(runcast_cluster.edges[0].http_url)
        await ask(page, "How do I read a CSV file?")
        message, run = await agent.next_run()
        shown = page.get_by_test_id("run")
        await expect(shown).to_have_attribute("data-status", "running")
        await expect(page.locator("#timeline").get_by_test_id("user-message")).to_contain_text(message.text)
        await expect(page.locator("#outgoing").get_by_test_id("user-message")).to_have_count(0)

        await run.thinking("Looking for it", progress=0.25, step=1, steps=4)
        await expect(page.get_by_test_id("thinking")).to_contain_text("Looking for it")
        await expect(page.get_by_test_id("progress")).to_have_attribute("value", "0.25")
        async with run.tool("search", args={"words": ["csv"]}, purpose="Find the passages") as tool:
            await expect(page.get_by_test_id("tool")).to_have_attribute("data-status", "running")
            tool.result = {"file": "csv.py", "line": 82}
        await expect(page.get_by_test_id("tool")).to_have_attribute("data-status", "ok")

        # The answer streams on while the page is away.
        for piece in PIECES[:20]:
            await run.respond(piece)
        await expect(page.get_by_test_id("message")).to_contain_text(PIECES[19].strip())
        before = await log(page)
        for number, piece in enumerate(PIECES[20:]):
            await run.respond(piece)
            if number == 10:
                await run.flush()
                await page.reload(wait_until="commit")
        await run.complete("Done", result={"sources": [{"name": "csv.DictReader", "file": "csv.py", "line": 82}]})

        await expect(shown).to_have_attribute("data-status", "completed")
        await expect(page.get_by_test_id("message")).to_have_text("".join(PIECES), use_inner_text=False)
        await expect(page.get_by_test_id("tool")).to_have_attribute("data-status", "ok")
        await expect(page.get_by_test_id("source")).to_contain_text("csv.py:82")
        await expect(page.get_by_test_id("stop")).to_be_hidden()
        after = await log(page)
        assert after[: len(before)] == before
        assert after[0] == message.id
        assert after[1:] == [f"{run.id}.1.{seq}" for seq in range(1, len(after))]
        assert await page.evaluate("window.runcast.counts.gaps") == 0


async def test_a_second_tab_and_another_browser_show_the_same_in_the_same_order(
    runcast_cluster: Cluster, user: str, open_page: OpenPage
) -> None:
    first, second = (edge.http_url for edge in runcast_cluster.edges)
    async with answering(routers(runcast_cluster), user) as agent:
        page = await open_page(first)
        tab = await open_page(first, context=page.context)
        await ask(page, "the first")
        _, one = await agent.next_run()
        await ask(tab, "the second")
        _, two = await agent.next_run()
        for number in range(20):
            await one.respond(f"a{number} ")
            await two.respond(f"b{number} ")
        late = await open_page(second)
        await one.complete()
        await two.complete()
        pages = [page, tab, late]
        for each in pages:
            await expect(each.locator('[data-testid="run"][data-status="completed"]')).to_have_count(2)
        assert len({await each.evaluate("window.runcast.device") for each in pages}) == 2, "tabs that share are one device"
        logs = [await log(each) for each in pages]
        assert logs[0] == logs[1] == logs[2]
        assert len(set(logs[0])) == len(logs[0])
        texts = [await each.get_by_test_id("timeline").inner_text() for each in pages]
        assert texts[0] == texts[1] == texts[2]


async def test_the_stop_button_cancels_the_run_on_all_tabs(runcast_cluster: Cluster, user: str, open_page: OpenPage) -> None:
    async with answering(routers(runcast_cluster), user) as agent:
        page = await open_page(runcast_cluster.edges[0].http_url)
        other = await open_page(runcast_cluster.edges[1].http_url)
        await expect(page.get_by_test_id("stop")).to_be_hidden()
        await ask(page, "Something long")
        _, run = await agent.next_run()
        await run.respond("It begins")
        await page.get_by_test_id("stop").click()
        for each in (page, other):
            await expect(each.get_by_test_id("run")).to_have_attribute("data-status", "cancelled")
            await expect(each.get_by_test_id("run-status")).to_have_text("Stopped")
            await expect(each.get_by_test_id("stop")).to_be_hidden()
        assert run.cancelled
        await expect(page.get_by_test_id("question")).to_be_focused()


async def test_a_question_is_answered_on_one_page_and_dropped_on_the_other(
    runcast_cluster: Cluster, user: str, open_page: OpenPage
) -> None:
    async with answering(routers(runcast_cluster), user) as agent, asyncio.TaskGroup() as group:
        page = await open_page(runcast_cluster.edges[0].http_url)
        other = await open_page(runcast_cluster.edges[1].http_url)
        await ask(page, "Clean up")
        _, run = await agent.next_run()
        approval = group.create_task(run.ask("Delete 3 files?", kind="approval"))
        choice = group.create_task(run.ask("Which one first?", options=["a.csv", "b.csv"]))
        question = group.create_task(run.ask("And what for?"))
        for each in (page, other):
            await expect(each.locator('[data-testid="request"][data-status="open"]')).to_have_count(3)
            await expect(each.get_by_test_id("run-status")).to_have_text("Waiting for you")
        await page.get_by_role("button", name="Approve").click()
        assert await approval is True
        await other.get_by_role("button", name="b.csv").click()
        assert await choice == "b.csv"
        await other.get_by_role("textbox", name="And what for?").fill("for room")
        await other.keyboard.press("Enter")
        assert await question == "for room"
        for each in (page, other):
            await expect(each.get_by_test_id("request-outcome")).to_have_text(
                ["Answered: Approved", "Answered: b.csv", "Answered: for room"]
            )
            await expect(each.locator(".choices:visible")).to_have_count(0)
            await expect(each.get_by_test_id("run-status")).to_have_text("Working")
        refused = """async ([run, request]) => {
            try { await window.runcast.answer(run, request, true); } catch (error) { return error.code; }
        }"""
        first = await page.get_by_test_id("request").first.get_attribute("data-request-id")
        assert await page.evaluate(refused, [run.id, first]) == "request_closed"


async def test_what_agents_and_users_say_is_text(runcast_cluster: Cluster, user: str, open_page: OpenPage) -> None:
    async with answering(routers(runcast_cluster), user) as agent:
        page = await open_page(runcast_cluster.edges[0].http_url)
        await ask(page, MARKUP)
        _, run = await agent.next_run()
        await run.thinking(MARKUP)
        async with run.tool(MARKUP, args={MARKUP: MARKUP}, purpose=MARKUP) as tool:
            tool.result = {"excerpt": f"{MARKUP}\n{MARKUP}"}
        await run.respond(f"{MARKUP}\n    {MARKUP}\n1. {MARKUP}\n")
        await run.error(MARKUP)
        await run.complete(MARKUP, result={"sources": [{"name": MARKUP, "file": MARKUP, "line": 1}]})
        await expect(page.get_by_test_id("run")).to_have_attribute("data-status", "completed")
        await expect(page.get_by_test_id("error")).to_contain_text(MARKUP)
        assert await page.locator("main img, main b").count() == 0
        assert await page.evaluate("window.hacked") is None


async def test_an_edge_that_dies_costs_nothing(runcast_cluster_factory: ClusterFactory, user: str, open_page: OpenPage) -> None:
    cluster = await runcast_cluster_factory(routers=1, edges=1)
    async with answering(routers(cluster), user) as agent:
        page = await open_page(cluster.edges[0].http_url)
        await ask(page, "before")
        _, run = await agent.next_run()
        await run.respond("half")
        await expect(page.get_by_test_id("message")).to_have_text("half")
        await cluster.edges[0].kill()
        await expect(page.get_by_test_id("connection")).to_contain_text("nothing is lost")
        await ask(page, "while it was away")
        await expect(page.locator("#outgoing").get_by_test_id("user-message")).to_have_attribute("data-state", "sending")
        await run.respond(" and half")
        await run.complete()
        await cluster.edges[0].start()
        await expect_live(page)
        message, second = await agent.next_run()
        assert message.text == "while it was away"
        await second.complete()
        await expect(page.get_by_test_id("message")).to_have_text("half and half")
        await expect(page.locator('[data-testid="run"][data-status="completed"]')).to_have_count(2)
        await expect(page.locator("#timeline").get_by_test_id("user-message")).to_have_count(2)
        ids = await log(page)
        assert len(set(ids)) == len(ids)
        assert await page.evaluate("[window.runcast.counts.repeats, window.runcast.counts.gaps]") == [0, 0]


SECOND_CONNECTION = """async (user) => {
  const { connect, devToken } = await import("/client/runcast.js");
  window.second = connect("/v1/ws", { token: devToken(user) });
}"""


async def seen(page: Page, count: int) -> list[str]:
    """What the second connection was given, once it has `count` events."""
    await page.wait_for_function("(count) => window.second.log.length >= count", arg=count)
    ids: list[str] = await page.evaluate("window.second.log")
    return ids


async def test_an_application_that_keeps_what_it_read_goes_on_where_it_stopped(
    runcast_cluster: Cluster, user: str, open_page: OpenPage
) -> None:
    page = await open_page(runcast_cluster.edges[0].http_url)
    await page.evaluate(SECOND_CONNECTION, user)
    sent: list[dict[str, Any]] = [
        await page.evaluate("([group, text]) => window.second.send({ group, text })", [user, text]) for text in ("one", "two")
    ]
    assert await seen(page, 2) == [each["id"] for each in sent]
    assert [each["duplicate"] for each in sent] == [False, False]
    await page.reload()
    await page.evaluate(SECOND_CONNECTION, user)
    third = await page.evaluate("(group) => window.second.send({ group, text: 'three' })", user)
    assert await seen(page, 1) == [third["id"]]


async def test_blocked_storage_costs_the_stored_position_only(
    browser: Browser, runcast_cluster: Cluster, user: str, open_page: OpenPage
) -> None:
    context = await browser.new_context()
    await context.add_init_script("""
      for (const area of ["localStorage", "sessionStorage"])
        Object.defineProperty(window, area, { get() { throw new DOMException("blocked", "SecurityError"); } });
    """)
    page = await open_page(runcast_cluster.edges[0].http_url, context=context, user="")
    assert re.fullmatch(r"guest-[0-9a-f]{8}", await page.get_by_test_id("user").inner_text())
    sent = await page.evaluate("(group) => window.runcast.send({ group, text: 'hello' })", user)
    await expect(page.locator("#timeline").get_by_test_id("user-message")).to_have_attribute("data-id", sent["id"])


DEVICE_ALONE = """async (user) => {
  const { connect, devToken } = await import("/client/runcast.js");
  return (window.alone ??= connect("/v1/ws", { token: devToken(user), share: false })).device;
}"""


async def test_a_tab_that_does_not_share_keeps_its_device_over_a_reload_and_a_copy_of_it_gets_its_own(
    runcast_cluster: Cluster, user: str, open_page: OpenPage
) -> None:
    page = await open_page(runcast_cluster.edges[0].http_url)
    shared = await page.evaluate("window.runcast.device")
    device = await page.evaluate(DEVICE_ALONE, user)
    async with page.expect_popup() as opening:
        await page.evaluate("void window.open(location.href)")
    copy = await opening.value
    await expect_live(copy)
    assert await copy.evaluate("window.runcast.device") == shared
    assert len({shared, device, await copy.evaluate(DEVICE_ALONE, user)}) == 3
    await page.reload()
    await expect_live(page)
    assert await page.evaluate("window.runcast.device") == shared
    assert await page.evaluate(DEVICE_ALONE, user) == device


async def test_a_user_who_may_not_enter_is_told_and_left_alone(runcast_cluster: Cluster, open_page: OpenPage) -> None:
    page = await open_page(runcast_cluster.edges[0].http_url)
    said = await page.evaluate("""async () => {
      const { connect } = await import("/client/runcast.js");
      const rc = connect("/v1/ws", { token: "wrong" });
      const error = await new Promise((resolve) => rc.on("error", resolve));
      await new Promise((resolve) => rc.state === "closed" ? resolve() : rc.on("state", (state) => state === "closed" && resolve()));
      return [error.code, rc.counts.connects];
    }""")
    assert said == ["unauthenticated", 1]
