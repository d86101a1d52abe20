"""What an agent or a device can't do to somebody else, one thing each, at real routers and edges."""

import asyncio
import contextlib
import statistics
import time
from typing import Any

import pytest

from runcast.client import RefusedError, Runcast
from runcast.v1.event_pb2 import Event
from runcast.wire import limits
from runcast.wire.frames import JSON_SUBPROTOCOL, PROTO_SUBPROTOCOL, Error, Send, Sent, Welcome
from runcast.wire.ids import UserKey
from runcast.wire.position import parse_position
from tests import hostile
from tests.security.attackers import Page, make_batch
from tests.security.isolation import DEVICE, HERE, ISS, PRODUCER, THERE, Place, browser, events_of

pytestmark = [pytest.mark.timeout(60), pytest.mark.xdist_group("isolation")]


async def test_a_producer_id_of_another_agent_s_keeps_nothing_alive_and_ends_nothing(place: Place) -> None:
    """The lease that runs live on is the agent's own: another agent's stream under the same producer id neither holds nor drops it."""
    user, started = UserKey(HERE, "leases"), Event(agent_started={})
    async with browser() as http, Page(http, place.edges[0], JSON_SUBPROTOCOL) as page, contextlib.AsyncExitStack() as stack:
        await page.hello(place.token(user), DEVICE)
        kept = await stack.enter_async_context(place.producer("here", "kept"))
        for other in ("beside", "there"):  # they hold the dying one's id
            await stack.enter_async_context(place.producer(other, "dying", 1))
        async with place.producer("here", "dying") as dying, place.producer("beside", "kept", 1) as passing:
            for producer, run in ((kept, "kept"), (dying, "dying"), (passing, "passing")):
                assert (await producer.answer(make_batch(user, producer.producer, run, 1, started))).position
        lost: set[str] = set()
        async with asyncio.timeout(limits.LEASE_S + limits.SWEEP_S):
            while lost < {"dying", "passing"}:
                await page.events(len(page.got) + 1)
                lost = {event.run_id for event in page.got if event.WhichOneof("kind") == "run_lost"}
        assert lost == {"dying", "passing"}
        assert (await kept.answer(make_batch(user, "kept", "kept", 2, Event(agent_completed={}), first=2))).position


async def test_a_first_batch_under_another_agent_s_producer_id_is_not_taken_for_its_own(place: Place) -> None:
    """A run of one batch has no key: storage alone keeps two of them apart, and says whose it has."""
    user, run = UserKey(HERE, "first"), "guessed"
    async with place.producer("beside") as intruder, place.producer("here") as owner:
        forged = make_batch(user, PRODUCER, run, 1, Event(agent_started={}), Event(agent_completed={}))
        assert (await intruder.answer(forged)).position
        own = make_batch(user, PRODUCER, run, 1, Event(agent_started={"title": "own"}), Event(agent_completed={}))
        assert (await owner.answer(own)).code == "attempt_taken", "it would believe that its own events are stored"
        own = make_batch(user, PRODUCER, run, 1, Event(agent_started={"title": "own"}), Event(agent_completed={}), attempt=2)
        assert (await owner.answer(own)).position
        assert (await owner.answer(own)).duplicate


async def test_a_token_names_one_user_or_nobody(place: Place) -> None:
    good = UserKey(HERE, "x.a"), UserKey(THERE, "a"), UserKey(HERE, "a")
    confused: list[dict[str, Any]] = [
        {"org": value}
        for value in (
            [HERE],
            {"acme": 1},
            f"{HERE} ",
            f" {HERE}",
            f"{HERE}\x00",
            HERE.upper(),
            f"{HERE}.",
            f"{HERE},{THERE}",
            "",
            None,
            "*",
        )
    ]
    confused += [{"sub": value} for value in (["a"], {"id": "a"}, "", None, True, 1.5, 2**64, "\ud800", *hostile.TOO_LONG)]
    confused += [
        {"org.id": HERE, "org": None},
        {"tenant": HERE, "org": "globex"},
        {"iss": f"{ISS} "},
        {"aud": "runcast "},
        {"exp": 10**400},
    ]
    async with browser() as http:

        async def hello(token: str) -> tuple[Any, Page]:
            async with Page(http, place.edges[0], JSON_SUBPROTOCOL) as page:
                said = await page.hello(token, DEVICE)
                if isinstance(said, Error):
                    await page.ended()
                return said, page

        for user in good:
            welcome, _ = await hello(place.token(user))
            assert (welcome.tenant, welcome.user) == user
        answers = set()
        for claims in confused:
            error, page = await hello(place.token(good[0], **claims))
            assert isinstance(error, Error), claims
            answers.add((error.code, error.message, page.close_code))
        assert len(answers) == 1, answers
        assert answers.pop()[0] == "unauthenticated"


async def test_nobody_learns_who_exists(place: Place) -> None:
    """What is refused is refused in the same words and about as fast, whether the other user exists or not."""
    there, run = UserKey(HERE, "exists"), "exists"
    async with browser() as http, place.producer("here") as owner, Page(http, place.edges[0], JSON_SUBPROTOCOL) as page:
        await page.hello(place.token(there), DEVICE)
        await owner.answer(make_batch(there, PRODUCER, run, 1, *events_of("x")))
        await page.events(3)
        async with Runcast(place.cluster.router_addresses()[0], agent="a", tenant=THERE, token=place.keys["there"]) as stranger:
            await stranger.ready(5.0)
            texts = {there.user: set[str](), "is-not": set[str]()}
            took: dict[str, list[float]] = {name: [] for name in texts}
            for _ in range(25):
                for name, said in texts.items():
                    began = time.perf_counter()
                    with pytest.raises(RefusedError) as caught:
                        await stranger.is_online(name, tenant=HERE)
                    took[name].append(time.perf_counter() - began)
                    said.add(str(caught.value))
            assert texts[there.user] == texts["is-not"]
            assert len(texts["is-not"]) == 1
            assert same_class(*took.values())
        async with Page(http, place.edges[1], PROTO_SUBPROTOCOL) as stranger_page:
            await stranger_page.hello(place.token(UserKey(HERE, "stranger")), DEVICE)
            times: dict[str, list[float]] = {run: [], "is-not": []}
            for number in range(25):
                for name, spent in times.items():
                    began = time.perf_counter()
                    answer = await stranger_page.send(Send(f"{name}-{number}", "cancel", run_id=name))
                    spent.append(time.perf_counter() - began)
                    assert isinstance(answer, Sent)
                    assert not answer.duplicate
            assert same_class(*times.values())
        outcomes = set()
        for position in (page.positions[-1], str(parse_position(page.positions[-1])._replace(seq=10**9))):
            async with Page(http, place.edges[0], JSON_SUBPROTOCOL) as other:
                welcome = await other.hello(place.token(UserKey(HERE, "stranger-2")), DEVICE, position)
                assert isinstance(welcome, Welcome)
                outcomes.add((welcome.outcome, welcome.reason))
        assert len(outcomes) == 1, outcomes


def same_class(some: list[float], others: list[float]) -> bool:
    """Neither costs a question more: their medians differ by less than a half, or by less than a network's own noise."""
    one, other = statistics.median(some), statistics.median(others)
    return abs(one - other) < max(0.5 * max(one, other), 0.002)
