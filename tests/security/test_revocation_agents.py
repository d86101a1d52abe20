"""Agents that operators revoke or disconnect, by the admin service: out on all routers, others notice nothing; and who may do so."""

import asyncio
import contextlib
import itertools
import re
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest

from runcast.client import RefusedError, Runcast, UnsentError
from runcast.v1 import admin_pb2 as pb
from runcast.v1.event_pb2 import Event, User
from runcast.v1.inbox_pb2 import ReceiveRequest, WorkerHello
from runcast.v1.inbox_pb2_grpc import InboxServiceStub
from runcast.wire import limits_client
from tests.delivery.routers import stored
from tests.security.office import FIRST, OPERATOR, OTHER, SECOND, VIEWER, Connected, Office, admin, bearer, code_of, key

pytestmark = [pytest.mark.timeout(90), pytest.mark.xdist_group("office")]
ACTS = bearer(OPERATOR.text)


@pytest.fixture(autouse=True)
async def nobody_is_kept_out(office: Office) -> AsyncIterator[None]:
    """At the end, whatever the test did."""
    yield
    async with admin(office.cluster) as stub:
        for each in (await stub.ListRevocations(pb.ListRevocationsRequest(), metadata=ACTS)).revocations:
            await stub.Lift(pb.LiftRequest(id=each.id), metadata=ACTS)


async def open_all(stack: contextlib.AsyncExitStack, *agents: Connected) -> None:
    for each in agents:
        await stack.enter_async_context(each)
        await each.runcast.ready(5.0)


async def known(stub: object, count: int) -> None:
    """Wait until the admin service knows of so many processes: it waits for their answers, then."""
    async with asyncio.timeout(10):
        while len((await stub.GetStatus(pb.GetStatusRequest(), metadata=ACTS)).processes) < count:  # type: ignore[attr-defined]  # noqa: ASYNC110
            await asyncio.sleep(0.1)


def workers_of(office: Office) -> int:
    """How many have been let in, so far."""
    return sum(router.log_path.read_text().count("worker_opened") for router in office.cluster.routers)


async def test_a_key_and_an_agent_are_out_on_all_routers(office: Office, user: str) -> None:
    routers = office.cluster.router_addresses()
    async with admin(office.cluster) as stub, contextlib.AsyncExitStack() as stack:
        await known(stub, 3)
        first = [Connected(address, FIRST.text) for address in routers]
        second, other = Connected(routers[0], SECOND.text), Connected(routers[1], OTHER.text)
        await open_all(stack, *first, second, other)
        before = workers_of(office)
        receiving = asyncio.create_task(anext(first[1].runcast.inbox("support")))
        async with asyncio.timeout(5):
            while workers_of(office) == before:  # noqa: ASYNC110 # another's log
                await asyncio.sleep(0.02)
        began = time.monotonic()
        revoke = pb.RevokeRequest(target=pb.Target(token_id=FIRST.kept.partition(":")[0]), reason="leaked", lasts_s=600)
        done = await stub.Revoke(revoke, metadata=ACTS)
        async with asyncio.timeout(5):
            for each in first:
                await each.ended.wait()
        assert time.monotonic() - began < 3.0  # a second at most, on a machine that is not busy
        with pytest.raises(RefusedError, match="leaked"):
            await receiving
        assert done.connections == 3
        assert (done.revocation.by, done.revocation.reason, done.revocation.until_new_token) == ("ops", "leaked", False)
        assert 590_000 < done.revocation.ends_at_ms - done.revocation.at_ms <= 600_000
        for each in first:
            with pytest.raises(RefusedError) as caught:
                await each.runcast.ready(5.0)
            assert caught.value.code.name == "revoked"
            with pytest.raises(RefusedError, match="revoked"):
                async with each.runcast.run(user=user):
                    pytest.fail("a run began")
        for address in routers:
            async with Connected(address, FIRST.text) as again:
                with pytest.raises(RefusedError, match="leaked"):
                    await again.runcast.ready(5.0)
        revoke.target.agent = "twice"
        assert (await stub.Revoke(revoke, metadata=ACTS)).connections == 1
        async with asyncio.timeout(5):
            await second.ended.wait()
        async with other.runcast.run(user=user) as run:
            await run.respond("goes on")
        assert other.runcast.stats().reconnects == 0
        listed = (await stub.ListRevocations(pb.ListRevocationsRequest(), metadata=bearer(VIEWER.text))).revocations
        assert [each.id for each in listed] == ["token.first", "agent.twice"]
        for each in listed:
            assert (await stub.Lift(pb.LiftRequest(id=each.id), metadata=ACTS)).found
            assert not (await stub.Lift(pb.LiftRequest(id=each.id), metadata=ACTS)).found
        async with Runcast(routers[0], agent="a", token=FIRST.text) as back, back.run(user=user) as run:
            await run.respond("back")


@pytest.mark.parametrize("let_in", [True, False])
async def test_the_readmes_agent_says_in_a_line_why_it_ends(office: Office, tmp_path: Path, let_in: bool) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    [text] = [text for text in re.findall(r"^```python\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE) if "rc.inbox" in text]
    token = FIRST.text if let_in else key("unknown").text
    text = text.replace("127.0.0.1:7400", office.cluster.router_addresses()[0]).replace('inbox("greeter")', 'inbox("support")')
    (tmp_path / "agent.py").write_text(text.replace('agent="greeter"', f'agent="greeter", token="{token}"'))
    before = workers_of(office)
    process = await asyncio.create_subprocess_exec(sys.executable, str(tmp_path / "agent.py"), stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    if let_in:
        async with asyncio.timeout(20):
            while workers_of(office) == before:  # noqa: ASYNC110 # another's log
                await asyncio.sleep(0.02)
        async with admin(office.cluster) as stub:
            await stub.Revoke(pb.RevokeRequest(target=pb.Target(agent="twice"), reason="leaked"), metadata=ACTS)
    said = (await asyncio.wait_for(process.stderr.read(), 30)).decode().splitlines()
    *before_it, last = said
    assert await process.wait() == 1
    assert last.startswith("greeter: revoked: " if let_in else "greeter: unauthenticated: ")
    assert ("leaked" if let_in else "get a valid one") in last
    assert all(re.fullmatch(r"(router|inbox) .* before it could be written to.*", line) for line in before_it), said  # gRPC lost the reason


async def test_who_was_revoked_before_its_hello_gets_nothing(office: Office) -> None:
    async with admin(office.cluster) as stub, grpc.aio.insecure_channel(office.cluster.router_addresses()[0]) as channel:
        inbox = InboxServiceStub(channel)
        other, later = (inbox.Receive(metadata=bearer(FIRST.text)) for _ in range(2))
        await later.write(ReceiveRequest())
        assert await code_of(later.read()) == "hello_expected"  # so the one before it has been let in, too
        await stub.Revoke(pb.RevokeRequest(target=pb.Target(agent="twice")), metadata=ACTS)
        with contextlib.suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):  # it may have been ended before it says so
            await other.write(ReceiveRequest(hello=WorkerHello(group="support", worker="w", in_flight_max=1)))
        assert await code_of(other.read()) == "revoked"


async def test_a_disconnected_agent_comes_back_and_loses_nothing(office: Office, user: str) -> None:
    async with admin(office.cluster) as stub, Runcast(office.cluster.router_addresses()[0], agent="a", token=FIRST.text) as agent:
        await known(stub, 3)
        async with agent.run(user=user) as run:
            await run.respond("before")
            await run.flush()
            done = await stub.Disconnect(pb.DisconnectRequest(target=pb.Target(agent="twice")), metadata=ACTS)
            assert (done.processes, done.connections) == (1, 1)
            await run.respond("after")
        assert agent.stats().reconnects == 1
        assert agent.stats().failed == 0


async def test_what_waits_in_a_revoked_agents_outbox_is_never_sent(office: Office, user: str) -> None:
    """Also when it is let in again: callers were told that it is not stored, and have said it elsewhere since, or given up."""
    before: list[int] = []
    with pytest.raises(UnsentError) as told:
        await revoke_and_let_in_again(office, user, before)
    (left,) = told.value.leftovers
    never = [number_of(event) for event in left.unsent]
    assert len(never) > 1000
    assert not set(never) & set(before), "called never sent, and is stored"
    unsure = [number_of(event) for event in left.unsure]
    assert sorted({*before, *unsure, *never}) == list(range(max(never) + 1)), "each is stored, or named"


async def revoke_and_let_in_again(office: Office, user: str, before: list[int]) -> None:
    """`before` gets what is stored; raises what the revoked agent's client says when it is left."""
    address = office.cluster.router_addresses()[0]
    async with admin(office.cluster) as stub, Connected(address, FIRST.text) as agent:
        await known(stub, 3)
        saying = asyncio.create_task(say_more_than_fits(agent.runcast, user))
        async with asyncio.timeout(20):
            while agent.runcast.stats().queued < limits_client.OUTBOX_EVENTS_MAX * 0.9:  # noqa: ASYNC110 # it tells nobody
                await asyncio.sleep(0.01)
        await stub.Revoke(pb.RevokeRequest(target=pb.Target(agent="twice"), reason="wild"), metadata=ACTS)
        async with asyncio.timeout(5):
            with pytest.raises(RefusedError) as caught:  # who waited for room does not wait any more
                await saying
        assert (caught.value.code.name, caught.value.code.retry, caught.value.code.definite) == ("revoked", False, True)
        before += await numbers(office, user)
        assert (await stub.Lift(pb.LiftRequest(id="agent.twice"), metadata=ACTS)).found
        async with Runcast(address, agent="a", token=FIRST.text) as again, again.run(user=user) as run:
            await run.respond("let in again")
        assert await numbers(office, user) == before
        assert agent.states[-1] == "closed"


async def say_more_than_fits(agent: Runcast, user: str) -> None:
    async with agent.run(user=user) as run:
        for number in itertools.count():
            await run.custom("number", number)


def number_of(event: Event) -> int:
    return int(event.custom.data_json) if event.custom.name == "number" else 0


async def numbers(office: Office, user: str) -> list[int]:
    """What is stored of what was said."""
    events = [event for batch in await stored(office.cluster, user) for event in batch.events]
    return [number_of(event) for event in events if event.custom.name == "number"]


async def test_who_may(office: Office) -> None:
    alice = pb.Target(user=User(tenant="acme", id="alice"))
    async with admin(office.cluster) as stub:
        calls = [
            (stub.Revoke, pb.RevokeRequest(target=alice)),
            (stub.Disconnect, pb.DisconnectRequest(target=alice)),
            (stub.Lift, pb.LiftRequest(id="user.acme.alice")),
        ]
        for call, request in calls:
            assert await code_of(call(request)) == "unauthenticated"
            assert await code_of(call(request, metadata=bearer(FIRST.text))) == "unauthenticated"
            assert await code_of(call(request, metadata=bearer(VIEWER.text))) == "permission_denied"
        assert not (await stub.ListRevocations(pb.ListRevocationsRequest(), metadata=bearer(VIEWER.text))).revocations
        nobody = [
            pb.Target(),
            pb.Target(user=User(tenant="acme")),
            pb.Target(token_id="x" * 129),
            pb.Target(device=pb.UserDevice(device="d")),
        ]
        for target in nobody:
            for call, request in ((stub.Revoke, pb.RevokeRequest(target=target)), (stub.Disconnect, pb.DisconnectRequest(target=target))):
                assert await code_of(call(request, metadata=ACTS)) in ("request_invalid", "id_invalid")
        for wrong in (
            pb.RevokeRequest(target=alice, reason="x" * 101),
            pb.RevokeRequest(target=alice, lasts_s=2**63),
            pb.RevokeRequest(target=pb.Target(agent="twice"), until_new_token=True),
        ):
            assert await code_of(stub.Revoke(wrong, metadata=ACTS)) == "request_invalid"
        revoked = (await stub.Revoke(pb.RevokeRequest(target=alice, until_new_token=True), metadata=ACTS)).revocation
        assert revoked.until_new_token
        assert revoked.ends_at_ms - revoked.at_ms == 90 * 86_400_000
        device = pb.Target(device=pb.UserDevice(user=User(tenant="acme", id="bob"), device="tab 1"))
        await stub.Revoke(pb.RevokeRequest(target=device), metadata=ACTS)
        listed = (await stub.ListRevocations(pb.ListRevocationsRequest(), metadata=ACTS)).revocations
        assert [(each.id, each.target) for each in listed] == [("user.acme.alice", alice), ("device.acme.bob.tab_201", device)]
