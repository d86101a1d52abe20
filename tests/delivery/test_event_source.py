"""What a browser's `EventSource` relies on at an edge: its cookie, signs of life, streams that end and go on, refusals that it survives."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from runcast.wire import limits_http
from tests.delivery.readers import start_short_edge
from tests.delivery.test_http import Stream, tell
from tests.unit.bus.identity.issuing import ISS, SECRET, sign

APP = "https://app.test"
COOKIE = "__Host-runcast"
LISTENS = {"Accept": "text/event-stream"}

Start = Callable[..., Awaitable[str]]


@pytest.fixture
async def start(runcast_cluster, tmp_path):
    """Starts an edge with short bounds; its base URL."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(**environ: str) -> str:
            edge = start_short_edge(runcast_cluster, tmp_path, RUNCAST_COOKIE=COOKIE, RUNCAST_ORIGINS=APP, **environ)
            return await stack.enter_async_context(edge)

        yield start


def cookie(user: str) -> dict[str, str]:
    return {"Cookie": f"{COOKIE}={sign(SECRET, 'HS256', iss=ISS, sub=user)}"}


async def test_a_cookie_counts_for_pages_of_the_edge_alone(start: Start, user: str):
    base = await start()
    mine = cookie(user)
    own = {"Sec-Fetch-Site": "same-origin"}
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        for path in ("/v1/events", "/v1/stream?offset=now", "/v1/agui/none"):
            for site in ("same-site", "cross-site", "none", "Same-Origin", "same-origin, same-origin", ""):
                async with session.get(base + path, headers={**mine, "Sec-Fetch-Site": site}) as response:
                    assert (response.status, (await response.json())["code"]) == (403, "origin_refused"), (path, site)
        for refused in ({"Origin": "https://elsewhere.test"}, {"Origin": "null"}):
            async with session.get(base + "/v1/events", headers={**mine, **own, **refused}) as response:
                assert response.status == 403, "an origin that is named counts, whatever else is said"
        async with session.get(base + "/v1/events", headers={**mine, **own}) as response:
            assert (await Stream(response).read()).data["user"] == user
        async with session.head(base + "/v1/stream", headers={**mine, **own}) as response:
            assert response.status == 200
        send = {"id": "m1", "kind": "message", "group": "demo", "text": "hello"}
        async with session.post(base + "/v1/send", headers={**mine, **own}, json=send) as response:
            assert (response.status, (await response.json())["code"]) == (403, "origin_refused"), "it does more than read"
        async with session.ws_connect(base + "/v1/ws", headers={**mine, **own}, protocols=["runcast.v1.json"]) as ws:
            await ws.send_json({"type": "hello", "device": "d1"})
            assert (await ws.receive_json())["code"] == "origin_refused", "browsers name the origin of every WebSocket"


async def test_a_silent_stream_shows_life_and_ends_and_goes_on(start: Start, runcast_cluster, user: str):
    base = await start()
    first = await tell(runcast_cluster, user, ["one"])
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {sign(SECRET, 'HS256', iss=ISS, sub=user)}"}) as session:
        async with session.get(base + "/v1/events", params={"position": "earliest"}) as response:
            stream = Stream(response)
            events = await stream.events_until("agent_completed")
            assert [event async for event in stream] == [], "it ends by itself"
            assert stream.comments >= 2
            assert response.status == 200
        second = await tell(runcast_cluster, user, ["two"])
        async with session.get(base + "/v1/events", headers={"Last-Event-ID": stream.last_id}) as response:
            again = await Stream(response).events_until("agent_completed")
    assert [event["run_id"] for event in events] == [first] * 3
    assert [event["run_id"] for event in again] == [second] * 3


async def test_a_slow_body_is_refused(start: Start):
    base = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(base.rpartition(":")[2]))
    head = "POST /v1/ack HTTP/1.1\r\nHost: edge\r\nContent-Type: application/json\r\nContent-Length: 30\r\n\r\n"
    writer.write(head.encode() + b'{"device":')
    answer = await asyncio.wait_for(reader.read(1000), 5.0)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 400"), answer
    assert b"the whole body within" in answer


async def said(response: aiohttp.ClientResponse) -> tuple[str, int]:
    """Of a stream that is one refusal: its code, and when to come back, milliseconds."""
    assert response.content_type == "text/event-stream"
    stream = Stream(response)
    (event,) = [event async for event in stream]
    assert (event.kind, event.id) == ("end", "")
    return event.data["code"], stream.retry_ms


async def test_who_may_come_in_later_is_told_so_in_a_stream(start: Start, user: str, tmp_path):
    (tmp_path / "policy.toml").write_text('default = "small"\n[tiers.small]\ndevices_per_user = 1\n')
    base = await start(RUNCAST_POLICY_FILE=str(tmp_path / "policy.toml"))
    headers: dict[str, Any] = {"Authorization": f"Bearer {sign(SECRET, 'HS256', iss=ISS, sub=user)}", "Origin": APP}
    least = limits_http.SSE_REFUSED_RETRY_MS
    async with aiohttp.ClientSession(headers=headers) as session, session.ws_connect(base + "/v1/ws", protocols=["runcast.v1.json"]) as ws:
        await ws.send_json({"type": "hello", "device": "d1"})
        assert (await ws.receive_json())["type"] == "welcome"
        for path in ("/v1/events", "/v1/stream?offset=-1&live=sse"):
            async with session.get(base + path, headers=LISTENS) as response:
                assert (response.status, response.headers["Access-Control-Allow-Origin"]) == (200, APP)
                code, retry_ms = await said(response)
                assert code == "too_many_devices"
                assert least <= retry_ms <= 1.5 * least
            async with session.get(base + path) as response:
                assert (response.status, response.headers["Access-Control-Allow-Origin"]) == (429, APP)
                assert int(response.headers["Retry-After"]) >= 1
                assert (await response.json())["code"] == "too_many_devices"
        async with session.get(base + "/v1/agui/none", headers=LISTENS) as response:
            assert response.status == 429, "its readers take every event for one of the run's"
    async with aiohttp.ClientSession() as session, session.get(base + "/v1/events", headers=LISTENS) as response:
        assert response.status == 401, "it is not to come back"


async def test_too_many_requests_of_an_address_are_told_in_a_stream_too(start: Start):
    base = await start(RUNCAST_CONNECTS_PER_S="0.5")
    async with aiohttp.ClientSession(headers={"Origin": APP}) as one, aiohttp.ClientSession(headers={"Origin": APP}) as other:
        for session, headers in ((one, LISTENS), (other, {})):  # each has a connection before anything is refused
            async with session.get(base + "/v1/events", headers=headers) as response:
                assert response.status == 401
        for session, headers, refused in ((one, LISTENS, 200), (other, {}, 429)):
            response = await session.get(base + "/v1/events", headers=headers)
            while response.status == 401:
                await response.read()
                response = await session.get(base + "/v1/events", headers=headers)
            assert (response.status, response.headers["Access-Control-Allow-Origin"]) == (refused, APP)
            code = (await said(response))[0] if refused == 200 else (await response.json())["code"]
            assert (code, response.headers["Connection"]) == ("rate_limited", "close")
