"""A page whose token is over asks for another, and misses nothing; one that is told when it will be asks before."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pages import OpenPage
from playwright.async_api import Page

from runcast.client import Runcast
from runcast.testkit.cluster import Cluster
from tests.unit.bus.identity.issuing import ISS, SECRET, issuer, sign, write

pytestmark = pytest.mark.xdist_group("browser")

CONNECT = """async ([url, fails]) => {
  const { connect } = await import("/client/runcast.js");
  window.tokens = 0;
  window.closes = [];
  window.errors = [];
  const token = async () => {
    window.tokens += 1;
    if (fails && window.tokens > 1 && window.closes.length < 2) throw new Error("the login service is restarting");
    return window.mint();
  };
  addEventListener("error", (event) => { window.errors.push(event.message); event.preventDefault(); });
  window.second = connect(url, { token, from: "earliest" });
  window.second.on("state", (state, detail) => detail.code && window.closes.push(detail.code));
  window.second.on("error", (error) => window.errors.push(error.code));
}"""


@asynccontextmanager
async def edge_with_tokens(cluster: Cluster, user: str, tmp_path: Path) -> AsyncIterator[str]:
    """One more edge, which takes JWTs; its URL."""
    environ = {
        "RUNCAST_AUTH": "jwt",
        "RUNCAST_AUTH_FILE": str(write(tmp_path, issuer(leeway_s=0))),
        "RUNCAST_BIND": "127.0.0.1:0",
        "RUNCAST_NATS_URL": cluster.nats_url,
        "RUNCAST_ORIGINS": cluster.edges[0].http_url,
    }
    edge = await cluster.add(f"edge-{user}", ["-m", "runcast.edge"], ready=r"^ready edge ", environ=environ)
    try:
        port = edge.log_path.read_text().split("ready edge 127.0.0.1:")[1].split()[0]
        yield f"ws://127.0.0.1:{port}/v1/ws"
    finally:
        await edge.stop()


async def mint(page: Page, user: str, *lives_s: float) -> None:
    """The page gets tokens of these lives, one after the other."""
    lives = iter(lives_s)
    await page.expose_function("mint", lambda: sign(SECRET, "HS256", iss=ISS, sub=user, exp=time.time() + next(lives)))


async def test_a_token_that_is_over_is_asked_for_anew(runcast_cluster: Cluster, user: str, open_page: OpenPage, tmp_path: Path) -> None:
    page = await open_page(runcast_cluster.edges[0].http_url)
    async with edge_with_tokens(runcast_cluster, user, tmp_path) as url:
        await mint(page, user, 2.0, 600.0)
        await page.evaluate(CONNECT, [url, True])
        async with Runcast(",".join(runcast_cluster.router_addresses()), agent="test") as rc, rc.run(user=user, thread="t") as run:
            await page.wait_for_function("() => window.second.log.length >= 1")
            await page.wait_for_function("() => window.closes.includes(4012)")
            await run.respond("while it was away")
            await page.wait_for_function("() => window.second.log.length >= 2 && window.second.state === 'live'")
        await page.wait_for_function("() => window.second.log.length >= 3")
        assert await page.evaluate("[window.second.counts.repeats, window.second.counts.gaps]") == [0, 0]
        assert await page.evaluate("window.closes") == [4012, 1006]
        errors = await page.evaluate("window.errors")
        assert set(errors) == {"token_expired", "Uncaught Error: the login service is restarting"}
        assert errors[-2] == "token_expired", "it asked before that, too, and once more after it"


async def test_a_token_is_replaced_before_it_is_over(runcast_cluster: Cluster, user: str, open_page: OpenPage, tmp_path: Path) -> None:
    page = await open_page(runcast_cluster.edges[0].http_url)
    async with edge_with_tokens(runcast_cluster, user, tmp_path) as url:
        await mint(page, user, 3.0, 600.0)
        await page.evaluate(CONNECT, [url, False])
        await page.wait_for_function("() => window.tokens === 2")
        await page.wait_for_timeout(3_500)  # past the end of the first token: that nothing ends is what is to be seen
        assert await page.evaluate("[window.second.state, window.second.counts.connects, window.tokens]") == ["live", 1, 2]
        assert await page.evaluate("[...window.closes, ...window.errors]") == []


ENDS = """async ([url, token]) => {
  const { connect } = await import("/client/runcast.js");
  const rc = connect(url, { token, from: "earliest" });
  window.third = rc;
  const ended = await new Promise((resolve) => rc.on("state", (state, { code, reason }) => code && resolve([state, code, reason])));
  return [...ended, rc.counts.connects];
}"""


async def test_a_text_that_is_over_ends_it(runcast_cluster: Cluster, user: str, open_page: OpenPage, tmp_path: Path) -> None:
    page = await open_page(runcast_cluster.edges[0].http_url)
    async with edge_with_tokens(runcast_cluster, user, tmp_path) as url:
        token = sign(SECRET, "HS256", iss=ISS, sub=user, exp=time.time() + 3)
        state, code, reason, connects = await page.evaluate(ENDS, [url, token])
        assert (state, code) == ("closed", 4501)
        assert "token" in reason
        assert connects == 1
