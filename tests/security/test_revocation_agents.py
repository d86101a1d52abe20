"""Agents that operators revoke or disconnect, by the admin service: out on all routers, others notice nothing; and who may do so."""

import asyncio
import contextlib
import time

import grpc.aio
import pytest

from runcast.client import RefusedError, Runcast
from runcast.v1 import admin_pb2 as pb
from runcast.v1.event_pb2 import User
from runcast.v1.inbox_pb2 import ReceiveRequest, WorkerHello
from runcast.v1.inbox_pb2_grpc import InboxServiceStub
from tests.security.office import FIRST, OPERATOR, OTHER, SECOND, VIEWER, Connected, Office, admin, bearer, code_of

pytestmark = [pytest.mark.timeout(90), pytest.mark.xdist_group("office")]
ACTS = bearer(OPERATOR.text)


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
        assert time.monotonic() - began < 1.0
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


async def test_who_was_revoked_before_its_hello_gets_nothing(office: Office) -> None:
    async with admin(office.cluster) as stub, grpc.aio.insecure_channel(office.cluster.router_addresses()[0]) as channel:
        inbox = InboxServiceStub(channel)
        other, later = (inbox.Receive(metadata=bearer(FIRST.text)) for _ in range(2))
        await later.write(ReceiveRequest())
        assert await code_of(later.read()) == "hello_expected"  # so the one before it has been let in, too
        await stub.Revoke(pb.RevokeRequest(target=pb.Target(agent="twice")), metadata=ACTS)
        await other.write(ReceiveRequest(hello=WorkerHello(group="support", worker="w", in_flight_max=1)))
        assert await code_of(other.read()) == "revoked"
        assert (await stub.Lift(pb.LiftRequest(id="agent.twice"), metadata=ACTS)).found


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
        for each in listed:
            assert (await stub.Lift(pb.LiftRequest(id=each.id), metadata=ACTS)).found
