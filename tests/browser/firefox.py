"""A page in a real Firefox, by WebDriver BiDi, which Firefox speaks by itself.

Playwright drives a Firefox of its own making, and asks Debian's for what that does not know (`emulation.setMediaFeaturesOverride`);
geckodriver is no package of Debian's. What a smoke test needs is a handful of commands over a WebSocket.
"""

import asyncio
import base64
import itertools
import json
from asyncio.subprocess import DEVNULL, PIPE, create_subprocess_exec
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from aiohttp import ClientSession, ClientWebSocketResponse

START_TIMEOUT_S: Final = 40.0
"""Until it listens: a new profile on a busy machine."""

COMMAND_TIMEOUT_S: Final = 20.0
"""One command; waiting for what a page is to show is one."""

UNTIL: Final = """new Promise((resolve) => {
  const look = () => (%s) && resolve(true);
  new MutationObserver(look).observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
  look();
})"""

ENTER: Final = "\ue007"
"""What WebDriver calls the key."""


class FirefoxPage:
    """One page.

    Args:
        socket: of the session.
        context: the page's id.
    """

    def __init__(self, socket: ClientWebSocketResponse, context: str = "") -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self.context = context

    async def command(self, method: str, **params: object) -> dict[str, Any]:
        """Send a command and wait for its result.

        Raises:
            AssertionError: Firefox answered with an error.
        """
        number = next(self._ids)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        async with asyncio.timeout(COMMAND_TIMEOUT_S):
            while True:
                answer = await self._socket.receive_json()
                if answer.get("id") == number:
                    break
        assert answer["type"] == "success", f"{method}: {answer}"
        result: dict[str, Any] = answer["result"]
        return result

    async def open(self, url: str) -> None:
        """Go there, and wait until it is loaded."""
        await self.command("browsingContext.navigate", context=self.context, url=url, wait="complete")

    async def reload(self) -> None:
        """Load it again."""
        await self.command("browsingContext.reload", context=self.context, wait="complete")

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression, or of what it promises; texts, numbers, booleans and null."""
        done = await self.command("script.evaluate", expression=expression, target={"context": self.context}, awaitPromise=True)
        assert done["type"] == "success", done
        return done["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait until an expression is true; it is asked whenever the page changes."""
        try:
            await self.evaluate(UNTIL % expression)
        except TimeoutError:
            shown = await self.evaluate("document.body.innerText")
            raise AssertionError(f"never true: {expression}\n{shown}") from None

    async def press(self, keys: str) -> None:
        """Type into what has the focus."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        await self.command("input.performActions", context=self.context, actions=[{"type": "key", "id": "keys", "actions": actions}])

    async def picture(self, path: Path) -> None:
        """Write what is seen into a file."""
        taken = await self.command("browsingContext.captureScreenshot", context=self.context)
        path.parent.mkdir(exist_ok=True)
        await asyncio.to_thread(path.write_bytes, base64.b64decode(taken["data"]))


@asynccontextmanager
async def firefox(program: str, profile: Path) -> AsyncIterator[FirefoxPage]:
    """A page of a Firefox that ends with the block.

    Args:
        program: path of Firefox.
        profile: an empty directory.
    """
    (profile / "user.js").write_text(
        'user_pref("datareporting.policy.dataSubmissionEnabled", false);\nuser_pref("app.update.enabled", false);\n'
    )
    process = await create_subprocess_exec(
        program,
        "--headless",
        "--no-remote",
        "--profile",
        str(profile),
        "--remote-debugging-port=0",
        "about:blank",
        stdout=DEVNULL,
        stderr=PIPE,
    )
    assert process.stderr is not None
    try:
        address = ""
        async with asyncio.timeout(START_TIMEOUT_S):
            async for line in process.stderr:
                if b"WebDriver BiDi listening on " in line:
                    address = line.decode().rpartition(" ")[2].strip()
                    break
        assert address, f"{program} ended before it listened"
        async with asyncio.TaskGroup() as tasks, ClientSession() as session:
            reading = tasks.create_task(process.stderr.read())  # a full pipe would stop it
            async with session.ws_connect(f"{address}/session", max_msg_size=0) as socket:
                page = FirefoxPage(socket)
                await page.command("session.new", capabilities={})
                tree = await page.command("browsingContext.getTree")
                page.context = tree["contexts"][0]["context"]
                yield page
                await page.command("browser.close")
            await reading
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def quoted(text: str) -> str:
    """A text as JavaScript writes it."""
    return json.dumps(text)
