"""Plain HTTP beside the WebSocket: one cursor for all transports, and the same door."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

from runcast.testkit import Device
from runcast.wire import limits_http
from runcast.wire.ids import UserKey
from tests.delivery.readers import BOUND_S, wait_devices

PROTOCOL = Path(__file__).parents[2] / "PROTOCOL.md"


class SseEvent(NamedTuple):
    kind: str
    data: Any
    id: str


class Stream:
    """A reader of server-sent events, as the standard describes it."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.comments = 0
        self.retry_ms = 0
        self.last_id = ""

    async def read(self) -> SseEvent:
        """The next event. Raises EOFError at the end of the stream."""
        kind, data = "message", []
        while True:
            line = (await asyncio.wait_for(self.response.content.readline(), BOUND_S)).decode()
            if not line:
                raise EOFError
            name, _, value = line.rstrip("\n").partition(":")
            value = value.removeprefix(" ")
            if line == "\n":
                if data:
                    return SseEvent(kind, json.loads("\n".join(data)), self.last_id)
                kind = "message"
            elif not name:
                self.comments += 1
            elif name == "event":
                kind = value
            elif name == "data":
                data.append(value)
            elif name == "id":
                self.last_id = value
            elif name == "retry":
                self.retry_ms = int(value)

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> SseEvent:
        try:
            return await self.read()
        except EOFError:
            raise StopAsyncIteration from None

    async def events_until(self, kind: str) -> list[dict[str, Any]]:
        """The events of the run's stream up to and with one of a kind."""
        seen: list[dict[str, Any]] = []
        while not seen or seen[-1]["kind"] != kind:
            event = await self.read()
            seen += event.data["events"] if event.kind == "batch" else []
        return seen


class Http:
    """A user's view of an edge."""

    def __init__(self, session: aiohttp.ClientSession, base: str, token: str) -> None:
        self.session, self.base, self.headers = session, base, {"Authorization": f"Bearer {token}"}

    @asynccontextmanager
    async def stream(self, path: str = "/v1/events", last_id: str = "", **query: str) -> AsyncIterator[Stream]:
        headers = {**self.headers, **({"Last-Event-ID": last_id} if last_id else {})}
        async with self.session.get(self.base + path, headers=headers, params=query) as response:
            assert response.status == 200, await response.text()
            assert response.content_type == "text/event-stream"
            yield Stream(response)

    async def post(self, path: str, body: object) -> tuple[int, Any]:
        async with self.session.post(self.base + path, headers=self.headers, json=body) as response:
            text = await response.text()
            return response.status, json.loads(text) if text else None


@pytest.fixture
async def http(runcast_cluster, user: str):
    async with aiohttp.ClientSession() as session:
        yield Http(session, runcast_cluster.edges[0].http_url, runcast_cluster.token(user))


async def tell(runcast_cluster, user: str, texts: list[str]) -> str:
    async with runcast_cluster.connect() as rc, rc.run(user=user) as run:
        for text in texts:
            await run.custom("told", text)
    return run.id


async def waited_for(http: Http, user: str) -> bool:
    """Whether the edge waits for an acknowledgement of a device of the user."""
    async with http.session.get(http.base + "/statsz") as answer:
        return UserKey("default", user).token in [each["user"] for each in (await answer.json())["users_behind"]]


async def test_a_stream_is_that_of_the_websocket(runcast_cluster, user: str, http: Http):
    run_id = await tell(runcast_cluster, user, ["one", "two"])
    async with http.stream() as stream:
        welcome = await stream.read()
        assert (welcome.kind, welcome.data["user"], welcome.data["outcome"]) == ("welcome", user, "resumed")
        assert stream.retry_ms == limits_http.SSE_RETRY_MS
        events = await stream.events_until("agent_completed")
        last = stream.last_id
        await tell(runcast_cluster, user, ["live"])
        assert [event["kind"] for event in await stream.events_until("agent_completed")] == ["agent_started", "custom", "agent_completed"]
    assert [event["id"] for event in events] == [f"{run_id}.1.{seq}" for seq in range(1, len(events) + 1)]
    async with Device(runcast_cluster.ws_urls(), runcast_cluster.token(user), position=last) as device:
        await device.wait_kind("agent_completed")
        assert run_id not in {event.run_id for event in device.events}, "a position is good for every transport"


async def test_a_reader_comes_back_where_it_was(runcast_cluster, user: str, http: Http):
    await tell(runcast_cluster, user, ["one"])
    async with http.stream() as stream:
        await stream.events_until("agent_completed")
        last = stream.last_id
    second = await tell(runcast_cluster, user, ["two"])
    for query, header in (({"position": last}, ""), ({}, last), ({"position": "earliest"}, last)):
        async with http.stream(last_id=header, **query) as stream:
            assert (await stream.read()).data["outcome"] == "resumed"
            assert {event["run_id"] for event in await stream.events_until("agent_completed")} == {second}


async def test_a_position_that_is_none_begins_anew_and_says_so(runcast_cluster, user: str, http: Http):
    await tell(runcast_cluster, user, ["one"])
    async with http.stream(position="x") as stream:
        welcome = await stream.read()
        assert (welcome.data["outcome"], welcome.data["reason"]) == ("reset", "malformed")
        events = await stream.events_until("agent_completed")
        assert events[0]["kind"] == "agent_started"


async def test_an_acknowledgement_moves_the_cursor_and_gives_the_receipt(runcast_cluster, user: str, http: Http):
    async with http.stream(device="reader") as stream, runcast_cluster.connect() as rc, rc.run(user=user) as run:
        await stream.read()
        ticket = asyncio.ensure_future(run.custom("offer", receipt=BOUND_S))
        await stream.events_until("custom")
        assert not ticket.done(), "written is not handled"
        assert await http.post("/v1/ack", {"device": "reader", "pos": stream.last_id}) == (204, None)
        receipt = await ticket
        assert (receipt.outcome, receipt.device) == ("delivered", "reader")
        position = stream.last_id
        await run.custom("more")
        await stream.events_until("custom")
        assert await waited_for(http, user), "it is known to acknowledge now"
    async with http.stream(device="reader") as stream:
        assert (await stream.read()).data["position"] >= position, "who lost its position goes on from its cursor"


async def test_an_acknowledgement_may_go_to_any_edge(runcast_cluster, user: str, http: Http):
    async with http.stream(device="reader") as stream, runcast_cluster.connect() as rc, rc.run(user=user) as run:
        await stream.read()
        ticket = asyncio.ensure_future(run.custom("offer", receipt=BOUND_S))
        await stream.events_until("custom")
        elsewhere = Http(http.session, runcast_cluster.edges[1].http_url, runcast_cluster.token(user))
        assert (await elsewhere.post("/v1/ack", {"device": "reader", "pos": stream.last_id}))[0] == 204
        assert (await ticket).outcome == "delivered"
        future = stream.last_id[:-16] + "9" * 16
        assert (await elsewhere.post("/v1/ack", {"device": "reader", "pos": future}))[0] == 400


async def test_what_is_posted_is_stored_once(runcast_cluster, user: str, http: Http):
    async with http.stream() as stream:
        await stream.read()
        send = {"id": "m1", "kind": "message", "group": "demo", "text": "hello", "device": "phone"}
        assert await http.post("/v1/send", send) == (200, {"type": "sent", "id": "m1"})
        assert await http.post("/v1/send", send) == (200, {"type": "sent", "id": "m1", "duplicate": True})
        (event,) = await stream.events_until("user_message")
        assert (event["id"], event["data"]["device"]) == ("m1", "phone")
        status, error = await http.post("/v1/send", {**send, "id": "m2", "text": ""})
        assert (status, error["code"], error["id"]) == (400, "send_invalid", "m2")


@pytest.mark.parametrize("path", ["/v1/events", "/v1/agui/r1"])
async def test_who_is_refused_gets_a_status_and_no_stream(runcast_cluster, user: str, http: Http, path: str):
    async with http.session.get(http.base + path) as response:
        assert (response.status, response.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert (await response.json())["code"] == "unauthenticated"
    async with http.session.get(http.base + path, headers={**http.headers, "Origin": "https://elsewhere.example"}) as response:
        assert (response.status, (await response.json())["code"]) == (403, "origin_refused")
    async with http.session.get(http.base + path, headers=http.headers, params={"position": "y" * 1000}) as response:
        assert (response.status, (await response.json())["code"]) == (400, "frame_invalid")


async def test_pages_of_this_machine_may_read_across_origins(http: Http):
    origin = "http://127.0.0.1:9999"
    async with http.session.options(http.base + "/v1/send", headers={"Origin": origin}) as response:
        assert (response.status, response.headers["Access-Control-Allow-Origin"]) == (204, origin)
        assert "Authorization" in response.headers["Access-Control-Allow-Headers"]
    async with http.session.options(http.base + "/v1/send", headers={"Origin": "https://elsewhere.example"}) as response:
        assert response.status == 403
        assert "Access-Control-Allow-Origin" not in response.headers


async def test_a_body_comes_in_as_many_pieces_as_it_likes(http: Http, user: str):
    host, _, port = http.base.removeprefix("http://").partition(":")

    async def post(*pieces: bytes) -> bytes:
        head = f"POST /v1/send HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: {http.headers['Authorization']}\r\n"
        size = sum(map(len, pieces))
        head += f"Content-Type: application/json\r\nContent-Length: {size}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(head.encode())
        assert b" 100 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), BOUND_S), "it reads the body now"
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.05)  # so that they come one by one; nobody tells when one was read
        answer = await asyncio.wait_for(reader.read(), BOUND_S)
        writer.close()
        return answer

    def body(send_id: str, size: int) -> bytes:
        text = json.dumps({"id": send_id, "kind": "message", "group": "demo", "text": "hello"})
        return text.encode() + b" " * (size - len(text))

    whole = body("m1", 200)
    assert b'{"type":"sent","id":"m1"}' in await post(whole[:20], whole[20:])
    large = body("m2", limits_http.POST_BYTES_MAX)
    assert b'{"type":"sent","id":"m2"}' in await post(large[:1000], large[1000:40_000], large[40_000:])
    over = body("m3", limits_http.POST_BYTES_MAX + 1)
    answer = await post(over[:1000], over[1000:])
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"at most 64 KiB" in answer


@pytest.mark.parametrize("body", [b"", b"{", b'{"pos": 1}', b"[1]", b'{"pos": "x"}', b'{"pos": "' + b"y" * 70_000 + b'"}'])
async def test_bodies_that_are_none(http: Http, body: bytes):
    headers = {**http.headers, "Content-Type": "application/json"}
    async with http.session.post(http.base + "/v1/ack", headers=headers, data=body) as response:
        assert response.status == 400
        assert "code" in await response.json()
    async with http.session.post(http.base + "/v1/ack", headers=http.headers, data=b"pos=1") as response:
        assert response.status == 400


async def test_a_run_as_agui(runcast_cluster, user: str, http: Http):
    async with runcast_cluster.connect() as rc, rc.run(user=user) as run:
        await run.respond("Hel")
        await run.flush()
        async with http.stream(f"/v1/agui/{run.id}") as stream:
            told = [(await stream.read()).data for _ in range(3)]
            assert not await waited_for(http, user), "nobody can acknowledge there, so that nobody is waited for"
            assert [event["type"] for event in told] == ["RUN_STARTED", "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT"]
            last = stream.last_id
        for place in ("zzzzzzzz-0000000000000001", last[:-16] + "9" * 16):  # of other storage, and past the end: none of this stream
            async with http.stream(f"/v1/agui/{run.id}", last_id=place) as stream:
                assert [(await stream.read()).data for _ in range(3)] == told
        async with http.stream(f"/v1/agui/{run.id}", last_id=last) as stream:
            assert (await stream.read()).data["type"] == "RUN_STARTED", "told at once that it goes on"
        await run.respond("lo")
    async with http.stream(f"/v1/agui/{run.id}", last_id=last) as stream:
        told = [event.data async for event in stream]
    assert [event["type"] for event in told] == [
        "RUN_STARTED",
        "TEXT_MESSAGE_START",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_END",
        "RUN_FINISHED",
    ]
    assert told[2]["delta"] == "lo"
    async with http.session.get(http.base + f"/v1/agui/{run.id}", headers={**http.headers, "Last-Event-ID": stream.last_id}) as response:
        assert response.status == 204, "nothing is left to tell, and a browser does not come back"


async def test_a_run_that_is_nowhere(http: Http):
    async with http.session.get(http.base + "/v1/agui/nowhere", headers=http.headers) as response:
        assert (response.status, (await response.json())["code"]) == (404, "run_unknown")


async def wait_begun(edge: Http) -> None:
    """Until every device of an edge is caught up: it is present a moment before, and who is sent away then is answered 503."""
    async with asyncio.timeout(BOUND_S):
        while True:
            async with edge.session.get(f"{edge.base}/statsz") as answer:
                if not (await answer.json())["devices_behind"]:
                    return
            await asyncio.sleep(0.02)  # nobody tells when they are


async def test_a_stream_ends_with_its_edge_and_goes_on_at_another(runcast_cluster_factory, user: str):
    cluster = await runcast_cluster_factory(routers=1, edges=2)
    async with aiohttp.ClientSession() as session:
        one, other = (Http(session, edge.http_url, cluster.token(user)) for edge in cluster.edges)
        async with cluster.connect() as rc, rc.run(user=user) as run:
            async with one.stream() as stream:
                await run.custom("before")
                await stream.events_until("custom")
                poll = {"offset": stream.last_id, "live": "long-poll", "device": "poll"}
                polling = asyncio.ensure_future(session.get(f"{one.base}/v1/stream", params=poll, headers=one.headers))
                await wait_devices(cluster, user, 2)
                await wait_begun(one)
                stopping = asyncio.ensure_future(cluster.edges[0].stop(bound_s=10))
                while (event := await stream.read()).kind != "drain":
                    pass
                assert event.data["reconnect_in_ms"] >= 0
                assert [event.kind async for event in stream] == ["end"]
                async with await polling as answer:
                    assert (answer.status, answer.headers["Stream-Next-Offset"]) == (204, stream.last_id), "told to ask again, at once"
                assert await stopping == 0
            await run.custom("after")
        async with other.stream(last_id=stream.last_id) as again:
            kinds = [event["kind"] for event in await again.events_until("agent_completed")]
            assert kinds == ["custom", "agent_completed"]


async def test_the_lines_for_curl_in_the_protocol(runcast_cluster, user: str, http: Http):
    lines = [line for line in PROTOCOL.read_text().splitlines() if line.startswith("curl ")]
    run_id = await tell(runcast_cluster, user, ["one"])
    async with http.stream() as stream:
        await stream.events_until("agent_completed")
    environ = {**os.environ, "EDGE": http.base, "TOKEN": runcast_cluster.token(user), "RUN": run_id, "POS": stream.last_id}

    async def run(line: str) -> str:
        seconds = 4 if "/v1/events" in line or "live=sse" in line else 20  # those go on until they are cut
        curl = await asyncio.create_subprocess_shell(
            line.replace("curl ", f"curl -sS --noproxy '*' --max-time {seconds} -w '%{{http_code}}' ", 1),
            env=environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        return (await curl.communicate())[0].decode()

    said = [*await asyncio.gather(*(run(line) for line in lines[:-2])), *[await run(line) for line in lines[-2:]]]
    events, page, poll, sse, head, agui, ack, send = said
    assert "event: welcome" in events
    assert "agent_completed" in events
    assert "agent_completed" in page
    assert f"Stream-Next-Offset: {stream.last_id}" in page
    assert page.endswith("]200")
    assert poll.endswith("204")
    assert '"upToDate":true' in sse
    assert f"Stream-Next-Offset: {stream.last_id}" in head
    assert head.endswith("200")
    assert '"RUN_FINISHED"' in agui
    assert ack == "204"
    assert send.endswith("200")
    assert json.loads(send.removesuffix("200")) == {"type": "sent", "id": "m1"}
