"""A hundred users of two tenants attack each other, and so do three agents. In the end whatever anybody received, and whatever lies in
storage, is searched for the marks of others (`crossings.py`), and each user's stream must be what was told to it.
"""

import asyncio
import contextlib
import json
import re
import secrets
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import msgspec
import nats
import nats.js.errors
import pytest

from runcast.v1.event_pb2 import Custom, Event, User
from runcast.v1.inbox_pb2 import DISPOSITION_ACK, DISPOSITION_REJECT, InboxAck, ReceiveRequest
from runcast.v1.ingest_pb2 import RECEIPT_OUTCOME_DELIVERED, AnswerAsk, OpenRun, PublishRequest, ReceiptAsk, RunAbandon
from runcast.wire import limits
from runcast.wire.codes import CODES
from runcast.wire.frames import Ack, Error, Ping, Pong, Refresh, Send, Sent, Welcome
from runcast.wire.ids import UserKey, decode_token
from runcast.wire.position import Position, parse_position
from tests import hostile
from tests.security.attackers import Producer, Worker, make_batch
from tests.security.crossings import Crossing, Marks
from tests.security.isolation import (
    DEVICE,
    HERE,
    PRODUCER,
    REQUEST,
    SHARED,
    THERE,
    USERS,
    Place,
    World,
    browser,
    each,
    events_of,
    wire_user,
)

pytestmark = [pytest.mark.timeout(90), pytest.mark.xdist_group("isolation")]


async def tell(world: World, producer: Producer, tenant: str) -> None:
    """An agent tells each of its tenant's users two runs, which stay open, and waits for their answers."""
    mine = [index for index, user in enumerate(USERS) if user.tenant == tenant]
    runs = [(index, run) for index in mine for run in (SHARED, world.run(index))]
    batches = [make_batch(USERS[index], PRODUCER, run, 1, *events_of(world.mark(index))) for index, run in runs]
    await producer.say(PublishRequest(batches=batches))
    await producer.until(lambda: len(producer.all("acks")) + len(producer.all("refusals")) >= len(batches) or producer.ended)
    assert (producer.all("refusals"), producer.ended) == ([], None)
    asks = [AnswerAsk(user=User(tenant=tenant, id=USERS[index].user), run_id=run, request_id=REQUEST) for index, run in runs]
    await producer.say(PublishRequest(answer_asks=asks))


# --- what users do to each other ---


async def steal_positions(world: World, index: int) -> None:
    """Go on from where others are: from their very positions, from the same in one's own shard, from the end of all."""
    mine = [parse_position(pos) for pos in world.own[index].positions]
    theirs = [parse_position(pos) for other in victims(index) for pos in world.own[other].positions]
    own_shard = str(theirs[-1]._replace(epoch=mine[0].epoch)), str(Position(mine[0].epoch, 10**16 - 1)), str(Position(mine[0].epoch, 0))
    for position in (str(theirs[index % len(theirs)]), own_shard[index % 3]):
        async with world.visit(index) as page:
            welcome = await page.hello(world.place.token(USERS[index]), DEVICE if index % 2 else "d2", position)
            assert isinstance(welcome, Welcome)
            assert (welcome.tenant, welcome.user) == USERS[index]
            asked = parse_position(position)
            rest = [str(place) for place in mine if welcome.outcome == "reset" or place.seq > asked.seq]
            await page.events(3 * len(rest))
            assert page.positions == rest, "nothing but what is behind that place in their own stream"
            if index % 2:  # an acknowledgement of what others were given; even users never acknowledge anything
                await page.say(Ack(str(theirs[0]._replace(epoch=mine[0].epoch))))
                await page.say(Ack(str(theirs[0])))
                await page.say(Ping())
                said = await page.next(Pong | Error)
                assert isinstance(said, Pong) or said.code == "frame_invalid"
    if index % 5:
        return
    async with world.visit(index) as page:
        await page.hello(world.place.token(USERS[index]), DEVICE)
        await page.say(Refresh(world.place.token(USERS[victims(index)[0]])))
        assert await page.ended() == CODES["unauthenticated"].close


async def speak_for_others(world: World, index: int) -> None:
    """Send under ids that others use, cancel and answer their runs; then do the same for one's own, which must still work."""
    page, mark = world.own[index], world.mark(index)
    data = msgspec.Raw(json.dumps(mark).encode())
    answer = await page.send(Send("m", "message", group="desk", thread="t", text=mark))
    assert isinstance(answer, Sent)
    assert not answer.duplicate, "another user's message of the same id counted as this one"
    world.sent[USERS[index]].add("m")
    for other in victims(index):
        for run in (world.run(other), f"{SHARED}.{USERS[other].token}"[: limits.ID_BYTES_MAX], f"../{SHARED}-{other}"):
            assert isinstance(await page.send(Send("c", "cancel", run_id=run, reason=mark)), Sent)
            assert isinstance(await page.send(Send(f"a-{other}-{run[:4]}", "answer", run_id=run, request_id=REQUEST, data=data)), Sent)
    if index % 2:
        assert isinstance(await page.send(Send("c", "cancel", run_id=SHARED, reason=mark)), Sent)


async def answer_own(world: World, index: int) -> None:
    page, data = world.own[index], msgspec.Raw(json.dumps(world.mark(index)).encode())
    for run in (SHARED, world.run(index)):
        answered = await page.send(Send("a", "answer", run_id=run, request_id=REQUEST, data=data))
        assert isinstance(answered, Sent), f"somebody else's answer to {run} counted: {answered}"


FIELDS: dict[str, dict[str, str]] = {
    "id": {"kind": "message", "group": "other", "text": "x"},
    "group": {"kind": "message", "id": "i", "text": "x"},
    "thread": {"kind": "message", "id": "i", "group": "other", "text": "x"},
    "run_id": {"kind": "cancel", "id": "i"},
    "request_id": {"kind": "answer", "id": "i", "run_id": SHARED},
}


async def inject(world: World, index: int) -> None:
    """Put what NATS, JSON and HTTP treat in a way of their own into every field that is an id, and into the device's name."""
    field, fixed = list(FIELDS.items())[index % len(FIELDS)]
    values = [*hostile.IDS[index % 4 :: 4], *hostile.TOO_LONG, ""]
    victim = USERS[victims(index)[0]]
    async with world.visit(index) as page:
        await page.hello(world.place.token(USERS[index]), "injector", "latest")
        for value in (f"{SHARED}.{victim.token}", f"ev.0.{victim.token}", *values[index % 3 :: 3]):
            form = {"data": msgspec.Raw(b"1"), **fixed, field: value} if fixed["kind"] == "answer" else {**fixed, field: value}
            answer = await page.send(Send(**form))  # type: ignore[arg-type]
            allowed = {"id_invalid", "send_invalid", "rate_limited", "storage_full"}
            assert isinstance(answer, Sent) or answer.code in allowed, answer
            size = len(value.encode())
            fits = 1 <= size <= limits.ID_BYTES_MAX or (field == "thread" and not size)
            assert isinstance(answer, Sent) or answer.code != "id_invalid" or not fits, (field, value, answer)
            assert isinstance(answer, Error) or fits, (field, value)
            if isinstance(answer, Sent) and fixed["kind"] == "message":
                world.sent[USERS[index]].add(form["id"])  # type: ignore[arg-type]
    device = (values[index % len(values)], f"{DEVICE}.{victim.token}", hostile.TOO_LONG[index % 4])[index % 3]
    async with world.visit(index) as page:
        said = await page.hello(world.place.token(USERS[index]), device, "")
        if 1 <= len(device.encode()) <= limits.ID_BYTES_MAX:
            assert isinstance(said, Welcome)
            assert said.device == device
        else:
            assert isinstance(said, Error)
            assert said.code == "id_invalid"


def victims(index: int) -> list[int]:
    """Whom a user attacks: the one of the same id in the other tenant, and the next one, whose id looks alike."""
    half = len(USERS) // 2
    return [(index + half) % len(USERS), (index + 1) % half + index // half * half]


# --- what agents do to each other's users and runs ---


async def attack_runs(world: World) -> None:
    """Another agent of the tenant, and one of another tenant, go for runs of `here`, under its very producer id and under another one."""
    for agent, producer, router, code in (
        ("beside", PRODUCER, 0, "attempt_taken"),
        ("beside", "other", 1, "attempt_taken"),
        ("there", PRODUCER, 0, "permission_denied"),
        ("there", "other", 1, "permission_denied"),
    ):
        async with world.place.producer(agent, producer, router) as intruder:
            started, *said = events_of(f"mark-{secrets.token_hex(12)}")
            forged = (
                (1, 1, [started, *said]),
                (1, 1, [started, *said, Event(agent_completed={})]),
                (2, 4, said),
                (2, 4, [Event(agent_completed={})]),
                (3, 5, said),
                (2**63, 2**63, [Event(run_cancelled={})]),
            )
            runs = [(USERS[index], run) for index in (0, 1, 2) for run in (SHARED, world.run(index))]
            for (user, run), (number, first, events) in zip(runs, forged, strict=True):
                answer = await intruder.answer(make_batch(user, producer, run, number, *events, first=first))
                assert answer.code == code, (agent, producer, run, number, answer)
            if agent == "beside":
                await intruder.say(PublishRequest(abandons=[RunAbandon(user=wire_user(USERS[0]), run_id=world.run(0), attempt=1)]))
                await intruder.until(lambda intruder=intruder: intruder.all("abandoned") or intruder.ended)
    position = world.own[0].positions[0]
    await attack_by_asking(world.place, USERS[0], world.run(0), position)


async def attack_by_asking(place: Place, user: UserKey, run: str, position: str) -> None:
    """Ask for what belongs to users of another tenant: there is one answer, whoever is meant, and whether they are."""
    told = set()
    for owner in (user, UserKey(user.tenant, "nobody at all")):
        who = wire_user(owner)
        for request in (
            PublishRequest(receipt_asks=[ReceiptAsk(user=who, run_id=run, attempt=1, number=1, position=position, deadline_ms=500)]),
            PublishRequest(answer_asks=[AnswerAsk(user=who, run_id=run, request_id=REQUEST)]),
            PublishRequest(abandons=[RunAbandon(user=who, run_id=run, attempt=1)]),
            PublishRequest(open_runs=[OpenRun(user=who, run_id=run, attempt=1)]),
        ):
            async with place.producer("there") as intruder:
                await intruder.until(lambda intruder=intruder: intruder.responses)
                await intruder.say(request)
                told.add(await intruder.until(lambda intruder=intruder: intruder.ended))
                assert len(intruder.responses) == 1, "hello alone"
    assert len(told) == 1, told
    ((status, code, _),) = told
    assert (status, code) == ("PERMISSION_DENIED", "permission_denied")


async def attack_inbox(world: World) -> None:
    """Two workers of one group take what their own tenants' users sent; what either says of the other's deliveries counts for nothing."""
    place, addresses = world.place, world.place.cluster.router_addresses()
    mine = {(user.tenant, user.user, world.marks.of[user]) for user in USERS if user.tenant == HERE}

    def got(worker: Worker) -> set[tuple[str, str, str]]:
        messages = [delivery.message for delivery in worker.deliveries]
        return {(message.user.tenant, message.user.id, message.text.text) for message in messages}

    async with Worker(addresses[1], place.keys["there"], "desk") as there:
        async with Worker(addresses[0], place.keys["here"], "desk") as here:
            await here.until(lambda: got(here) >= mine or here.ended)
            forged = [delivery.delivery_id for delivery in here.deliveries]
            forged += [f"{seq}.{tries}" for seq in range(1, 2 * len(USERS)) for tries in (1, 2, 3)]
            forged += ["", ".", "0.0", "-1.1", f"{10**18}.1", "1.1.1", "1.*"]
            for disposition in (DISPOSITION_REJECT, DISPOSITION_ACK):
                await there.say(ReceiveRequest(acks=[InboxAck(delivery_id=each, disposition=disposition) for each in forged]))
            assert got(here) == mine
        async with Worker(addresses[0], place.keys["here"], "desk") as again:
            await again.until(lambda: got(again) >= mine or again.ended)
            assert got(again) == mine
        await there.until(lambda: len(got(there)) >= len(USERS) - len(mine) or there.ended)
        assert {tenant for tenant, _, _ in got(there)} == {THERE}
        assert all(world.marks.of[UserKey(tenant, user)] == text for tenant, user, text in got(there))


# --- the attack ---


async def test_a_hundred_users_attack_each_other_and_nothing_crosses(place: Place) -> None:
    async with browser() as http, contextlib.AsyncExitStack() as stack:
        world = World(place, http, stack)

        async def open_page(index: int) -> None:
            world.own[index] = await stack.enter_async_context(world.page(index))
            assert isinstance(await world.own[index].hello(place.token(USERS[index]), DEVICE), Welcome)

        await each(open_page)
        here = await stack.enter_async_context(place.producer("here"))
        there = await stack.enter_async_context(place.producer("there", router=1))
        await asyncio.gather(tell(world, here, HERE), tell(world, there, THERE))
        await each(lambda index: as_none(world.own[index].events(6)))

        await each(lambda index: steal_positions(world, index))
        await each(lambda index: speak_for_others(world, index))
        await attack_runs(world)
        await each(lambda index: inject(world, index))
        await each(lambda index: answer_own(world, index))

        for producer, tenant in ((here, HERE), (there, THERE)):
            wanted = sum(2 for user in USERS if user.tenant == tenant)
            await producer.until(lambda producer=producer, wanted=wanted: len(producer.all("answers")) >= wanted or producer.ended)
        await settle(world, here, there)

        await judge_receipts(world, here)
        assert judge_agents(world, here, there) == []
        assert judge_pages(world) == []
        assert await judge_storage(world) == []
        await attack_inbox(world)


async def as_none(work: Coroutine[Any, Any, Any]) -> None:
    await work


async def settle(world: World, here: Producer, there: Producer) -> None:
    """One more event for everybody: whatever was under way before it has come."""
    for producer, tenant in ((here, HERE), (there, THERE)):
        mine = [index for index, user in enumerate(USERS) if user.tenant == tenant]
        last = Event(custom=Custom(name="last", data_json=b"1"))
        batches = [make_batch(USERS[index], PRODUCER, world.run(index), 2, last, first=4) for index in mine]
        await producer.say(PublishRequest(batches=batches))
        await producer.until(lambda producer=producer, mine=mine: sum(ack.number == 2 for ack in producer.all("acks")) >= len(mine))
    await each(lambda index: as_none(world.own[index].events(7 + len(world.sent[USERS[index]]))))


def judge_agents(world: World, here: Producer, there: Producer) -> list[Any]:
    """What agents heard that nobody who may said: a cancel or an answer bears the mark of the user whose run it is."""
    wrong: list[Any] = []
    for producer, tenant in ((here, HERE), (there, THERE)):
        heard = [("cancel", each.user, each.run_id, each.reason.encode()) for each in producer.all("cancels")]
        heard += [("answer", each.user, each.run_id, each.value_json) for each in producer.all("answers")]
        wrong += [
            (what, user.tenant, user.id, run, text, world.marks.found(text))
            for what, user, run, text in heard
            if world.marks.found(text) != [UserKey(user.tenant, user.id)] or user.tenant != tenant or (what == "cancel" and run != SHARED)
        ]
        cancelled = {each.user.id for each in producer.all("cancels")}
        mine = [(at, user) for at, user in enumerate(USERS) if user.tenant == tenant]
        wrong += [("another cancel than its own", user) for at, user in mine if (at % 2 == 1) != (user.user in cancelled)]
    return wrong


async def judge_receipts(world: World, here: Producer) -> None:
    """Even users acknowledged nothing, whatever others acknowledged; one that does is heard."""
    page = world.own[0]
    asked = {index: world.own[index].positions[-1] for index in range(0, 10, 2)}
    await page.say(Ack(page.positions[-1]))
    asks = [
        ReceiptAsk(user=wire_user(USERS[index]), run_id=world.run(index), attempt=1, number=2, position=position, deadline_ms=1500)
        for index, position in asked.items()
    ]
    await here.say(PublishRequest(receipt_asks=asks))
    await here.until(lambda: len(here.all("receipts")) == len(asked) or here.ended)
    delivered = {each.run_id: each.device for each in here.all("receipts") if each.outcome == RECEIPT_OUTCOME_DELIVERED}
    assert delivered == {world.run(0): DEVICE}


def judge_pages(world: World) -> list[Any]:
    """What pages were given that is not their user's, or that nobody sent, or that they did not get."""
    pages = [*zip(USERS, world.own, strict=True), *world.others]
    wrong: list[Any] = [*world.marks.crossings((user, "page", raw) for user, page in pages for raw in page.raw)]
    for index, (user, page) in enumerate(zip(USERS, world.own, strict=True)):
        told = {f"{run}.1.{seq}" for run in (SHARED, world.run(index)) for seq in (1, 2, 3)} | {f"{world.run(index)}.1.4"}
        if sorted(event.id for event in page.got) != sorted([*told, *world.sent[user]]):
            wrong.append(("another stream than its own", user, [event.id for event in page.got]))
    codes = {CODES[name].close for name in CODES} - {CODES["internal"].close} | {1000, 1005, None}
    wrong += [("close code", user, page.close_code) for user, page in pages if page.close_code not in codes]
    return wrong


async def judge_storage(world: World) -> list[Crossing | tuple[str, str]]:
    """What lies under one user's name and bears another's mark, or another's user, in all of NATS."""
    held: list[tuple[UserKey, str, bytes]] = []
    connection = await nats.connect(world.place.cluster.nats_url)
    try:
        js = connection.jetstream()
        for stream in [info.config.name for info in await js.streams_info()]:
            if (await js.stream_info(stream)).state.messages:
                held += [entry async for entry in _messages(js, stream)]
    finally:
        await connection.close()
    assert len({holder for holder, _, data in held if world.marks.found(data)}) == len(USERS)
    strangers = [("somebody that is no user", where) for holder, where, _ in held if holder not in USERS]
    return [*world.marks.crossings(held), *strangers]


async def _messages(js: Any, stream: str) -> AsyncIterator[tuple[UserKey, str, bytes]]:
    seq = 0
    while True:
        try:
            found = await js.get_msg(stream, seq=seq + 1, subject=">", next=True)
        except nats.js.errors.NotFoundError:
            return
        seq = found.seq
        owner = _owner(found.subject)
        if owner is not None:
            yield owner, found.subject, found.data or b""


def _owner(subject: str) -> UserKey | None:
    """Whose a stored message is, by its subject; None for what is nobody's (leases, the deployment's record)."""
    found = re.fullmatch(
        r"(?:ev\.\d+|in\.[^.]+\.\d+|parked\.[^.]+\.\d+|\$KV\.RUNCAST_CURSORS\.\d+|\$KV\.RUNCAST_RUNS\.(?:run|cancel|answer|alert)\.\d+)"
        r"\.([^.]+)\.([^.]+)(?:\..*)?",
        subject,
    )
    return UserKey(decode_token(found[1]), decode_token(found[2])) if found else None


def test_the_judge_sees_a_crossing() -> None:
    one, other = UserKey("t", "a"), UserKey("t", "b")
    marks = Marks({one: f"mark-{'1' * 24}", other: f"mark-{'2' * 24}"})
    own, foreign, unknown = (f'{{"x": "mark-{digit * 24}"}}'.encode() for digit in "123")
    assert marks.crossings([(one, "page", own), (other, "page", foreign)]) == []
    assert marks.crossings([(one, "page", own + foreign)]) == [Crossing(one, "page", other)]
    assert marks.crossings([(one, "page", unknown)]) == [Crossing(one, "page", None)]
    assert _owner("ev.3.acme.a_2Eb") == _owner("$KV.RUNCAST_RUNS.answer.3.acme.a_2Eb.r.q") == UserKey("acme", "a.b")
