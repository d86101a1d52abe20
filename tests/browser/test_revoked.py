"""What a person sees whom an operator disconnects (nothing), and revokes (why, and no coming back)."""

import pytest
from pages import OpenPage
from playwright.async_api import expect

from runcast.testkit import Cluster
from tests.revoking import operator, user_target

pytestmark = pytest.mark.xdist_group("browser")

WATCH = """() => {
  window.codes = [];
  window.runcast.on("state", (state, detail) => { if (detail?.code) window.codes.push(detail.code); });
}"""


async def test_a_page_comes_back_from_a_disconnect_and_not_from_a_revocation(
    runcast_cluster: Cluster, user: str, open_page: OpenPage
) -> None:
    page = await open_page(runcast_cluster.edges[0].http_url)
    await page.evaluate(WATCH)
    async with operator(runcast_cluster.nats_url) as revoking, runcast_cluster.connect() as agent, agent.run(user=user) as run:
        await revoking.disconnect(user_target(user), reason="maintenance")
        await page.wait_for_function("() => window.codes.includes(4013)")
        await run.respond("while it was away")
        await expect(page.get_by_test_id("message")).to_contain_text("while it was away")
        await expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "live")
        await revoking.revoke(user_target(user), by="me", reason="stolen laptop")
        await expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "closed")
        await expect(page.get_by_test_id("closed")).to_contain_text("Your access was ended")
        await expect(page.get_by_test_id("closed-said")).to_contain_text("stolen laptop")
        await run.respond("not for its eyes", whole=True)
        await run.flush()
        await page.wait_for_timeout(2_500)  # longer than the longest wait before a reconnect
        await expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "closed")
        assert "not for its eyes" not in await page.content()
        assert await page.evaluate("window.codes") == [4013, 4506]
