"""The chat page in Firefox: a question, an answer as it comes, and a reload in the midst of it."""

import shutil
from pathlib import Path
from urllib.parse import urlencode

import pytest
from chat import SHOTS
from firefox import ENTER, firefox, quoted
from pages import answering

from runcast.testkit import Cluster

pytestmark = pytest.mark.xdist_group("browser")

PROGRAM = shutil.which("firefox-esr") or shutil.which("firefox")

MESSAGE = "document.querySelector('[data-testid=message]')?.textContent"
STATE = "document.querySelector('[data-testid=connection]')?.dataset.state"


@pytest.mark.timeout(120)  # Firefox takes its time to start where others work, too
async def test_the_chat_in_firefox(runcast_cluster: Cluster, user: str, tmp_path: Path) -> None:
    assert PROGRAM is not None, "Firefox is not installed: make test-tools"
    async with answering(",".join(runcast_cluster.router_addresses()), user) as agent, firefox(PROGRAM, tmp_path) as page:
        await page.open(f"{runcast_cluster.edges[0].http_url}/?{urlencode({'user': user, 'group': user})}")
        await page.until(f"{STATE} === 'live'")
        await page.evaluate("document.getElementById('question').focus()")
        await page.press("How do I read a CSV file?" + ENTER)
        message, run = await agent.next_run()
        assert message.text == "How do I read a CSV file?"
        async with run.tool("search", purpose="Find the passages"):
            await page.until("document.querySelector('[data-testid=tool]')?.dataset.status === 'running'")
        await run.respond("Use csv.DictReader: ")
        await page.until(f"{MESSAGE} === 'Use csv.DictReader: '")
        await page.until("document.querySelector('.caret') !== null")
        device = await page.evaluate("window.runcast.device")
        await page.reload()
        await run.respond("it reads the header.")
        await page.until(f"{MESSAGE} === {quoted('Use csv.DictReader: it reads the header.')}")
        assert await page.evaluate("window.runcast.device") == device
        await page.picture(SHOTS / "firefox-streaming.png")
        await run.complete("Done")
        await page.until("document.querySelector('[data-testid=run]')?.dataset.status === 'completed'")
        assert await page.evaluate("window.runcast.counts.gaps + window.runcast.counts.repeats") == 0
        assert await page.evaluate("document.querySelectorAll('#timeline > [data-testid=user-message]').length") == 1
