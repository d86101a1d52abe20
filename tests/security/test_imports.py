"""Files that operators play, and parts of streams: who may, what is written down, and what erasing a user does to them."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from runcast.v1.admin_pb2 import EraseRequest
from runcast.v1.event_pb2 import User
from runcast.wire.limits_dashboard import IMPORTS_AT_ONCE_MAX
from tests.security.office import AGENT, OPERATOR, VIEWER, Office, admin, bearer
from tests.security.test_admin_pages import browser
from tests.security.test_dashboard import outcomes

pytestmark = pytest.mark.xdist_group("office")


async def test_a_file_is_played_by_who_may_and_that_is_written_down(office: Office, user: str) -> None:
    cluster = office.cluster
    whose = f"tenant=default&user={user}"
    async with browser(cluster) as stranger, browser(cluster) as auditor, admin(cluster) as stub, admin(cluster, 1) as other:
        async with cluster.connect(token=AGENT.text) as agent, agent.run(user=user) as run:
            await run.respond("secret words")
            async with run.tool("search", args={"password": "canary-1"}):
                pass
        await auditor.log_in(VIEWER.text)
        _, text = await auditor.ask("GET", f"/replay/export?{whose}")
        file = text.replace("[redacted]", "canary-2").encode()
        status, told = await stranger.ask("POST", "/replay/import", data=file)
        assert (status, told["code"]) == (401, "unauthenticated")
        status, told = await auditor.ask("POST", "/replay/import", data=file, headers={"Origin": "https://evil.test"})
        assert (status, told["code"]) == (403, "permission_denied")
        status, told = await auditor.ask("POST", "/replay/import?speed=0", data=file)
        assert (status, told["code"], told["message"][:9]) == (400, "request_invalid", "speed '0'")
        assert (await auditor.ask("POST", "/replay/import", data=b"hello"))[1]["message"].startswith("line 1 is no export's")
        broken = file.replace(b'{"is":"event"', b'{"is":"x"', 1)
        assert (await auditor.ask("POST", "/replay/import", data=broken))[1]["message"].startswith("line 2 is no export's")
        assert (await outcomes(stub, f"user default/{user}, from a file")) == {"Import": "request_invalid"}

        status, told = await auditor.ask("POST", "/replay/import?speed=max", data=file)
        assert status == 200
        name = told["page"].removeprefix("/replay/?user=")
        _, words = await auditor.ask("GET", f"/replay/words.json?user={name}")
        assert (words["user"], words["file"], words["whole"], words["redacted"]) == (user, True, True, 1)
        assert (await outcomes(stub, f"user default/{user}, from a file")) == {"Import": "ok"}
        speaks = ("runcast.v1.json", f"runcast.token.dev.default.{name}")
        cookie = {"Cookie": "; ".join(f"{key}={value}" for key, value in auditor.cookies.items())}
        async with auditor.http.ws_connect(f"{auditor.url}/v1/ws", protocols=speaks, headers={**cookie, "Origin": auditor.url}) as ws:
            await ws.send_json({"type": "hello", "device": "tab", "position": "earliest"})
            assert (await ws.receive_json())["replay"] is True
            heard = "".join([await ws.receive_str() for _ in {json.loads(line).get("pos", "") for line in text.splitlines()} - {""}])
        assert ("secret words" in heard, "canary" in heard) == (True, False)

        stays = asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield file.splitlines(keepends=True)[0]
            await stays.wait()

        sending = asyncio.create_task(auditor.ask("POST", "/replay/import", data=slow()))
        async with asyncio.timeout(10):
            while (await outcomes(stub, f"user default/{user}, from a file"))["Import"] != "begun":  # noqa: ASYNC110 # in another process
                await asyncio.sleep(0.02)
        await other.Erase(EraseRequest(user=User(tenant="default", id=user), reason="asked for"), metadata=bearer(OPERATOR.text))
        assert (await auditor.ask("GET", f"/replay/words.json?user={name}"))[0] == 400
        assert (await sending)[1]["message"].startswith("this user may have been erased meanwhile")
        stays.set()


async def test_so_many_files_are_read_at_once_and_no_more(office: Office) -> None:
    go_on = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b'{"is":"replay","form":1,"version":"0","tenant":"default","user":"al"}\n'
        await go_on.wait()
        yield b'{"is":"end","batches":0,"events":0}\n'

    async with browser(office.cluster) as auditor, asyncio.TaskGroup() as group:
        await auditor.log_in(VIEWER.text)
        reading = [group.create_task(auditor.ask("POST", "/replay/import", data=slow())) for _ in range(IMPORTS_AT_ONCE_MAX)]
        async with asyncio.timeout(10):
            while (refused := await auditor.ask("POST", "/replay/import", data=b""))[0] != 429:  # noqa: ASYNC110 # until all are being read
                await asyncio.sleep(0.02)
        assert (refused[1]["code"], refused[1]["retry_after_ms"]) == ("rate_limited", 2000)
        go_on.set()
        assert [(await each)[0] for each in reading] == [200] * IMPORTS_AT_ONCE_MAX
        assert (await auditor.ask("POST", "/replay/import", data=b""))[1]["message"].startswith("it is empty")


async def test_a_part_is_asked_for_as_by_the_command_line(office: Office, user: str) -> None:
    cluster = office.cluster
    whose = f"tenant=default&user={user}"
    async with browser(cluster) as auditor:
        async with cluster.connect(token=AGENT.text) as agent, agent.run(user=user) as run:
            await run.respond("words", receipt=0.1)
        await auditor.log_in(VIEWER.text)
        status, told = await auditor.ask("GET", "/replay/places?from=2026-11-21T14:30&to=2026-11-21T14:30Z&zone=Asia/Tokyo")
        assert (status, told["to"]["ms"] - told["from"]["ms"]) == (200, 9 * 3_600_000)
        for query, told_ in (
            ("from=yesterday", "from 'yesterday': write a time like 2026-11-21T14:30"),
            ("from=-10m&to=1969-01-01T00:00Z", "to '1969-01-01T00:00Z': that is before 1970"),
            (
                "to=2026-11-21&zone=../../etc/passwd",
                "to is a time of the zone '../../etc/passwd', which is not known here; write its offset",
            ),
            ("to=2026-11-21&zone=Mars/Olympus", "to is a time of the zone 'Mars/Olympus', which is not known here"),
        ):
            for path in ("/replay/places?", f"/replay/open?{whose}&", f"/replay/export?{whose}&"):
                status, told = await auditor.ask("GET", path + query)
                assert (status, told["code"], told["message"][: len(told_)]) == (400, "request_invalid", told_)
        for path in ("open", "export"):
            status, told = await auditor.ask("GET", f"/replay/{path}?{whose}&run={run.id}&to=-1h", allow_redirects=False)
            assert (status, told["code"]) == (404, "run_unknown")
        led = await auditor.ask("GET", f"/replay/open?{whose}&from=<b>", headers={"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none"})
        assert (led[0], "from &#x27;&lt;b&gt;&#x27;: write a time" in led[1], "<b>" in led[1]) == (400, True, False)
        assert auditor.headers["Content-Type"] == "text/html; charset=utf-8"
        _, text = await auditor.ask("GET", f"/replay/export?{whose}&from=-10m&zone=nowhere")
        head, *lines, end = [json.loads(line) for line in text.splitlines()]
        assert (head["from_ms"] > 0, len(lines) > 0, end["is"]) == (True, True, "end")
