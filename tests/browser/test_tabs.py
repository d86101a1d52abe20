"""Tabs of one page share a connection: one WebSocket for all, nothing lost or doubled when the leader goes, and never two users on one."""

import asyncio

import pytest
from pages import Agent, OpenPage, answering, expect_live
from playwright.async_api import Page, WebSocket, expect

from runcast.client import InboxMessage, Run
from runcast.testkit import Cluster

pytestmark = pytest.mark.xdist_group("browser")

OTHER = """async ([user, options]) => {
  const { connect, devToken } = await import("/client/runcast.js");
  const rc = connect("/v1/ws", { token: devToken(user), from: "earliest", ...options });
  window.other = rc;
  await new Promise((resolve) => rc.state === "live" ? resolve() : rc.on("state", (state) => state === "live" && resolve()));
}"""


LOOKS = "(before) => dispatchEvent(new Event('online')) && window.runcast.counts.connects > before"
"""A person looks, and looks again: the page asks whether anybody is there, and connects for itself when nobody is."""


class Sockets:
    """The WebSockets that pages have open."""

    def __init__(self) -> None:
        self._open: dict[Page, list[WebSocket]] = {}
        self._changed = asyncio.Event()

    def watch(self, page: Page) -> None:
        def opened(socket: WebSocket) -> None:
            self._open.setdefault(page, []).append(socket)
            socket.on("close", lambda _: (self._open[page].remove(socket), self._changed.set()))
            self._changed.set()

        page.on("websocket", opened)

    def count(self, page: Page) -> int:
        return len(self._open.get(page, []))

    async def settle(self, pages: list[Page], *counts: int) -> list[int]:
        """Wait until as many are open on these pages, in any order; how many on each."""
        async with asyncio.timeout(15):
            while True:
                now = [self.count(page) for page in pages]
                if sorted(now) == sorted(counts):
                    return now
                self._changed.clear()
                await self._changed.wait()


@pytest.fixture
def sockets() -> Sockets:
    return Sockets()


async def tabs(sockets: Sockets, open_page: OpenPage, url: str, count: int) -> list[Page]:
    """As many tabs of one browser; their connections are watched from the second load on."""
    first = await open_page(url)
    pages = [first, *[await open_page(url, context=first.context) for _ in range(count - 1)]]
    for page in pages:
        sockets.watch(page)
        await page.reload()
        await expect_live(page)
    return pages


async def ask(page: Page, agent: Agent, question: str) -> tuple[InboxMessage, Run]:
    await page.get_by_test_id("question").fill(question)
    await page.keyboard.press("Enter")
    return await agent.next_run()


async def shown(pages: list[Page], text: str) -> None:
    for page in pages:
        await expect(page.get_by_test_id("message").last).to_contain_text(text)


async def same_log(pages: list[Page]) -> list[str]:
    logs: list[list[str]] = [await page.evaluate("window.runcast.log") for page in pages]
    assert all(log == logs[0] for log in logs)
    assert len(set(logs[0])) == len(logs[0])
    return logs[0]


async def test_three_tabs_are_one_connection_and_outlive_their_leader(
    runcast_cluster: Cluster, user: str, open_page: OpenPage, sockets: Sockets
) -> None:
    pages = await tabs(sockets, open_page, runcast_cluster.edges[0].http_url, 3)
    counts = await sockets.settle(pages, 1, 0, 0)
    leader = pages[counts.index(1)]
    following = [page for page in pages if page is not leader]
    async with answering(",".join(runcast_cluster.router_addresses()), user) as agent:
        # What a tab without a connection says reaches the agent, and what the agent says all of them.
        _, run = await ask(following[0], agent, "who is there?")
        await run.respond("all of us; ")
        await shown(pages, "all of us;")
        # The leader goes in the midst of it.
        for number in range(40):
            await run.respond(f"{number} ")
            if number == 10:
                await leader.close()
        counts = await sockets.settle(following, 1, 0)
        await run.respond("still here; ")
        await shown(following, "39 still here;")
        await same_log(following)
        # The next one is frozen, as browsers do with hidden tabs, and says so: the last takes over, and the other comes back to it.
        leader, last = (following[counts.index(1)], following[counts.index(0)])
        await leader.evaluate("void document.dispatchEvent(new Event('freeze'))")
        await sockets.settle([last], 1)
        await sockets.settle([leader], 0)
        await expect_live(leader)
        # That one stops without a word. Who looks at the other finds out, and takes the lock away from it.
        leader, last = last, leader
        cdp = await leader.context.new_cdp_session(leader)
        await cdp.send("Debugger.enable")
        await cdp.send("Debugger.pause")
        await run.respond("also while it slept; ")
        before = await last.evaluate("window.runcast.counts.connects")
        await last.wait_for_function(LOOKS, arg=before, polling=500)
        await sockets.settle([last], 1)
        await shown([last], "also while it slept;")
        await last.get_by_test_id("stop").click()
        await expect(last.get_by_test_id("run")).to_have_attribute("data-status", "cancelled")
        await cdp.send("Debugger.disable")
        await expect(leader.get_by_test_id("run")).to_have_attribute("data-status", "cancelled")
        await sockets.settle([leader], 0)
        assert sockets.count(last) == 1
        await same_log(following)
        for page in following:
            assert await page.evaluate("window.runcast.state") == "live"
            assert await page.evaluate("[window.runcast.counts.gaps, window.runcast.counts.repeats]") == [0, 0]


async def test_two_users_in_one_browser_never_share(runcast_cluster: Cluster, user: str, open_page: OpenPage, sockets: Sockets) -> None:
    pages = await tabs(sockets, open_page, runcast_cluster.edges[0].http_url, 2)
    await sockets.settle(pages, 1, 0)
    page, tab = pages
    # Another user logs in, in a tab that the first user's page opened, under the same device id.
    device = await page.evaluate("window.runcast.device")
    await tab.evaluate(OTHER, [f"{user}-2", {"device": device}])
    await tab.evaluate("(group) => window.other.send({ group, text: 'mine alone' })", user)
    await page.evaluate("(group) => window.runcast.send({ group, text: 'of the first user' })", user)
    await tab.wait_for_function("() => window.other.log.length >= 1 && window.runcast.log.length >= 1")
    assert await tab.evaluate("window.other.runs.timeline.map(({ text }) => text)") == ["mine alone"]
    for each in pages:
        await each.wait_for_function("() => window.runcast.log.length >= 1")
        assert await each.evaluate("window.runcast.runs.timeline.map(({ text }) => text)") == ["of the first user"]
    # The first user logs out everywhere, and the second logs in there, too: they share, and hear nothing of what was before.
    await page.evaluate("window.runcast.close()")
    await tab.evaluate("window.runcast.close()")
    await page.evaluate(OTHER, [f"{user}-2", {"device": device}])
    await sockets.settle(pages, 1, 0)
    assert await page.evaluate("window.other.runs.timeline.map(({ text }) => text)") == ["mine alone"]
    names = await page.evaluate("navigator.locks.query().then(({ held, pending }) => [...held, ...pending].map(({ name }) => name))")
    assert len(names) == 2
    assert all(f"{user}-2" in name for name in names)


AS_ANOTHER = """async ([user, group]) => {
  const { devToken } = await import("/client/runcast.js");
  const rc = window.runcast;
  const closed = new Promise((resolve) => rc.on("state", (state, { code }) => state === "closed" && resolve(code)));
  rc.refresh(devToken(user));
  const sent = rc.send({ group, text: "of the other" }).then(() => "stored", (error) => error.code);
  return [await closed, await sent];
}"""


async def test_another_user_s_token_ends_a_tab_that_heard_the_first(
    runcast_cluster: Cluster, user: str, open_page: OpenPage, sockets: Sockets
) -> None:
    pages = await tabs(sockets, open_page, runcast_cluster.edges[0].http_url, 2)
    counts = await sockets.settle(pages, 1, 0)
    leader, tab = pages[counts.index(1)], pages[counts.index(0)]
    assert await tab.evaluate(AS_ANOTHER, [f"{user}-2", user]) == [4501, "closed"]
    await sockets.settle(pages, 1, 0)
    await leader.evaluate("(group) => window.runcast.send({ group, text: 'of the first' })", user)
    await leader.wait_for_function("() => window.runcast.log.length >= 1")
    assert await leader.evaluate("window.runcast.runs.timeline.map(({ text }) => text)") == ["of the first"]
    assert await tab.evaluate("window.runcast.log") == []


async def test_one_device_id_in_two_tabs_without_sharing_is_two_connections(
    runcast_cluster: Cluster, user: str, open_page: OpenPage, sockets: Sockets
) -> None:
    pages = await tabs(sockets, open_page, runcast_cluster.edges[0].http_url, 2)
    await sockets.settle(pages, 1, 0)
    for page in pages:
        await page.evaluate("window.runcast.close()")
    await sockets.settle(pages, 0, 0)
    for page in pages:
        await page.evaluate(OTHER, [user, {"device": "one", "share": False}])
    await sockets.settle(pages, 1, 1)
    sent = [await page.evaluate("(group) => window.other.send({ group, text: 'hello' })", user) for page in pages]
    for page in pages:
        await page.wait_for_function("() => window.other.log.length >= 2")
        assert await page.evaluate("window.other.log") == [each["id"] for each in sent]
        assert await page.evaluate("[window.other.counts.gaps, window.other.counts.connects]") == [0, 1]
