"""The chat page's states, each reached by an agent through the real system, looked at by axe-core and kept as pictures."""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from chat import look
from pages import Agent, OpenPage, answering, expect_live
from playwright.async_api import Page, expect

from runcast.client import InboxMessage, Run
from runcast.testkit import Cluster
from runcast.testkit.plugin import ClusterFactory

pytestmark = pytest.mark.xdist_group("browser")

TEXT = (
    "Use csv.DictReader: it reads the header and gives each row as a dict, csv.py:82.\n\n1. Open the file\n    open('a.csv', newline='')\n"
)

BLINKS = "getComputedStyle(document.querySelector('.caret'), '::after').animationName"


async def ask(page: Page, question: str) -> None:
    await page.get_by_test_id("question").fill(question)
    await page.keyboard.press("Enter")


@asynccontextmanager
async def chatting(cluster: Cluster, user: str, open_page: OpenPage) -> AsyncIterator[tuple[Page, Agent]]:
    """A page of the user, and the agent that it asks."""
    async with answering(",".join(cluster.router_addresses()), user) as agent:
        yield await open_page(cluster.edges[0].http_url), agent


async def next_run(page: Page, agent: Agent, question: str) -> tuple[InboxMessage, Run]:
    await ask(page, question)
    return await agent.next_run()


async def test_an_answer_from_the_question_to_its_sources(runcast_cluster: Cluster, user: str, open_page: OpenPage) -> None:
    async with chatting(runcast_cluster, user, open_page) as (page, agent):
        await expect(page.get_by_test_id("welcome")).to_be_visible()
        await expect(page.get_by_role("list", name="Examples")).to_have_count(0)  # nobody knows what this test's agents are good for
        _, run = await next_run(page, agent, "How do I read a CSV file that has a header row?")
        await run.thinking("Working out what is asked", progress=0.1, step=1, steps=5)
        async with run.tool("search", args={"words": ["csv", "header"], "limit": 5}, purpose="Find passages about CSV headers") as tool:
            tool.result = [{"file": "csv.py", "line": 82, "name": "csv.DictReader", "score": 9.1}]
        await run.thinking("Reading csv.DictReader", progress=0.4, step=2, steps=5, remaining_s=4)
        tool_failed = run.tool("read_file", args={"path": "csv.rst"}, purpose="Read the manual")
        with pytest.raises(FileNotFoundError):
            async with tool_failed:
                raise FileNotFoundError("csv.rst")
        async with run.tool(
            "read_file", args={"path": "csv.py", "from": 80, "to": 120}, purpose="Read what was found", estimate_s=2
        ) as tool:
            await run.respond(TEXT + "It goes ")
            tools = page.get_by_test_id("tool")
            await expect(tools).to_have_count(3)
            await expect(tools.nth(2)).to_have_attribute("data-status", "running")
            await expect(page.locator(".caret")).to_have_count(1)
            assert await page.evaluate("getComputedStyle(document.querySelector('.caret'), '::after').width") != "auto"
            await expect(page.get_by_test_id("progress")).to_have_attribute("value", "0.4")
            await expect(page.get_by_test_id("thoughts")).to_contain_text("(1 step)")
            await look(page, "2-streaming")
            await page.emulate_media(reduced_motion="reduce")
            assert await page.evaluate(BLINKS) == "none"
            await page.emulate_media(reduced_motion="no-preference")
            assert await page.evaluate(BLINKS) == "blink"
            tool.result = "class DictReader:\n    def __init__(self, f, fieldnames=None):"
        await run.respond("on.")
        await run.complete("One way was found.", result={"sources": [{"name": "csv.DictReader", "file": "csv.py", "line": 82}]})
        await expect(page.get_by_test_id("run")).to_have_attribute("data-status", "completed")
        await expect(page.locator(".caret")).to_have_count(0)
        await expect(page.get_by_test_id("announcement")).to_have_text("The answer is complete.")
        # Folded away until somebody asks: by the keyboard alone.
        await expect(page.get_by_test_id("tool-args").first).to_be_hidden()
        await tools.first.locator("summary").press("Enter")
        await expect(page.get_by_test_id("tool-args").first).to_contain_text("csv, header")
        await expect(page.get_by_test_id("tool-result").first).to_contain_text("csv.py:82")
        await page.get_by_test_id("thoughts").locator("summary").press("Enter")
        await expect(page.get_by_test_id("thoughts").locator("li")).to_have_text(["Working out what is asked", "Reading csv.DictReader"])
        await look(page, "3-completed")


async def test_an_error_says_what_to_do_and_the_question_can_be_asked_again(
    runcast_cluster: Cluster, user: str, open_page: OpenPage
) -> None:
    async with chatting(runcast_cluster, user, open_page) as (page, agent):
        first, run = await next_run(page, agent, "What changed in the index?")
        await run.error("The search index answers slowly.", severity="degraded", suggestions=["Results may be incomplete."], retrying=True)
        await run.fail(
            "The search index can't be reached.", suggestions=["Try again in a minute.", "Ask about another part of the corpus."]
        )
        fatal = page.locator('[data-testid="error"][data-severity="fatal"]')
        await expect(fatal.get_by_test_id("suggestions").locator("li")).to_have_count(2)
        await expect(page.get_by_test_id("announcement")).to_contain_text("The search index can't be reached.")
        await expect(page.get_by_text("It is trying again.")).to_be_hidden()
        await look(page, "4-failed")
        await page.get_by_test_id("retry").press("Enter")
        second, run = await agent.next_run()
        assert (second.text, second.thread) == (first.text, first.thread)
        assert second.id != first.id
        await expect(page.get_by_test_id("retry").locator("visible=true")).to_have_count(0)
        await expect(page.get_by_test_id("question")).to_be_focused()
        await expect(page.get_by_test_id("stop")).to_be_visible()  # a key pressed on what is hidden goes elsewhere
        await page.get_by_test_id("stop").press("Enter")
        await expect(page.get_by_test_id("run").nth(1)).to_have_attribute("data-status", "cancelled")
        await look(page, "5-stopped")


async def test_what_is_asked_is_answered_by_the_keyboard(runcast_cluster: Cluster, user: str, open_page: OpenPage) -> None:
    async with chatting(runcast_cluster, user, open_page) as (page, agent), asyncio.TaskGroup() as group:
        _, run = await next_run(page, agent, "Clean up the exports")
        approval = group.create_task(
            run.ask("Delete 3 files that nobody has read for a year?", kind="approval", default=False, timeout_s=600)
        )
        open_requests = page.locator('[data-testid="request"][data-status="open"]')
        await expect(open_requests).to_have_count(1)
        choice = group.create_task(run.ask("Which one first?", options=["orders-2019.csv", "orders-2020.csv"]))
        await expect(open_requests).to_have_count(2)
        question = group.create_task(run.ask("Whom shall I tell?"))
        await expect(open_requests).to_have_count(3)
        await expect(page.get_by_test_id("announcement")).to_contain_text("Whom shall I tell?")
        await expect(page.locator(".request .aside").first).to_contain_text("then it goes on with “Denied”")
        await look(page, "6-asked")
        await page.get_by_role("button", name="Deny").press("Enter")
        assert await approval is False
        await page.get_by_role("button", name="orders-2020.csv").press("Space")
        assert await choice == "orders-2020.csv"
        await page.get_by_role("textbox", name="Whom shall I tell?").fill("the team")
        await page.keyboard.press("Enter")
        assert await question == "the team"
        await expect(page.get_by_test_id("request-outcome")).to_have_text(
            ["Answered: Denied", "Answered: orders-2020.csv", "Answered: the team"]
        )
        await look(page, "7-answered")


async def test_sub_agents_stand_inside_the_run_that_started_them(runcast_cluster: Cluster, user: str, open_page: OpenPage) -> None:
    async with chatting(runcast_cluster, user, open_page) as (page, agent):
        _, run = await next_run(page, agent, "Compare the two parsers")
        async with run.tool("plan", purpose="Divide the work"):
            pass
        async with run.child(agent="researcher", title="The csv module") as one:
            await one.thinking("Reading the csv module")
            async with one.child(agent="reader", title="csv.py") as deep:
                await deep.respond("csv.py has 450 lines.")
                await deep.complete("Read")
            async with run.child(agent="critic", title="The json module") as two:
                async with two.tool("search", purpose="Find the json module"):
                    pass
                await two.thinking("Weighing what was found", progress=0.5)
                await run.respond("Both are small, and ")
                tree = page.locator('[data-testid="run"][data-run-id]')
                await expect(tree).to_have_count(4)
                await expect(page.locator('#timeline > [data-testid="run"]')).to_have_count(1)
                inner = page.locator(f'[data-run-id="{one.id}"]')
                await expect(inner.locator(f'[data-run-id="{deep.id}"]')).to_have_count(1)
                await expect(page.locator(f'[data-run-id="{two.id}"] [data-testid="progress"]')).to_have_attribute("value", "0.5")
                # What ended well is folded, what works is open.
                await expect(page.get_by_text("csv.py has 450 lines.")).to_be_hidden()
                await expect(page.get_by_text("Weighing what was found")).to_be_visible()
                await expect(page.get_by_test_id("stop")).to_have_attribute("data-run-id", run.id)
                await look(page, "8-sub-agents")
        await run.complete("Compared")
        root = page.locator('#timeline > [data-testid="run"]')
        await expect(root).to_have_attribute("data-status", "completed")
        before = await page.get_by_test_id("timeline").inner_text()
        await page.reload()
        await expect(root).to_have_attribute("data-status", "completed")
        assert await page.get_by_test_id("timeline").inner_text() == before


CODE = "".join(f"    row = reader.read_line(number={number}, strict=True)\n" for number in range(9))
CROWDED = f"""It is in {"un" * 90}breakable words, and in code:

```python
with open("a.csv", newline="", encoding="utf-8", errors="surrogateescape") as file_that_has_a_long_name_for_a_file:
{CODE}```
Then it goes on, see some/deep/folder/of/the/corpus/with_a_long_name.py:1234.

    one line of code
"""


async def test_much_of_everything_stays_readable(runcast_cluster: Cluster, user: str, open_page: OpenPage) -> None:
    async with chatting(runcast_cluster, user, open_page) as (page, agent):
        for number in range(14):
            await page.evaluate(
                "([group, thread, text]) => window.runcast.send({group, thread, text})", [user, f"t{number}", f"{number} " + "wordy " * 12]
            )
            await agent.next_run()
        _, run = await next_run(page, agent, f"Why is {'a' * 300} so long?")
        async with run.tool(
            "a_tool_with_a_name_that_goes_on_" * 3, args={"query": "word " * 200, "list": [1] * 40}, purpose="p " * 200
        ) as tool:
            tool.result = "\n".join(f"{number}: {'x' * 150}" for number in range(400))
        await run.error("e" * 400, severity="degraded", suggestions=["s" * 200])
        await run.thinking("t" * 300, progress=0.2, step=1000, steps=5000, remaining_s=4000)
        await run.respond(CROWDED)
        await page.get_by_test_id("tool").locator("summary").press("Enter")
        result = page.get_by_test_id("tool-result")
        await expect(result).to_contain_text("more characters")
        # Long values are scrolled in a box, by the keyboard, too; the page does not become as long as they are.
        await result.focus()
        await page.keyboard.press("PageDown")
        await page.wait_for_function("document.activeElement.scrollTop > 0")
        assert await page.evaluate("document.querySelector('.tool').getBoundingClientRect().height") < 1400
        await expect(page.locator(".row.code")).to_have_count(13)
        await expect(page.locator(".row.fence")).to_have_count(2)
        await expect(page.get_by_test_id("message")).to_have_text(CROWDED, use_inner_text=False)
        await look(page, "12-crowded")
        for width in (1280, 390):
            await page.set_viewport_size({"width": width, "height": 844})
            await page.screenshot(path=f"tests/browser/shots/chat-12-crowded-{width}-whole.png", full_page=True)


async def test_a_tool_says_how_long_it_has_been_running(runcast_cluster: Cluster, user: str, open_page: OpenPage) -> None:
    async with chatting(runcast_cluster, user, open_page) as (page, agent):
        # A browser whose clock is two hours ahead.
        await page.add_init_script("{ const now = Date.now; Date.now = () => now() + 7_200_000; }")
        await page.reload()
        await expect_live(page)
        _, run = await next_run(page, agent, "Take your time")
        took = page.get_by_test_id("tool").locator(".took")
        async with run.tool("slow", estimate_s=40):
            await expect(took).to_have_text("about 40 s")
            await expect(took).to_have_text(re.compile(r"^[12] s of about 40 s$"))
            await expect(took).to_have_text(re.compile(r"^[345] s of about 40 s$"))
            await look(page, "13-running")
            # Nobody sees it, nothing ticks.
            await page.evaluate("""() => {
              Object.defineProperty(document, "hidden", { value: true });
              document.dispatchEvent(new Event("visibilitychange"));
            }""")
            seen = await took.inner_text()
            await page.evaluate("new Promise((resolve) => setTimeout(resolve, 1500))")
            assert await took.inner_text() == seen
        await expect(took).to_have_text(re.compile(r"^\d+\.\d s$"))


async def test_the_demo_agents_own_group_is_shown_examples(runcast_cluster: Cluster, open_page: OpenPage) -> None:
    page = await open_page(runcast_cluster.edges[0].http_url, group="demo")
    await expect(page.get_by_role("list", name="Examples").get_by_role("button")).to_have_count(3)
    await look(page, "1-welcome")


async def test_conversations_are_kept_apart_and_found_again(runcast_cluster: Cluster, user: str, open_page: OpenPage) -> None:
    async with chatting(runcast_cluster, user, open_page) as (page, agent):
        one, first = await next_run(page, agent, "What is a generator?")
        await page.get_by_test_id("new-thread").click()
        await expect(page.get_by_test_id("welcome")).to_be_visible()
        await expect(page.get_by_test_id("question")).to_be_focused()
        other, second = await next_run(page, agent, "How does asyncio stop a task?")
        assert one.thread != other.thread
        threads = page.get_by_test_id("thread")
        await expect(threads.locator(".name")).to_have_text(["How does asyncio stop a task?", "What is a generator?"])
        await expect(page.get_by_test_id("run")).to_have_count(1)
        await first.respond("for the first alone")
        await first.complete()
        await expect(threads.nth(1)).to_have_attribute("data-unread", "true")
        await expect(threads.nth(1)).to_contain_text("New")
        await expect(page.get_by_text("for the first alone")).to_have_count(0)
        await look(page, "9-conversations")
        await threads.nth(1).get_by_role("link").press("Enter")
        await expect(page.get_by_text("for the first alone")).to_be_visible()
        await expect(threads.nth(1).get_by_role("link")).to_have_attribute("aria-current", "page")
        await expect(page.get_by_test_id("stop")).to_be_hidden()
        assert await page.title() == "What is a generator? - Runcast"
        await page.go_back()
        await expect(page.get_by_test_id("topic")).to_have_text("How does asyncio stop a task?")
        await second.complete()
        await page.reload()
        await expect(page.get_by_test_id("topic")).to_have_text("How does asyncio stop a task?")
        # On a phone the list is a drawer, opened and closed by the keyboard.
        await page.set_viewport_size({"width": 390, "height": 844})
        await expect(page.get_by_test_id("threads")).to_be_hidden()
        await page.get_by_test_id("menu").press("Enter")
        await expect(page.get_by_test_id("threads")).to_be_visible()
        await page.screenshot(path="tests/browser/shots/chat-9-drawer-phone.png")
        await page.keyboard.press("Escape")
        await expect(page.get_by_test_id("threads")).to_be_hidden()


async def test_a_screen_reader_hears_of_many_tools_now_and_then(runcast_cluster: Cluster, user: str, open_page: OpenPage) -> None:
    async with chatting(runcast_cluster, user, open_page) as (page, agent):
        await page.evaluate("""() => {
          window.heard = [];
          const region = document.querySelector('[data-testid="announcement"]');
          const hear = () => window.heard.push([region.textContent, performance.now()]);
          new MutationObserver(hear).observe(region, { childList: true, subtree: true });
        }""")
        _, run = await next_run(page, agent, "Look everywhere")
        for number in range(30):
            async with run.tool("search", purpose=f"Look in place {number}"):
                await run.respond(f"{number} ")
                # One after the other, as they are heard: those of one moment would be one change of the page.
                await expect(page.get_by_test_id("tool")).to_have_count(number + 1)
        await run.complete()
        await expect(page.get_by_test_id("announcement")).to_have_text("The answer is complete.")
        heard = await page.evaluate("window.heard")
        assert heard[0][0] == "An agent has started."
        assert heard[-1][0] == "The answer is complete."
        quiet_ms = [at - before for (_, before), (text, at) in itertools.pairwise(heard) if text.startswith("Look in place")]
        assert all(each > 3_900 for each in quiet_ms), heard


async def test_a_connection_that_is_away_says_so_and_that_nothing_is_lost(
    runcast_cluster_factory: ClusterFactory, user: str, open_page: OpenPage
) -> None:
    cluster = await runcast_cluster_factory(routers=1, edges=1)
    async with chatting(cluster, user, open_page) as (page, agent):
        _, run = await next_run(page, agent, "Still there?")
        await run.respond("Half of it")
        await expect(page.get_by_test_id("message")).to_have_text("Half of it")
        await cluster.edges[0].kill()
        await expect(page.get_by_test_id("connection")).to_contain_text("nothing is lost")
        await expect(page.get_by_test_id("announcement")).to_contain_text("nothing is lost")
        await look(page, "10-reconnecting")
        await cluster.edges[0].start()
        await expect(page.get_by_test_id("connection")).to_have_text("Live")
        await expect(page.get_by_test_id("announcement")).to_have_text("Connected again.")


async def test_who_is_not_let_in_is_told_why_and_what_to_do(runcast_cluster: Cluster, browser_page: Page) -> None:
    await browser_page.goto(f"{runcast_cluster.edges[0].http_url}/?user={'x' * 200}")  # longer than an id may be: no valid token
    await expect(browser_page.get_by_test_id("connection")).to_have_text("Disconnected")
    await expect(browser_page.get_by_test_id("closed")).to_contain_text("You are not signed in")
    await expect(browser_page.get_by_test_id("send")).to_be_disabled()
    await look(browser_page, "11-closed")
