"""Pages in a real Chromium.

Tests with one are of one group: four Chromiums on two processors keep each other, and what their pages wait for, waiting.
"""

import shutil
from collections.abc import AsyncIterator
from urllib.parse import urlencode

import pytest
import pytest_asyncio
from pages import OpenPage, expect_live
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

CHROMIUM_ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
)


@pytest_asyncio.fixture
async def browser() -> AsyncIterator[Browser]:
    """Debian's Chromium, headless."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.fail("chromium is missing: install it (Debian: apt-get install chromium)", pytrace=False)
    playwright = await async_playwright().start()
    chromium = await playwright.chromium.launch(executable_path=program, args=list(CHROMIUM_ARGS))
    yield chromium
    await chromium.close()
    await playwright.stop()


@pytest_asyncio.fixture
async def open_page(browser: Browser, user: str) -> AsyncIterator[OpenPage]:
    """Opens the demo page as the test's user and waits until it is live; the test fails if a page met an error in its scripts."""
    errors: list[str] = []

    async def open_page(base_url: str, *, context: BrowserContext | None = None, **query: str) -> Page:
        page = await (context or await browser.new_context()).new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        await page.goto(f"{base_url}/?{urlencode({'user': user, 'group': user, **query})}")
        await expect_live(page)
        return page

    yield open_page
    assert errors == []


@pytest_asyncio.fixture
async def browser_page(browser: Browser) -> Page:
    """An empty page, which does not have to become live."""
    return await (await browser.new_context()).new_page()
