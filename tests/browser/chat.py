"""What tests of the chat page share: pictures of every state, and what axe-core finds in them."""

import functools
from pathlib import Path
from typing import Any

from packages import find_package
from playwright.async_api import Page

HERE = Path(__file__).parent
SHOTS = HERE / "shots"

FORMS = {"light": ("light", 1280), "dark": ("dark", 1280), "phone": ("light", 390), "phone-dark": ("dark", 390)}
"""How a state is looked at: colour scheme and width, CSS pixels."""

NARROWEST = 320
"""The width at which nothing may be cut off or need sideways scrolling (WCAG 1.4.10), CSS pixels."""

FIND = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  return violations.filter(({ impact }) => impact === "serious" || impact === "critical")
    .flatMap(({ id, help, nodes }) => nodes.map(({ target, failureSummary }) => `${id} (${help}) at ${target}: ${failureSummary}`));
}"""


@functools.cache
def axe_source() -> str:
    """axe-core."""
    return find_package("axe-core/axe.min.js").read_text()


async def look(page: Page, state: str) -> None:
    """Take pictures of a state into `shots/`, and fail for what is cut off or what axe-core calls serious or critical.

    Args:
        page: showing the state, which stands still.
        state: its name; also that of the pictures.
    """
    SHOTS.mkdir(exist_ok=True)
    found: list[str] = []
    # By the debugger, which the page's policy against foreign scripts does not bind.
    await page.evaluate(axe_source())
    for form, (scheme, width) in FORMS.items():
        scheme_arg: Any = scheme
        await page.emulate_media(color_scheme=scheme_arg, reduced_motion="reduce")
        await page.set_viewport_size({"width": width, "height": 844})
        await page.screenshot(path=SHOTS / f"chat-{state}-{form}.png")
        found += [f"{state}, {form}: {each}" for each in await page.evaluate(FIND)]
    await page.set_viewport_size({"width": NARROWEST, "height": 640})
    too_wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    if too_wide > 0:
        found.append(f"{state}: {too_wide} px too wide at {NARROWEST} px")
    await page.emulate_media(color_scheme="light", reduced_motion="no-preference")
    await page.set_viewport_size({"width": 1280, "height": 844})
    assert found == [], "\n".join(found)
