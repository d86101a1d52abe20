"""A page whose token is over asks for another, and misses nothing."""

import time
from pathlib import Path

from pages import OpenPage

from runcast.client import Runcast
from runcast.testkit.cluster import Cluster
from tests.unit.bus.identity.issuing import ISS, SECRET, issuer, sign, write

CONNECT = """async (url) => {
  const { connect } = await import("/client/runcast.js");
  window.tokens = 0;
  window.closes = [];
  window.errors = [];
  const token = async () => {
    window.tokens += 1;
    if (window.tokens === 2) throw new Error("the login service is restarting");
    return window.mint();
  };
  addEventListener("error", (event) => { window.errors.push(event.message); event.preventDefault(); });
  window.second = connect(url, { token, from: "earliest" });
  window.second.on("state", (state, detail) => detail.code && window.closes.push(detail.code));
  window.second.on("error", (error) => window.errors.push(error.code));
}"""


async def test_a_token_that_is_over_is_asked_for_anew(runcast_cluster: Cluster, user: str, open_page: OpenPage, tmp_path: Path) -> None:
    page = await open_page(runcast_cluster.edges[0].http_url)
    environ = {
        "RUNCAST_AUTH": "jwt",
        "RUNCAST_AUTH_FILE": str(write(tmp_path, issuer(leeway_s=0))),
        "RUNCAST_BIND": "127.0.0.1:0",
        "RUNCAST_NATS_URL": runcast_cluster.nats_url,
        "RUNCAST_ORIGINS": runcast_cluster.edges[0].http_url,
    }
    edge = await runcast_cluster.add(f"edge-{user}", ["-m", "runcast.edge"], ready=r"^ready edge ", environ=environ)
    try:
        port = edge.log_path.read_text().split("ready edge 127.0.0.1:")[1].split()[0]
        lives = iter((2.0, 600.0))
        await page.expose_function("mint", lambda: sign(SECRET, "HS256", iss=ISS, sub=user, exp=time.time() + next(lives)))
        await page.evaluate(CONNECT, f"ws://127.0.0.1:{port}/v1/ws")
        async with Runcast(",".join(runcast_cluster.router_addresses()), agent="test") as rc, rc.run(user=user, thread="t") as run:
            await page.wait_for_function("() => window.second.log.length >= 1")
            await page.wait_for_function("() => window.closes.includes(4012)")
            await run.respond("while it was away")
            await page.wait_for_function("() => window.second.log.length >= 2 && window.second.state === 'live'")
        await page.wait_for_function("() => window.second.log.length >= 3")
        assert await page.evaluate("[window.tokens, window.second.counts.repeats, window.second.counts.gaps]") == [3, 0, 0]
        assert await page.evaluate("window.closes") == [4012, 1006]
        assert await page.evaluate("window.errors") == ["token_expired", "Uncaught Error: the login service is restarting"]
    finally:
        await edge.stop()
