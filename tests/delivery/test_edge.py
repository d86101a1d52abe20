"""What an edge does with devices: resume, acknowledgements, cursors, slow devices, bad input, drain."""

import asyncio
import contextlib
import functools
import socket

import aiohttp
import pytest

from runcast.client import Runcast
from runcast.testkit.cluster import Cluster
from runcast.testkit.device import Device
from runcast.wire import limits
from runcast.wire.frames import CODECS, PROTO_SUBPROTOCOL, Batch, Drain, Error


async def emit(cluster: Cluster, user: str, events: int, size: int = 10, *, singly: bool = False) -> None:
    """A run of so many events; `singly`: a batch each."""
    async with Runcast(",".join(cluster.router_addresses()), agent="test") as rc, rc.run(user=user, thread="t") as run:
        for number in range(events - 2):
            await run.custom("number", {"n": number, "pad": "x" * size})
            if singly:
                await run.flush()


def frames_of(device: Device, kind: type) -> list:
    return [frame for frame in device.frames if isinstance(frame, kind)]


# --- resume ---


async def test_a_position_resumes_behind_it_on_any_edge(runcast_cluster, device, user):
    first = await device(edge=0, device="a")
    await emit(runcast_cluster, user, 30, singly=True)
    events = await first.wait_count(30)
    middle = first.received[11].pos
    second = await device(edge=1, device="b", position=middle)
    rest = [event.id for received, event in zip(first.received, events, strict=True) if received.pos > middle]
    got = await second.wait_count(len(rest))
    assert [event.id for event in got] == rest
    assert second.welcome.outcome == "resumed"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda pos: "rubbish", "malformed"),
        (lambda pos: "aaaaaaaa" + pos[8:], "unknown_epoch"),
        (lambda pos: pos[:9] + "9" * 16, "future"),
        (lambda pos: pos[:-1] + " ", "malformed"),
    ],
)
async def test_a_position_that_cannot_be_continued_is_told_and_all_is_given(runcast_cluster, device, user, make, reason):
    first = await device(device="a")
    await emit(runcast_cluster, user, 5)
    await first.wait_count(5)
    second = await device(device="b", position=make(first.position))
    assert (second.welcome.outcome, second.welcome.reason) == ("reset", reason)
    await second.wait_count(5)


async def test_a_place_that_comes_true_at_once_is_no_future(runcast_cluster, device, user):
    """As when the storage has a new leader, which does not know yet all that is stored."""
    first = await device(device="a")
    await emit(runcast_cluster, user, 5)
    await first.wait_count(5)
    epoch, _, seq = first.position.partition("-")
    early = f"{epoch}-{int(seq) + 1:016d}"
    async with asyncio.TaskGroup() as tasks:
        second = tasks.create_task(device(device="b", position=early))
        await asyncio.sleep(0.2)  # the edge has asked the leader once by then, and for 0.7 s it asks again
        await first.send_message("nobody", "t", "the message that makes it true")
    told = second.result().welcome
    assert (told.outcome, told.reason) == ("resumed", "")


async def test_a_position_of_another_user_gives_nothing_of_theirs(runcast_cluster, device, user):
    # Among a few users two share a shard, and so an epoch: the position is well formed for both.
    first = await device(device="a")
    await emit(runcast_cluster, user, 5)
    await first.wait_count(5)
    for number in range(8):
        other = await device(user=f"{user}-{number}", device="b", position=first.position)
        assert other.welcome.outcome == "reset"
        assert other.events == []


async def test_words_for_positions(runcast_cluster, device, user):
    await emit(runcast_cluster, user, 5)
    latest = await device(device="a", position="latest")
    earliest = await device(device="b", position="earliest")
    await earliest.wait_count(5)
    await emit(runcast_cluster, user, 3)
    await earliest.wait_count(8)
    assert [event.id for event in await latest.wait_count(3)] == [event.id for event in earliest.events[5:]]


async def test_a_device_without_position_goes_on_from_its_cursor_on_another_edge(runcast_cluster, device, user):
    first = await device(edge=0, device="phone")
    await emit(runcast_cluster, user, 10)
    await first.wait_count(10)
    await first.acknowledge()
    await first.disconnect()
    await emit(runcast_cluster, user, 4)
    deadline = asyncio.get_running_loop().time() + 3 * limits.CURSOR_INTERVAL_S
    while True:  # the cursor is written within its interval; until then the device gets repeats, never a gap
        again = await device(edge=1, device="phone", ack=False)
        await again.wait_count(4)
        if len(again.events) == 4 and again.welcome.position == first.position:
            break
        await again.disconnect()
        assert asyncio.get_running_loop().time() < deadline


async def test_a_wiped_storage_is_noticed_and_told(runcast_cluster_factory, user, tmp_path):
    data = tmp_path / "nats"
    cluster = await runcast_cluster_factory(routers=1, edges=1, data=data)
    async with Device(cluster.ws_urls(), cluster.token(user), device="d", reconnect=True) as device:
        await emit(cluster, user, 5)
        await device.wait_count(5)
        await cluster.nats.kill()
        data.rename(tmp_path / "gone")
        data.mkdir()
        await cluster.nats.start()
        await emit(cluster, user, 3)
        await device.wait_count(8, timeout=20)
        assert device.session.resets == 1
        assert device.welcome.reason == "unknown_epoch"


# --- slow devices ---


async def test_a_device_that_does_not_acknowledge_is_fed_again_when_it_does(runcast_cluster, device, user):
    slow, quick = await device(device="slow", ack=False), await device(device="quick")
    total = 3 * limits.WINDOW_EVENTS
    await emit(runcast_cluster, user, total)
    await quick.wait_count(total, timeout=20)
    stalled = len(slow.events)
    assert limits.WINDOW_EVENTS <= stalled < limits.WINDOW_EVENTS + limits.BATCH_EVENTS_MAX
    while len(slow.events) < total:
        await slow.acknowledge()
        await slow.wait_count(min(total, len(slow.events) + 1))
    assert [event.id for event in slow.events] == [event.id for event in quick.events]


async def test_the_window_counts_bytes_too(runcast_cluster, device, user):
    slow, quick = await device(device="slow", ack=False), await device(device="quick")
    await emit(runcast_cluster, user, 40, size=100_000)
    await quick.wait_count(40, timeout=20)
    sent = sum(len(event.SerializeToString()) for event in slow.events)
    assert sent < limits.WINDOW_BYTES + limits.BATCH_BYTES_MAX
    while len(slow.events) < 40:
        await slow.acknowledge()
        await slow.wait_count(min(40, len(slow.events) + 1))


# --- bad input ---


@contextlib.asynccontextmanager
async def raw(cluster: Cluster, token: str, protocols=("runcast.v1.json",)):
    offered = [*protocols, f"runcast.token.{token}"] if token else list(protocols)
    async with aiohttp.ClientSession() as http, http.ws_connect(cluster.edges[0].url, protocols=offered) as ws:
        yield ws


HELLO = '{"type":"hello","device":"d"}'


@pytest.mark.parametrize(
    ("frames", "code", "close"),
    [
        (["{"], "frame_invalid", 4503),
        (["[]"], "frame_invalid", 4503),
        (['{"type":"dance"}'], "frame_invalid", 4503),
        (['{"type":"hello"}'], "frame_invalid", 4503),
        (['{"type":"hello","device":7}'], "frame_invalid", 4503),
        (["[" * 10_000], "frame_invalid", 4503),
        ([b"\x0a\x03\x0a\x01d"], "frame_invalid", 4503),
        (['{"type":"ping"}'], "hello_expected", 4502),
        (['{"type":"hello","device":""}'], "id_invalid", 4500),
        (['{"type":"hello","device":"' + "d" * 129 + '"}'], "id_invalid", 4500),
        ([HELLO, HELLO], "frame_invalid", 4503),
        ([HELLO, '{"type":"ack","pos":"no"}'], "position_malformed", 4504),
        ([HELLO, '{"type":"ack","pos":"aaaaaaaa-0000000000000001"}'], "frame_invalid", 4503),
        ([HELLO, '{"type":"refresh","token":"dev.default.mallory"}'], "unauthenticated", 4501),
        ([HELLO, "x" * 70_000], None, 1009),
    ],
)
async def test_a_bad_frame_gets_a_code_and_costs_others_nothing(runcast_cluster, device, user, frames, code, close):
    other = await device(device="other")
    async with raw(runcast_cluster, runcast_cluster.token(user)) as ws:
        for frame in frames:
            await (ws.send_bytes(frame) if isinstance(frame, bytes) else ws.send_str(frame))
        answers = [message.json() async for message in ws]
        errors = [answer for answer in answers if answer["type"] == "error"]
        assert ws.close_code == close
        if code:
            assert [error["code"] for error in errors] == [code]
            assert len(errors[0]["message"]) > 10
    await other.send_message("nobody", "t", "still here")


async def test_what_a_device_says_behind_its_last_mistake_does_not_hide_the_code(runcast_cluster, user):
    """Were the connection dropped while more is on the way, the kernel would take back what the device had not read yet."""

    async def err(number: int) -> int | None:
        async with raw(runcast_cluster, runcast_cluster.token(f"{user}-{number}")) as ws:
            await ws.send_str(HELLO)
            assert (await ws.receive_json())["type"] == "welcome"
            with contextlib.suppress(ConnectionError):
                for frame in ["no frame", *['{"type":"ping"}'] * 20]:
                    await ws.send_str(frame)
            async for _ in ws:
                pass
            return ws.close_code

    for start in range(0, 100, 10):
        assert await asyncio.gather(*map(err, range(start, start + 10))) == [4503] * 10


@pytest.mark.parametrize("token", ["", "nonsense", "dev.default", "dev..alice", "dev.default.al*ce", "dev.default.al_2e"])
async def test_a_bad_token_is_told_not_to_come_back(runcast_cluster, token):
    async with raw(runcast_cluster, token) as ws:
        await ws.send_str(HELLO)
        assert (await ws.receive_json())["code"] == "unauthenticated"
        await ws.receive()
        assert ws.close_code == 4501


async def test_the_token_may_come_in_hello(runcast_cluster, user):
    async with raw(runcast_cluster, "") as ws:
        await ws.send_json({"type": "hello", "device": "d", "token": runcast_cluster.token(user), "unknown_field": 1})
        assert (await ws.receive_json())["user"] == user


@pytest.mark.parametrize("foreign", ["runcast.v0.json", "runcast.v2.json", "runcast.v17.cbor", "runcast.v2.proto"])
async def test_a_client_of_another_version_is_told_to_upgrade(runcast_cluster, user, foreign):
    async with raw(runcast_cluster, runcast_cluster.token(user), (foreign,)) as ws:
        assert ws.protocol == foreign, "else a browser gives up without a word"
        message = await ws.receive()
        if foreign.endswith(".proto"):
            error = CODECS[PROTO_SUBPROTOCOL].decode_server(message.data)
            assert (type(error).__name__, error.code) == ("Error", "upgrade_required")
        else:
            assert (message.json()["type"], message.json()["code"], "retry" in message.json()) == ("error", "upgrade_required", False)
        closed = await ws.receive()
        assert (ws.close_code, closed.extra.startswith(f"{foreign} is not spoken here, but runcast.v1.json")) == (4507, True)


async def test_a_client_that_speaks_more_versions_goes_on_with_the_one_that_both_know(runcast_cluster, user):
    async with raw(runcast_cluster, runcast_cluster.token(user), ("runcast.v2.json", "runcast.v1.json")) as ws:
        assert ws.protocol == "runcast.v1.json"
        await ws.send_json({"type": "hello", "device": "d", "version": 99, "features": {"shares": ["tabs"]}, "snapshot": False})
        welcome = await ws.receive_json()
        assert (welcome["type"], welcome["user"]) == ("welcome", user), "what it says besides is ignored"


@pytest.mark.parametrize("offered", ["graphql-ws", "runcast.v2", "runcast.vx.json", "runcast.v1.json.evil", "runcast.v99999999999.json"])
async def test_what_is_no_version_of_the_protocol_is_refused_at_the_door(runcast_cluster, user, offered):
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with raw(runcast_cluster, runcast_cluster.token(user), (offered,)):
            pass
    assert refused.value.status == 400


async def test_an_unknown_subprotocol_is_refused_with_what_to_offer(runcast_cluster):
    async with aiohttp.ClientSession() as http, http.get(runcast_cluster.edges[0].http_url + "/v1/ws") as answer:
        assert answer.status == 400
        assert "runcast.v1.json" in await answer.text()


@pytest.mark.parametrize(
    ("send", "code"),
    [
        ({"id": "", "kind": "message", "group": "g", "text": "x"}, "id_invalid"),
        ({"id": "1", "kind": "message", "group": "", "text": "x"}, "id_invalid"),
        ({"id": "1", "kind": "message", "group": "g"}, "send_invalid"),
        ({"id": "1", "kind": "message", "group": "g", "data": functools.reduce(lambda inner, _: [inner], range(200), 1)}, "send_invalid"),
        ({"id": "1", "kind": "message", "group": "g", "text": "x" * 33_000}, "send_too_large"),
        ({"id": "1", "kind": "cancel"}, "id_invalid"),
        ({"id": "1", "kind": "answer", "group": "g", "run_id": "r"}, "id_invalid"),
    ],
)
async def test_a_bad_send_gets_a_code_and_keeps_the_connection(runcast_cluster, user, send, code):
    async with raw(runcast_cluster, runcast_cluster.token(user)) as ws:
        await ws.send_str(HELLO)
        assert (await ws.receive_json())["type"] == "welcome"
        await ws.send_json({"type": "send", **send})
        error = await ws.receive_json()
        assert (error["type"], error["code"], error.get("id", "")) == ("error", code, send["id"])
        await ws.send_json({"type": "ping"})
        assert (await ws.receive_json())["type"] == "pong"


async def test_a_send_is_stored_once_however_often_it_is_sent(runcast_cluster, device, user):
    one, two = await device(device="a", edge=0), await device(device="b", edge=1)
    assert not (await one.send_message("nobody", "t", "hello", id="m-1")).duplicate
    assert (await two.send_message("nobody", "t", "hello", id="m-1")).duplicate
    await one.send_message("nobody", "t", "bye", id="m-2")
    for each in (one, two):
        assert [event.id for event in await each.wait_count(2)] == ["m-1", "m-2"]


async def test_too_many_devices_of_one_user_are_refused_and_may_come_back(runcast_cluster, device, user):
    opened = [await device(device=f"d{number}") for number in range(limits.DEVICES_PER_USER_MAX)]
    async with raw(runcast_cluster, runcast_cluster.token(user)) as ws:
        await ws.send_str(HELLO)
        told = await ws.receive_json()
        assert told["code"] == "too_many_devices"
        assert told["retry_after_ms"] > 0
        await ws.receive()
        assert ws.close_code == 4011
    await opened[0].disconnect()
    await device(device="again", reconnect=True)


async def test_a_device_that_asks_without_reading_answers_is_closed(runcast_cluster_factory, user):
    cluster = await runcast_cluster_factory(routers=1, edges=1)
    host, port = cluster.edges[0].address.split(":")
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.setblocking(False)
    await asyncio.get_running_loop().sock_connect(narrow, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=narrow, limit=1024)
    writer.write(
        f"GET /v1/ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        f"Sec-WebSocket-Protocol: runcast.v1.json, runcast.token.{cluster.token(user)}\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")

    def frame(text: str) -> bytes:
        return bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text.encode()  # masked with zeros

    writer.write(frame(HELLO))
    pings = frame('{"type":"ping"}') * 1000
    async with asyncio.timeout(15):
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(pings)
                await writer.drain()
    async with Device(cluster.edges[0].url, cluster.token(user), device="other") as other:
        await other.send_message("nobody", "t", "still here")
    async with asyncio.timeout(5), aiohttp.ClientSession() as http:
        connections = 1
        while connections:  # it is noticed that it went
            connections = (await (await http.get(cluster.edges[0].http_url + "/healthz")).json())["connections"]


# --- the end of an edge ---


async def test_a_stopping_edge_sends_its_devices_to_another_and_nothing_is_lost(runcast_cluster_factory, user):
    cluster = await runcast_cluster_factory(routers=1, edges=2)
    async with Device(cluster.ws_urls(), cluster.token(user), device="d", reconnect=True) as device:
        await emit(cluster, user, 20)
        await device.wait_count(20)
        async with asyncio.TaskGroup() as group:
            group.create_task(emit(cluster, user, 200))
            stopping = group.create_task(cluster.edges[0].stop(bound_s=limits.DRAIN_S + 2))
        assert stopping.result() == 0
        await device.wait_count(220)
        device.check_chain()
        assert len(frames_of(device, Drain)) == 1
        assert frames_of(device, Batch)
        assert [frame.code for frame in frames_of(device, Error)] in ([], ["draining"])
        assert device.welcome.edge == "edge-1"
