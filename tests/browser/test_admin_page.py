"""The first page for operators in a real Chromium: log in, see who you are, log out; its policy for content is kept and stops nothing."""

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from runcast.testkit.plugin import ClusterFactory
from tests.security.office import OPERATOR, VIEWER, people

pytestmark = pytest.mark.xdist_group("browser")


async def test_an_operator_logs_in_and_out(tmp_path: Path, runcast_cluster_factory: ClusterFactory, browser: Browser) -> None:
    environ = {"RUNCAST_AUTH": "token", "RUNCAST_AUTH_FILE": str(people(tmp_path))}
    cluster = await runcast_cluster_factory(routers=1, edges=0, admins=1, environ=environ)
    context = await browser.new_context()
    page = await context.new_page()
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda message: said.append(message.text) if "Content Security Policy" in message.text else None)
    url = f"http://localhost:{cluster.admins[0].page_port}/"  # browsers take it for secure, so the cookie is kept
    await page.goto(url)
    await page.get_by_label("Your key").fill("rk_wrong")
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("alert")).to_contain_text("The key is not accepted")
    await page.get_by_label("Your key").fill(VIEWER.text)
    await page.keyboard.press("Enter")
    await expect(page.locator("#name")).to_have_text("auditor")
    await expect(page.locator("#roles")).to_have_text("look")
    await expect(page.locator("#nats")).to_have_text("ok")
    assert await page.evaluate("document.cookie") == ""  # no script sees it
    (cookie,) = await context.cookies()
    assert (cookie["name"], cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == ("__Host-runcast-admin", True, True, "Strict")
    await page.reload()
    await expect(page.locator("#name")).to_have_text("auditor")
    await page.screenshot(path=tmp_path / "account.png")
    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_label("Your key")).to_be_visible()
    await expect(page.get_by_role("button", name="Log out")).to_be_hidden()
    assert not await context.cookies()
    await page.get_by_label("Your key").fill(OPERATOR.text)
    await page.keyboard.press("Enter")
    await expect(page.locator("#roles")).to_have_text("look and act")
    assert said == []
    # The policy holds: what a page would be given to run is not run.
    await page.evaluate("document.body.append(Object.assign(document.createElement('img'), {src: 'https://evil.test/x'}))")
    assert await page.evaluate("try { document.body.innerHTML = '<b>x</b>'; 'made' } catch (error) { error.name }") == "TypeError"
    other = await context.new_page()
    await other.set_content(f'<iframe src="{url}"></iframe>')
    frame = other.frames[1]
    assert await frame.get_by_label("Your key").count() == 0
