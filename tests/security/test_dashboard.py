"""The dashboard is for who is logged in, for as long as that lasts, and for so many at once; who looks at a user is written down."""

import asyncio
import json
from typing import Any

import aiohttp
import grpc.aio
import pytest

from runcast.v1.admin_pb2 import EraseRequest, ListAuditRequest, ReadStreamRequest
from runcast.v1.event_pb2 import User
from runcast.wire import limits_dashboard
from tests.security.office import AGENT, OPERATOR, VIEWER, Office, admin, bearer, key
from tests.security.test_admin_pages import Visitor, browser

pytestmark = pytest.mark.xdist_group("office")


async def follow(visitor: Visitor, path: str = "/dashboard/events") -> aiohttp.ClientResponse:
    cookie = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
    return await visitor.http.get(f"{visitor.url}{path}", headers={"Cookie": cookie})


async def next_event(answer: aiohttp.ClientResponse) -> tuple[str, Any]:
    async with asyncio.timeout(10):
        while not (line := (await answer.content.readuntil(b"\n")).decode()).startswith("event: "):
            assert line in ("\n", "retry: 2000\n", "retry: 4000\n")
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


async def test_a_user_is_looked_at_by_who_may_and_that_is_written_down(office: Office, user: str) -> None:
    cluster = office.cluster
    whose = f"tenant=default&user={user}"
    paths = [f"/dashboard/user/events?{whose}", f"/replay/open?{whose}", f"/replay/export?{whose}"]
    async with browser(cluster) as stranger, browser(cluster) as auditor, browser(cluster) as ops:
        for path in (*paths, "/replay/?user=x", "/replay/words.json?user=x", "/v1/ws"):
            status, told = await stranger.ask("GET", path)
            assert (status, told["code"]) == (401, "unauthenticated"), path
        async with cluster.connect(token=AGENT.text) as agent, agent.run(user=user, title="Look it up") as run:
            async with run.tool("search", args={"password": "canary-1"}) as call:
                call.result = {"answer": "canary-2"}
            await run.respond("canary-3")
        await auditor.log_in(VIEWER.text)
        await ops.log_in(OPERATOR.text)
        for path in paths:  # of another port of this host: the cookie goes along
            status, told = await auditor.ask("GET", path, headers={"Sec-Fetch-Site": "same-site"})
            assert (status, told["code"]) == (403, "permission_denied")

        looking = await follow(auditor, paths[0])
        name, told = await next_event(looking)
        ((row,),) = told["runs"]
        assert (name, told["found"], row["status"], [bar["name"] for bar in row["bars"]]) == ("user", True, "completed", ["search"])
        assert "canary" not in json.dumps(told)
        with office.redacting("**.password", "agent_started.title"):  # what was read before it is not shown any more either
            while (event := await next_event(looking))[0] == "same":
                pass
        assert (row["title"], event[1]["runs"][0][0]["title"]) == ("Look it up", "[redacted]")
        assert (await next_event(await follow(auditor, "/dashboard/user/events?tenant=default&user=" + 200 * "x")))[0] == "refused"

        status, _ = await auditor.ask("GET", paths[1] + "&speed=0", allow_redirects=False)
        assert status == 400
        status, _ = await auditor.ask("GET", f"{paths[1]}&run={run.id}&speed=max", allow_redirects=False)
        page = auditor.headers["Location"]
        film = page.partition("user=")[2]
        assert (status, page.partition("?")[0]) == (303, "/replay/")
        assert "/replay/banner.js" in (await auditor.ask("GET", page))[1]
        assert "require-trusted-types-for" in auditor.headers["Content-Security-Policy"]
        assert (await auditor.ask("GET", f"/replay/words.json?user={film}"))[1]["run"] == run.id
        assert (await ops.ask("GET", page))[0] == 400  # a film is for who had it read
        assert (await ops.ask("GET", f"/replay/words.json?user={film}"))[0] == 400
        cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in auditor.cookies.items())}
        speaks = ("runcast.v1.json", f"runcast.token.dev.default.{film}")
        for origin in ("https://evil.test", ""):
            with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
                await auditor.http.ws_connect(f"{auditor.url}/v1/ws", protocols=speaks, headers={**cookie, "Origin": origin})
        async with auditor.http.ws_connect(f"{auditor.url}/v1/ws", protocols=speaks, headers={**cookie, "Origin": auditor.url}) as ws:
            await ws.send_json({"type": "hello", "device": "tab", "position": "earliest"})
            assert (await ws.receive_json())["replay"] is True
            assert "agent_started" in (await ws.receive_str())
            status, text = await auditor.ask("GET", paths[2])
            head, *lines, end = [json.loads(line) for line in text.splitlines()]
            assert (status, head["user"], end["is"], end["events"]) == (200, user, "end", len(lines))
            assert ("canary-1" in text, "canary-2" in text) == (False, True)
            assert auditor.headers["Content-Disposition"] == f'attachment; filename="runcast-{user}.jsonl"'
            await auditor.ask("DELETE", "/api/session")  # logged out: the page and the film end
            while (event := await next_event(looking))[0] != "ended":
                pass
            assert event[1]["code"] == "unauthenticated"
            await ws.send_json({"type": "ping"})
            while (message := await ws.receive(10)).type is aiohttp.WSMsgType.TEXT:
                assert json.loads(message.data)["type"] == "batch"
            assert ws.close_code == 4501
    async with admin(cluster) as stub:
        entries = (await stub.ListAudit(ListAuditRequest(), metadata=bearer(OPERATOR.text))).entries
    looked = [(each.by, each.action, each.target, each.outcome) for each in entries if each.target.startswith(f"user default/{user}")]
    assert looked == [
        ("auditor", "FindUser", f"user default/{user}", "ok"),
        ("auditor", "Replay", f"user default/{user}, run {run.id}", "ok"),
        ("auditor", "Export", f"user default/{user}", "ok"),
    ]


async def test_who_is_erased_is_in_no_film_and_on_no_page_any_more(office: Office, user: str) -> None:
    """Nor at another admin process than the one that was asked to erase."""
    cluster = office.cluster
    whose = f"tenant=default&user={user}"
    async with browser(cluster) as auditor, admin(cluster, 1) as stub:
        await auditor.log_in(VIEWER.text)
        async with cluster.connect(token=AGENT.text) as agent, agent.run(user=user, title="secret title") as run:
            await run.respond("secret words")
        looking = await follow(auditor, f"/dashboard/user/events?{whose}")
        assert "secret title" in json.dumps(await next_event(looking))
        await auditor.ask("GET", f"/replay/open?{whose}&speed=1", allow_redirects=False)
        film = auditor.headers["Location"].partition("user=")[2]
        cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in auditor.cookies.items())}
        speaks = ("runcast.v1.json", f"runcast.token.dev.default.{film}")
        async with auditor.http.ws_connect(f"{auditor.url}/v1/ws", protocols=speaks, headers={**cookie, "Origin": auditor.url}) as ws:
            await ws.send_json({"type": "hello", "device": "tab", "position": "earliest"})
            assert (await ws.receive_json())["replay"] is True
            request = EraseRequest(user=User(tenant="default", id=user), reason="asked for")
            await stub.Erase(request, metadata=bearer(OPERATOR.text))
            while (await ws.receive(10)).type is aiohttp.WSMsgType.TEXT:
                pass
            assert ws.close_code == 4501, "ended at once, though nobody said anything there"
        assert (await auditor.ask("GET", f"/replay/words.json?user={film}"))[0] == 400
        while (event := await next_event(looking))[0] == "same":
            pass
        assert "secret" not in json.dumps(event[1])


async def test_an_erasing_cuts_off_what_is_being_read_at_every_admin(office: Office, user: str) -> None:
    """An export and a ReadStream whose readers take nothing: they end at once, not when somebody goes on, or is cut off for being slow."""
    cluster = office.cluster
    async with (
        browser(cluster, read_bufsize=1024) as auditor,
        admin(cluster) as stub,
        admin(cluster, 1) as other,
        cluster.connect(token=AGENT.text) as agent,
    ):
        await auditor.log_in(VIEWER.text)
        async with agent.run(user=user) as run:
            for _ in range(50):
                await run.respond(200_000 * "x")
            await run.respond("the last words")
        export = await follow(auditor, f"/replay/export?tenant=default&user={user}")
        assert b'"is":"replay"' in await export.content.readline()
        reading = stub.ReadStream(ReadStreamRequest(user=User(tenant="default", id=user)), metadata=bearer(VIEWER.text))
        parts = aiter(reading)
        assert (await anext(parts)).HasField("head")

        async with asyncio.timeout(limits_dashboard.VIEWER_WRITE_S - 1.0):  # sooner than readers are found too slow
            await other.Erase(EraseRequest(user=User(tenant="default", id=user), reason="asked for"), metadata=bearer(OPERATOR.text))
            while await outcomes(stub, f"user default/{user}") != {"Export": "unavailable", "ReadStream": "unavailable", "Erase": "ok"}:  # noqa: ASYNC110 # of other processes
                await asyncio.sleep(0.05)
        with pytest.raises(aiohttp.ClientPayloadError):
            await export.content.read()
        with pytest.raises(grpc.aio.AioRpcError, match="erased meanwhile"):
            _ = [part async for part in parts]


async def outcomes(stub: Any, target: str) -> dict[str, str]:
    """How what was done about somebody ended, by action, as the audit log says."""
    entries = (await stub.ListAudit(ListAuditRequest(), metadata=bearer(OPERATOR.text))).entries
    return {entry.action: entry.outcome for entry in entries if entry.target == target}
