"""The dashboard's figures are for who is logged in, for as long as that lasts, and for so many at once."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from runcast.wire import limits_dashboard
from tests.security.office import OPERATOR, VIEWER, Office, key
from tests.security.test_admin_pages import Visitor, browser

pytestmark = pytest.mark.xdist_group("office")


async def follow(visitor: Visitor) -> aiohttp.ClientResponse:
    cookie = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
    return await visitor.http.get(f"{visitor.url}/dashboard/events", headers={"Cookie": cookie})


async def next_event(answer: aiohttp.ClientResponse) -> tuple[str, Any]:
    async with asyncio.timeout(10):
        while not (line := (await answer.content.readuntil(b"\n")).decode()).startswith("event: "):
            assert line in ("\n", "retry: 2000\n")
        data = (await answer.content.readuntil(b"\n\n")).decode()
    return line.removeprefix("event: ").strip(), json.loads(data.removeprefix("data: "))


async def test_figures_are_for_who_is_logged_in(office: Office) -> None:
    async with browser(office.cluster) as stranger, browser(office.cluster) as auditor, browser(office.cluster) as ops:
        assert (await stranger.ask("GET", "/dashboard/events"))[0] == 401
        stranger.cookies = {"__Host-runcast-admin": "x" * 43}
        assert (await stranger.ask("GET", "/dashboard/events"))[1]["code"] == "unauthenticated"
        await auditor.log_in(VIEWER.text)
        await ops.log_in(OPERATOR.text)
        answer, other = await follow(auditor), await follow(ops)
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert (answer.headers["Cache-Control"], "Access-Control-Allow-Origin" in answer.headers) == ("no-store", False)
        assert (await next_event(answer))[0] == "history"
        assert [(await next_event(answer))[0] for _ in range(3)] == ["now"] * 3
        await auditor.ask("DELETE", "/api/session")  # logged out: it ends within a second, and nothing comes behind
        while (event := await next_event(answer))[0] == "now":
            pass
        assert (event[0], event[1]["code"]) == ("ended", "unauthenticated")
        assert await answer.content.read() == b""
        assert (await follow(auditor)).status == 401
        async with office.using(("admins", {"name": "else", "keys": [key("else").kept]})):  # withdrawn: the other one, too
            while (event := await next_event(other))[0] != "ended":
                pass
        assert event[1]["code"] == "unauthenticated"


async def test_so_many_look_on_and_no_more(office: Office) -> None:
    async with browser(office.cluster, connector=aiohttp.TCPConnector(limit=0)) as visitor:
        await visitor.log_in(VIEWER.text)
        answers = [await follow(visitor) for _ in range(limits_dashboard.VIEWERS_MAX)]
        assert {answer.status for answer in answers} == {200}
        refused = await follow(visitor)
        assert (refused.status, (await refused.json())["code"]) == (503, "unavailable")
        answers[0].close()
        async with asyncio.timeout(10):
            while (again := await follow(visitor)).status != 200:  # noqa: ASYNC110 # the server tells nobody that there is room
                await asyncio.sleep(0.1)
        assert (await next_event(again))[0] == "history"
