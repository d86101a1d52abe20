"""`@runcast/react` with the real React, the oldest and the newest: on a server, and in a real Chromium against a real edge."""

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from urllib.parse import urlencode

import pytest
import pytest_asyncio
from packages import find_package
from pages import answering
from playwright.async_api import Browser, Page, Route, WebSocket, expect
from test_node import CLIENT, HERE, find_node, run_node
from test_package import PACK, packed

from runcast.client import Runcast
from runcast.testkit import Cluster
from runcast.wire import VERSION
from runcast.wire.ids import encode_token

pytestmark = pytest.mark.xdist_group("browser")

REACT = CLIENT.parent / "react"

HTML = """<!doctype html><meta charset="utf-8" /><title>React</title><link rel="icon" href="data:," /><div id="root"></div>
<script type="importmap">%s</script><script type="module">import "app";</script>"""

MOUNT = """
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
const token = new URLSearchParams(location.search).get("token");
createRoot(document.getElementById("root")).render(<StrictMode><App token={token} /></StrictMode>);
"""

SERVED = {"@runcast/client": "/client/runcast.js", "@runcast/react": "/react/runcast-react.js"}
"""What an edge serves, as the README tells it."""

VERSIONS = {"18": "react-18", "19": "."}
"""Of React, by what `peerDependencies` promise: the folder whose packages they are."""

OpenApp = Callable[..., Awaitable[Page]]
"""Takes the edge's base URL and an application's JSX, then the page's query."""


def example() -> str:
    """The README's page."""
    blocks = re.findall(r"^```jsx\n(.*?)^```$", (REACT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 1
    return str(blocks[0])


def dev_token(user: str) -> str:
    return f"dev.default.{encode_token(user)}"


@pytest.fixture(params=VERSIONS)
def react(request: pytest.FixtureRequest) -> Path:
    """A folder whose packages are those of one version."""
    find_package("react")
    folder = HERE / VERSIONS[request.param]
    version = json.loads((folder / "node_modules/react/package.json").read_text())["version"]
    assert version.startswith(f"{request.param}.")
    return folder


def modules_with(jsx: str, react: Path) -> dict[str, str]:
    """By name: React's modules, and an application's."""
    ended = subprocess.run(
        [find_node(), "react/modules.mjs", str(react)], cwd=HERE, input=jsx, capture_output=True, text=True, timeout=50, check=True
    )
    modules: dict[str, str] = json.loads(ended.stdout)
    return modules


@pytest.fixture
def sockets() -> list[WebSocket]:
    """Those that pages opened, in order."""
    return []


@pytest_asyncio.fixture
async def open_app(browser: Browser, react: Path, sockets: list[WebSocket]) -> AsyncIterator[OpenApp]:
    """Opens a page of React's on the edge's origin, as behind one proxy; the test fails if it met an error, or React warned."""
    said: list[str] = []

    async def open_app(base_url: str, jsx: str, **query: str) -> Page:
        modules = await asyncio.to_thread(modules_with, jsx, react)
        imports = {name: f"/app/{number}.js" for number, name in enumerate(modules)}

        async def answer(route: Route) -> None:
            name = next((name for name, path in imports.items() if route.request.url.endswith(path)), None)
            if name is None:
                await route.fulfill(body=HTML % json.dumps({"imports": imports | SERVED}), content_type="text/html")
            else:
                await route.fulfill(body=modules[name], content_type="text/javascript")

        # What a test answers comes from nowhere: Chromium takes it for a page of the internet, which may not talk to this machine.
        page = await (await browser.new_context(permissions=["local-network-access"])).new_page()
        page.on("websocket", lambda socket: sockets.append(socket))  # noqa: PLW0108 # Playwright writes on what it is given
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("console", lambda message: said.append(message.text) if message.type in {"error", "warning"} else None)
        await page.route("**/app/**", answer)
        await page.goto(f"{base_url}/app/?{urlencode(query)}")
        return page

    yield open_app
    assert said == []


async def test_the_readme_s_page(runcast_cluster: Cluster, user: str, open_app: OpenApp) -> None:
    jsx = example().replace('"greeter"', json.dumps(user)) + MOUNT
    async with answering(",".join(runcast_cluster.router_addresses()), user) as agent:
        page = await open_app(runcast_cluster.edges[0].http_url, jsx, token=dev_token(user))
        await expect(page.get_by_role("status")).to_have_text("live")
        await page.get_by_label("Your question").fill("How much is it?")
        await page.keyboard.press("Enter")
        _, run = await agent.next_run()
        await expect(page.get_by_role("heading")).to_have_text("How much is it?")
        await expect(page.get_by_label("Your question")).to_have_value("")
        async with run.tool("price", args={"of": "it"}):
            await expect(page.get_by_text("price: running")).to_be_visible()
            async with run.child(agent="helper") as child:
                await child.respond("Asked around.")
                await expect(page.locator("article article")).to_contain_text("Asked around.")
        await run.respond("It is ")
        await run.respond("5.")
        await expect(page.get_by_text("It is 5.")).to_be_visible()
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(run.ask("Buy it?", kind="approval"))
            await page.get_by_role("button", name="Yes").click()
        assert asked.result() is True
        await page.get_by_role("button", name="Stop").first.click()
        await expect(page.locator("#root > article > p").first).to_contain_text("cancelled")


WATCHING = (HERE / "react/watching.jsx").read_text()


async def test_a_component_is_drawn_for_what_it_shows_and_at_most_once_a_frame(
    runcast_cluster: Cluster, user: str, open_app: OpenApp
) -> None:
    async with Runcast(runcast_cluster.router_addresses()[0], agent="tester", coalesce_s=0) as runcast:
        page = await open_app(runcast_cluster.edges[0].http_url, WATCHING, token=dev_token(user))
        await expect(page.locator("#status")).to_have_text(f"live {user}")
        async with runcast.run(user=user) as one, runcast.run(user=user) as other:
            await one.respond("a")
            await other.respond("b")
            await expect(page.locator(f'[data-run="{other.id}"]')).to_have_text("b")
            await expect(page.locator(f'[data-run="{one.id}"]')).to_have_text("a")
            await page.evaluate(FRAMES)
            before = await page.evaluate("({ ...drawn })")
            for _ in range(300):
                await one.respond("a")
                await one.flush()  # a message each: what comes in one is drawn at once anyhow
            await expect(page.locator(f'[data-run="{one.id}"]')).to_have_text("a" * 301)
            after = await page.evaluate("({ ...drawn })")
            assert {name for name in after if after[name] != before[name]} == {one.id}
            # StrictMode draws everything twice.
            assert after[one.id] - before[one.id] <= 2 * await page.evaluate("window.frames_")
            await one.custom("toast", {})
            await page.wait_for_function("heard.length === 1")
            assert await page.evaluate("heard") == ["toast"]


FRAMES = """() => {
  window.frames_ = 1;
  const frame = () => requestAnimationFrame(() => { window.frames_ += 1; frame(); });
  frame();
}"""


async def test_a_connection_is_there_for_as_long_as_its_component(
    runcast_cluster: Cluster, user: str, open_app: OpenApp, sockets: list[WebSocket]
) -> None:
    async with Runcast(runcast_cluster.router_addresses()[0], agent="tester") as runcast:
        async with runcast.run(user=user) as run:
            await run.respond("what only this user may see")
        page = await open_app(runcast_cluster.edges[0].http_url, WATCHING, token=dev_token(user))
        status = page.locator("#status")
        await expect(status).to_have_text(f"live {user}")
        await expect(page.locator("[data-run]")).to_have_text("what only this user may see")
        # In StrictMode every component came, went and came.
        assert len(sockets) == 1

        # What stands around it is drawn again: nothing below is.
        before = await page.evaluate("({ ...drawn })")
        await page.evaluate("page({ drawn: 1 })")
        await expect(page.locator("#drawn")).to_have_text("1")
        assert await page.evaluate("({ ...drawn })") == before

        # Another user by the token alone: nothing of the first is left.
        await page.evaluate("(token) => page({ token })", dev_token(f"{user}-2"))
        await expect(status).to_have_text(f"live {user}-2")
        await expect(page.locator("[data-run]")).to_have_count(0)
        # Another one, said to be so, without a word from the server.
        await page.evaluate("([token, user]) => page({ token, user })", [dev_token(user), user])
        await expect(status).to_have_text(f"live {user}")
        await expect(page.locator("[data-run]")).to_have_count(1)

        # A token that is refused for good, then one that is not: who logs in again goes on.
        await page.evaluate("page({ token: 'wrong' })")
        await expect(status).to_contain_text("closed")
        await page.evaluate("(token) => page({ token })", dev_token(user))
        await expect(status).to_have_text(f"live {user}")

        before_ = len(sockets)
        await page.evaluate("page({ shown: false })")
        await page.wait_for_function("document.getElementById('status') === null")
        refused = await page.evaluate("actions.send({ group: 'g', text: 'late' }).catch((error) => error.code)")
        assert refused == "closed"
        for socket in sockets:
            if not socket.is_closed():
                await socket.wait_for_event("close")

        # One component without a provider; a snapshot is new where something changed, and not where it is drawn again.
        await page.evaluate("page({ alone: true })")
        await expect(page.locator("#alone")).to_have_text("1")
        snapshots = await page.evaluate("snapshots.size")
        await page.evaluate("page({ drawn: 2 })")
        await expect(page.locator("#drawn")).to_have_text("2")
        assert await page.evaluate("snapshots.size") == snapshots
        assert len(sockets) == before_ + 1
        await page.evaluate("page({ alone: false })")


@pytest.fixture
def packages(tmp_path: Path, react: Path) -> Path:
    """Where the packages are installed, as npm would: both packed ones, and React."""
    place = tmp_path
    for which in ("client", "react"):
        subprocess.run([find_node(), str(PACK), str(place / "node_modules/@runcast" / which), which], check=True, timeout=50)
    for name in ("react", "react-dom"):
        (place / "node_modules" / name).symlink_to(react / "node_modules" / name)
    return place


def test_on_a_server(packages: Path) -> None:
    shutil.copy(HERE / "react/server.mjs", packages)
    run_node("--test", "--test-reporter=dot", str(packages / "server.mjs"), cwd=packages)


def test_what_npm_packs(packages: Path) -> None:
    package = packages / "node_modules/@runcast/react"
    told = json.loads((package / "package.json").read_text())
    assert told["peerDependencies"] == {"@runcast/client": VERSION, "react": ">=18"}
    assert "dependencies" not in told
    assert packed(package) == (
        ("@runcast/react", VERSION),
        {"LICENSE", "README.md", "package.json", "runcast-react.d.ts", *(path.name for path in REACT.glob("*.js"))},
    )


@pytest.mark.timeout(120)  # 5 s of work, which take longer where others work, too
def test_types(tmp_path: Path) -> None:
    """Those of client, hooks and pages, and that the README's page goes by them."""
    page = tmp_path / "page.tsx"
    page.write_text(re.sub(r"\((\{ \w+ \}|event)\)(?= \{| =>)", r"(\1: any)", example()))
    config = tmp_path / "tsconfig.json"
    config.write_text(json.dumps({"extends": str(HERE / "tsconfig.json"), "compilerOptions": {"jsx": "react-jsx"}, "files": [str(page)]}))
    run_node(str(find_package("typescript/bin/tsc")), "-p", str(config), timeout_s=110)
