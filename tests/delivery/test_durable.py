"""The stream as a Durable Stream: the protocol's read side over the same log, sessions and door as every transport."""

import asyncio
import json
from typing import Any, NamedTuple

import aiohttp
import nats
import nats.errors
import pytest

from runcast.testkit import Device
from runcast.wire import limits, limits_http, subjects
from runcast.wire.ids import UserKey
from runcast.wire.position import Position, parse_position
from tests.delivery.readers import wait_devices
from tests.revoking import operator, user_target

BOUND_S = 10.0


class Answer(NamedTuple):
    status: int
    headers: Any
    body: Any

    @property
    def next(self) -> str:
        return str(self.headers["Stream-Next-Offset"])

    @property
    def up_to_date(self) -> bool:
        return self.headers.get("Stream-Up-To-Date") == "true"

    @property
    def kinds(self) -> list[str]:
        return [event["kind"] for event in self.body]


class Reader:
    """A user's view of an edge, as this protocol has it."""

    def __init__(self, session: aiohttp.ClientSession, base: str, token: str) -> None:
        self.session, self.base, self.headers = session, base, {"Authorization": f"Bearer {token}"}

    async def read(self, offset: str = "", *, method: str = "GET", headers: dict[str, str] | None = None, **query: str) -> Answer:
        params = {**({"offset": offset} if offset else {}), **query}
        told = {**self.headers, **(headers or {})}
        async with self.session.request(method, f"{self.base}/v1/stream", params=params, headers=told) as response:
            text = await asyncio.wait_for(response.text(), BOUND_S)
            return Answer(response.status, response.headers, json.loads(text) if text else None)

    async def read_all(self, offset: str = "-1") -> list[Answer]:
        """Page after page to the end."""
        pages = [await self.read(offset)]
        while not pages[-1].up_to_date:
            assert pages[-1].status == 200, pages[-1]
            pages.append(await self.read(pages[-1].next))
        return pages


@pytest.fixture
async def reader(runcast_cluster, user: str):
    async with aiohttp.ClientSession() as session:
        yield Reader(session, runcast_cluster.edges[0].http_url, runcast_cluster.token(user))


async def tell(runcast_cluster, user: str, *texts: str) -> str:
    async with runcast_cluster.connect() as rc, rc.run(user=user) as run:
        for text in texts:
            await run.custom("told", text)
            await run.flush()
    return run.id


async def test_a_stream_is_caught_up_with_and_followed(runcast_cluster, user: str, reader: Reader):
    empty = await reader.read("-1")
    assert (empty.status, empty.body, empty.up_to_date) == (200, [], True)
    run_id = await tell(runcast_cluster, user, "one", "two")
    page = await reader.read(empty.next)
    assert page.kinds == ["agent_started", "custom", "custom", "agent_completed"]
    assert {event["run_id"] for event in page.body} == {run_id}
    assert page.headers["Content-Type"].startswith("application/json")
    assert (page.up_to_date, page.headers["Cache-Control"]) == (True, "private, no-cache")
    assert (await reader.read()).body == page.body == (await reader.read("-1")).body, "no offset is the beginning"
    again = await reader.read(page.next)
    assert (again.status, again.body, again.next, again.up_to_date) == (200, [], page.next, True)
    async with Device(runcast_cluster.ws_urls(), runcast_cluster.token(user), position=page.next) as device:
        await tell(runcast_cluster, user, "three")
        await device.wait_kind("agent_completed")
        assert [event.id for event in device.events] == [event["id"] for event in (await reader.read(page.next)).body]


async def test_a_page_that_is_kept_is_asked_about_and_not_sent_again(runcast_cluster, user: str, reader: Reader):
    await tell(runcast_cluster, user, "one")
    page = await reader.read("-1")
    assert "Authorization" in page.headers["Vary"], "another user's page is not taken for one's own"
    kept = await reader.read("-1", headers={"If-None-Match": page.headers["ETag"]})
    assert (kept.status, kept.body, kept.next) == (304, None, page.next)
    await tell(runcast_cluster, user, "two")
    more = await reader.read("-1", headers={"If-None-Match": page.headers["ETag"]})
    assert (more.status, len(more.body)) == (200, 2 * len(page.body))


async def test_a_long_poll_waits_for_what_is_to_come(runcast_cluster, user: str, reader: Reader):
    await tell(runcast_cluster, user, "one")
    tail = await reader.read("now")
    assert (tail.status, tail.body, tail.up_to_date, tail.headers["Cache-Control"]) == (200, [], True, "no-store")
    assert "ETag" not in tail.headers
    nothing = await reader.read(tail.next, live="long-poll", timeout="1")
    assert (nothing.status, nothing.body, nothing.next, nothing.up_to_date) == (204, None, tail.next, True)
    later = await reader.read(tail.next, live="long-poll", timeout="1", cursor=nothing.headers["Stream-Cursor"])
    assert int(later.headers["Stream-Cursor"]) > int(nothing.headers["Stream-Cursor"]), "no cache answers twice"
    for offset in (tail.next, "now"):
        waiting = asyncio.ensure_future(reader.read(offset, live="long-poll"))
        await wait_devices(runcast_cluster, user, 1)
        assert not waiting.done()
        await tell(runcast_cluster, user, "live")
        answer = await waiting
        assert (answer.status, answer.kinds[0]) == (200, "agent_started")
        assert answer.next > tail.next
        rest = await reader.read_all(answer.next)
        tail = rest[-1]
    behind = await reader.read("-1", live="long-poll")
    assert (behind.status, behind.up_to_date, len(behind.body)) == (200, True, 9), "what is there is not waited for"


async def test_what_comes_again_and_again_is_answered_in_one_page(runcast_cluster, user: str, reader: Reader):
    sizes = []
    async with runcast_cluster.connect() as rc:
        while not sizes or (sizes[-1] < 2 and len(sizes) < 10):  # a busy machine may be slower than a page waits
            tail = await reader.read("now")
            waiting = asyncio.ensure_future(reader.read(tail.next, live="long-poll"))
            await wait_devices(runcast_cluster, user, 1)
            async with rc.run(user=user) as run:
                await run.flush()
                await run.custom("told")
                await run.flush()
                sizes.append(len((await waiting).body))
    assert sizes[-1] >= 2, "a batch for each would be a request for each"


async def test_pages_are_bounded_and_nothing_is_merged(runcast_cluster, user: str, reader: Reader):
    async with runcast_cluster.connect() as rc, rc.run(user=user) as run:
        for number in range(40):
            await run.respond(f"{number} " + "x" * 10_000)
            await run.flush()
    pages = await reader.read_all()
    assert len(pages) == 2
    assert not pages[0].up_to_date
    sizes = [len(json.dumps(page.body)) for page in pages]
    assert limits_http.PAGE_BYTES_MAX * 0.9 < sizes[0] < limits_http.PAGE_BYTES_MAX * 1.2
    events = [event for page in pages for event in page.body]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert not [event for event in events if "first_seq" in event], "a message of the stream is a message of it, each time"
    assert [page.next for page in pages] == sorted({page.next for page in pages})


async def test_server_sent_events(runcast_cluster, user: str, reader: Reader):
    await tell(runcast_cluster, user, "one")

    async def follow(offset: str, live: asyncio.Event) -> tuple[list[str], list[dict[str, Any]]]:
        kinds, controls = [], []
        async with reader.session.get(
            f"{reader.base}/v1/stream", params={"offset": offset, "live": "sse", "cursor": "7"}, headers=reader.headers
        ) as response:
            assert (response.status, response.content_type, response.headers["Cache-Control"]) == (200, "text/event-stream", "no-store")
            name = ""
            while kinds.count("agent_completed") < (1 if offset == "now" else 2) or name:
                field, _, value = (await asyncio.wait_for(response.content.readline(), BOUND_S)).decode().rstrip("\n").partition(": ")
                if field == "event":
                    name = value
                elif field == "data" and name == "data":
                    kinds += [event["kind"] for event in json.loads(value)]
                elif field == "data":
                    controls.append(json.loads(value))
                    name = ""
                    if controls[-1].get("upToDate"):
                        live.set()
        return kinds, controls

    lives = [asyncio.Event(), asyncio.Event()]
    reading = [asyncio.ensure_future(follow(offset, live)) for offset, live in zip(("-1", "now"), lives, strict=True)]
    for live in lives:
        await asyncio.wait_for(live.wait(), BOUND_S)
    await tell(runcast_cluster, user, "two")
    whole, new = await asyncio.gather(*reading)
    assert whole[0] == ["agent_started", "custom", "agent_completed"] * 2
    assert new[0] == ["agent_started", "custom", "agent_completed"]
    for _, controls in (whole, new):
        offsets = [control["streamNextOffset"] for control in controls]
        assert offsets == sorted(offsets)
        assert all(control["streamCursor"].isdecimal() for control in controls)
    assert whole[1][-1]["streamNextOffset"] == (await reader.read("now")).next


async def test_where_the_stream_ends_is_asked_by_head(runcast_cluster, user: str, reader: Reader):
    await tell(runcast_cluster, user, "one")
    head = await reader.read(method="HEAD")
    assert (head.status, head.body, head.headers["Cache-Control"]) == (200, None, "no-store")
    assert head.headers["Content-Type"].startswith("application/json")
    assert head.next == (await reader.read_all())[-1].next
    async with reader.session.head(f"{reader.base}/v1/stream") as response:
        assert response.status == 401


async def test_an_offset_that_aged_out_is_gone_and_says_from_where_it_goes_on(runcast_cluster, user: str, reader: Reader):
    await tell(runcast_cluster, user, "one", "two")
    offset = (await reader.read("-1")).next
    await tell(runcast_cluster, user, "three")
    key = UserKey("default", user)
    connection = await nats.connect(runcast_cluster.nats_url)
    try:
        shard = subjects.shard_of(key, limits.SHARDS_EMBEDDED)
        subject = subjects.event_subject(key, shard)
        await connection.jetstream().purge_stream(subjects.event_stream(shard), subject=subject, seq=parse_position(offset).seq + 1)
    finally:
        await connection.close()
    other = str(Position("zzzzzzzz", 0))
    for gone_offset, live in ((offset, ""), (offset, "long-poll"), (offset, "sse"), (other, "")):
        answer = await reader.read(gone_offset, **({"live": live} if live else {}))
        assert (answer.status, answer.body["code"], answer.headers["Cache-Control"]) == (410, "position_gone", "no-store")
        assert (await reader.read(answer.next)).kinds == ["agent_started", "custom", "agent_completed"], "what is left"
    assert (await reader.read("-1")).kinds == ["agent_started", "custom", "agent_completed"]


@pytest.mark.parametrize(
    "query",
    ["offset=x", "offset=", "offset=-1&offset=-1", "live=sse", "offset=-1&live=", "offset=-1&live=yes", "offset=-1&timeout=0"],
)
async def test_what_is_asked_wrongly_is_told_so(reader: Reader, query: str):
    async with reader.session.get(f"{reader.base}/v1/stream?{query}", headers=reader.headers) as response:
        assert (response.status, (await response.json())["code"] in ("frame_invalid", "position_malformed")) == (400, True)


async def test_the_same_door(runcast_cluster, user: str, reader: Reader):
    for live in ({}, {"offset": "-1", "live": "long-poll"}, {"offset": "-1", "live": "sse"}, {"offset": "now"}):
        async with reader.session.get(f"{reader.base}/v1/stream", params=live) as response:
            assert (response.status, (await response.json())["code"]) == (401, "unauthenticated")
        foreign = {**reader.headers, "Origin": "https://elsewhere.example"}
        async with reader.session.get(f"{reader.base}/v1/stream", params=live, headers=foreign) as response:
            assert (response.status, (await response.json())["code"]) == (403, "origin_refused")
    page = await reader.read("-1", headers={"Origin": "http://127.0.0.1:9999"})
    assert "Stream-Next-Offset" in page.headers["Access-Control-Expose-Headers"], "a page's script may see where it is"
    assert page.headers["Vary"] == "Authorization, Cookie, Origin"


async def test_who_is_revoked_while_a_poll_waits_is_told_at_once(runcast_cluster, user: str, reader: Reader):
    tail = await reader.read("now")
    waiting = asyncio.ensure_future(reader.read(tail.next, live="long-poll"))
    await wait_devices(runcast_cluster, user, 1)
    async with operator(runcast_cluster.nats_url) as revoking:
        await revoking.revoke(user_target(user), by="me", reason="gone", expected=["edge-0", "edge-1"])
        answer = await waiting
        assert (answer.status, answer.body["code"]) == (403, "revoked")


async def test_a_reader_that_leaves_is_no_device_any_more(runcast_cluster, user: str, reader: Reader):
    tail = await reader.read("now")
    waiting = [asyncio.ensure_future(reader.read(tail.next, live="long-poll", device=f"d{number}")) for number in range(3)]
    await wait_devices(runcast_cluster, user, 3)
    for each in waiting:
        each.cancel()
    await asyncio.wait(waiting)
    await wait_devices(runcast_cluster, user, 0)


async def test_what_is_read_is_acknowledged_by_post(runcast_cluster, user: str, reader: Reader):
    async with runcast_cluster.connect() as rc, rc.run(user=user) as run:
        ticket = asyncio.ensure_future(run.custom("offer", receipt=BOUND_S))
        page = await reader.read("-1", live="long-poll", device="reader")
        while "custom" not in page.kinds:
            page = await reader.read(page.next, live="long-poll", device="reader")
        assert not ticket.done(), "a page that was sent was not handled yet"
        body = {"device": "reader", "pos": page.next}
        async with reader.session.post(f"{reader.base}/v1/ack", json=body, headers=reader.headers) as response:
            assert response.status == 204
        assert ((await ticket).outcome, (await ticket).device) == ("delivered", "reader")
