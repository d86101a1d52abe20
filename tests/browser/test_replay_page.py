"""A recording on the demo page in a real Chromium: it says that it is a replay, shows the run's end, and takes nothing."""

import os
import signal
from asyncio.subprocess import PIPE, create_subprocess_exec
from pathlib import Path

import pytest
from pages import expect_live
from playwright.async_api import Browser, expect

from runcast.admin.replay.export import FORM, Export, Head, to_lines
from runcast.v1.event_pb2 import Event
from runcast.wire.eventjson import EventJson, event_from_json
from runcast.wire.recorded import RecordedBatch
from tests.delivery.test_cli import RUNCAST

pytestmark = pytest.mark.xdist_group("browser")


def said(seq: int, kind: str, **data: object) -> RecordedBatch:
    form = EventJson(
        id=f"e{seq}",
        kind=kind,
        run_id="r1",
        attempt=1,
        seq=seq,
        time_unix_ms=1_795_000_000_000 + seq,
        agent="analyst",
        thread="t-1",
        data=data,
    )
    event: Event = event_from_json(form)
    return RecordedBatch("abcdefgh", seq, 1_795_000_000_000 + 1000 * seq, [event])


async def test_a_recording_on_a_page(tmp_path: Path, browser: Browser) -> None:
    batches = [
        said(1, "agent_started", title="Look it up"),
        said(2, "agent_response", message_id="m", text="It will ", mode="delta"),
        said(3, "agent_response", message_id="m", text="rain.", mode="delta", final=True),
        said(4, "agent_completed", summary="done"),
    ]
    file = tmp_path / "alice.jsonl"
    file.write_bytes(b"".join(to_lines(Export(Head(form=FORM, version="0", tenant="default", user="alice", redacted=["data.x"]), batches))))
    program = await create_subprocess_exec(
        RUNCAST, "replay", str(file), "--speed", "20x", "--into", "http://127.0.0.1:0", stdout=PIPE, env={**os.environ, "NO_COLOR": "1"}
    )
    assert program.stdout is not None
    link = (await program.stdout.readline()).decode().removeprefix("open ").strip()
    try:
        page = await browser.new_page()
        said_: list[str] = []
        page.on("pageerror", lambda error: said_.append(str(error)))
        page.on("console", lambda message: said_.append(message.text) if "Content Security Policy" in message.text else None)
        await page.goto(link)
        banner = page.get_by_test_id("replay")
        await expect(banner).to_contain_text("What was recorded of alice: 4 events")
        await expect(banner).to_contain_text("at 20 times the speed. Nothing here happens now")
        await expect(banner).to_contain_text("taken out by redaction rules")
        await expect_live(page)
        await expect(page.get_by_test_id("connection")).to_have_text("Replay")
        # Both are to be seen: the page says it, too.
        await expect(banner).to_be_in_viewport(ratio=1)
        for hidden in ("new-thread", "ask", "retry"):
            await expect(page.get_by_test_id(hidden).locator("visible=true")).to_have_count(0)
        await expect(page.get_by_test_id("timeline")).to_contain_text("It will rain.")
        assert await page.evaluate("window.runcast.replay") is True
        await expect(page).to_have_title("Replay: Look it up - Runcast")
        assert await page.evaluate("document.getElementById('question').closest('[inert]') !== null")
        refused = await page.evaluate("window.runcast.send({group: 'demo', text: 'hello'}).catch((error) => error.code)")
        assert refused == "permission_denied"
        shots = Path(__file__).parent / "shots"
        shots.mkdir(exist_ok=True)
        for name, width, scheme in (("light", 1280, "light"), ("dark", 1280, "dark"), ("phone", 390, "light")):
            await page.set_viewport_size({"width": width, "height": 800})
            await page.emulate_media(color_scheme=scheme)
            await page.screenshot(path=shots / f"replay-{name}.png")
        assert said_ == []
    finally:
        program.send_signal(signal.SIGINT)
        assert await program.wait() == 0
