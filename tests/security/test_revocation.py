"""Whom operators revoke is out, everywhere and at once, and stays out; others notice nothing. Real processes."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from pytest_asyncio import fixture

from runcast.bus.revoking import Closed, Revoking
from runcast.testkit import Cluster
from runcast.testkit.plugin import DeviceFactory
from runcast.wire.errors import RuncastError
from runcast.wire.targets import make_target
from tests.delivery.test_users import MAIN, Door, start_edge, token
from tests.revoking import closed, operator, refused, user_target
from tests.unit.bus.identity.issuing import KeyServer, issuer, write

SOON_S = 1.0
"""What is promised."""
EDGES = ["edge-0", "edge-1"]
pytestmark = [pytest.mark.timeout(90), pytest.mark.xdist_group("revocation")]


@fixture
async def revoking(runcast_cluster: Cluster) -> AsyncIterator[Revoking]:
    async with operator(runcast_cluster.nats_url) as opened:
        yield opened


async def test_a_revoked_user_is_out_everywhere_within_a_second(
    runcast_cluster: Cluster, revoking: Revoking, device: DeviceFactory, user: str
) -> None:
    mine = [await device(edge=edge, device=f"d{edge}") for edge in (0, 1)]
    others = [await device(edge=edge, user=f"{user}-2") for edge in (0, 1)]
    began = time.monotonic()
    revocation, done = await revoking.revoke(user_target(user), by="me", reason="stolen laptop", expected=EDGES)
    assert time.monotonic() - began < SOON_S
    assert done == Closed(2, 2)
    assert [await closed(each) for each in mine] == [4506, 4506]
    assert time.monotonic() - began < SOON_S
    for edge in (0, 1):
        assert await refused(runcast_cluster, user, edge=edge) == 4506
        assert await refused(runcast_cluster, user, edge=edge, device="another") == 4506
    async with runcast_cluster.connect() as agent:
        async with agent.run(user=f"{user}-2") as run:
            await run.respond("you go on")
        async with agent.run(user=user) as run:  # agents may go on, nobody hears it
            await run.respond("secret")
    for other in others:
        await other.verify()
        assert other.connected, "it was never sent away, and does not come back by itself"
    assert [entry.revocation for entry in await revoking.all() if entry.revocation.target == user_target(user)] == [revocation]
    assert await revoking.lift(user_target(user).key, expected=EDGES)
    assert not await revoking.lift(user_target(user).key)
    began = time.monotonic()
    back = await device(edge=0)
    await back.wait_kind("agent_response")
    assert time.monotonic() - began < SOON_S


async def test_a_disconnected_user_comes_back(runcast_cluster: Cluster, revoking: Revoking, device: DeviceFactory, user: str) -> None:
    stays = await device(user=f"{user}-2")
    one, other = await device(device="tab"), await device(edge=1, device="phone", reconnect=True)
    assert await revoking.disconnect(make_target("device", "default", user, "tab"), expected=EDGES) == Closed(1, 1)
    assert await closed(one) == 4013
    assert other.connected
    done = await revoking.disconnect(user_target(user), reason="maintenance", expected=EDGES)
    assert done == Closed(1, 1)
    async with runcast_cluster.connect() as agent, agent.run(user=user) as run:
        await run.respond("after it")
    await other.verify()
    assert stays.connected
    assert await revoking.disconnect(user_target(f"{user}-3"), expected=EDGES) == Closed(0, 0)


async def test_a_user_who_was_away_does_not_catch_up(
    runcast_cluster: Cluster, revoking: Revoking, device: DeviceFactory, user: str
) -> None:
    first = await device()
    async with runcast_cluster.connect() as agent, agent.run(user=user) as run:
        await run.respond("before")
        await first.wait_kind("agent_response")
        position = first.position
        await first.close()
        await revoking.revoke(user_target(user), by="me", expected=EDGES)
        await run.respond("while it was away")
    for where in (position, "earliest", "latest", None):
        assert await refused(runcast_cluster, user, position=where, edge=0) == 4506


async def test_who_is_catching_up_gets_no_more(runcast_cluster: Cluster, revoking: Revoking, device: DeviceFactory, user: str) -> None:
    async with runcast_cluster.connect() as agent, agent.run(user=user) as run:
        for number in range(400):
            await run.custom("filler", {"number": number, "text": "x" * 8000})
        await run.flush()
    behind = await device(ack=False)  # its window is full, the rest waits in the log and in its socket
    await behind.wait_for(lambda event: event.HasField("custom"))
    await revoking.revoke(user_target(user), by="me", expected=EDGES)
    assert await closed(behind) == 4506
    assert sum(event.HasField("custom") for event in behind.events) < 400


async def test_wrong_orders_are_refused(revoking: Revoking, user: str) -> None:
    for options in ({"reason": "x" * 101}, {"lasts_s": 91 * 86_400.0}, {"lasts_s": -1.0}):
        with pytest.raises(RuncastError, match="request_invalid"):
            await revoking.revoke(user_target(user), by="me", **options)  # type: ignore[arg-type]
    with pytest.raises(RuncastError, match="request_invalid"):
        await revoking.revoke(make_target("token", user), by="me", until_new_token=True)
    with pytest.raises(RuncastError, match="request_invalid"):
        await revoking.disconnect(user_target(user), reason="é" * 51)
    assert not [entry for entry in await revoking.all() if user in entry.revocation.target.names]
    for nobody in ("", "user", "user.default.*", ">", f"user.default.{user}"):
        assert not await revoking.lift(nobody)


async def test_it_ends_by_itself(runcast_cluster: Cluster, revoking: Revoking, device: DeviceFactory, user: str) -> None:
    await revoking.revoke(user_target(user), by="me", lasts_s=2.0, expected=EDGES)
    assert await refused(runcast_cluster, user, edge=0) == 4506
    async with asyncio.timeout(10):
        while [entry for entry in await revoking.all() if entry.revocation.target == user_target(user)]:  # noqa: ASYNC110 # its clock runs elsewhere
            await asyncio.sleep(0.1)
    await device(edge=1)


@pytest.fixture(scope="module")
def door(runcast_cluster: Cluster, _runcast_home: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """An edge that checks tokens."""
    auth_file = write(tmp_path_factory.mktemp("revocation"), issuer(**MAIN))
    environ = {"RUNCAST_AUTH": "jwt", "RUNCAST_AUTH_FILE": str(auth_file), "RUNCAST_ID": "door"}
    process, base = _runcast_home.run(lambda: start_edge(runcast_cluster, **environ))
    yield Door(base, process, auth_file, KeyServer())
    _runcast_home.run(process.stop)


async def test_one_token_is_taken_back_and_another_is_good(door: Door, revoking: Revoking, user: str) -> None:
    stolen, own = token(user, jti=f"{user}-stolen"), token(user, jti=f"{user}-own")
    async with door.device(stolen) as thief, door.device(own) as owner:
        await thief.frame("welcome")
        await owner.frame("welcome")
        ending = asyncio.create_task(thief.end())
        _, done = await revoking.revoke(make_target("token", f"{user}-stolen"), by="me", expected=["door"])
        assert done == Closed(1, 1)
        assert await ending == 4506
        await owner.say("refresh", token=token(user, jti=f"{user}-next"))
        await owner.say("ping")
        await owner.frame("pong")
        await owner.say("refresh", token=stolen)
        assert await owner.end() == 4506, "nor by a refresh"
    async with door.device(stolen) as thief:
        assert await thief.end() == 4506
        assert [frame["type"] for frame in thief.frames] == ["error"]
        assert thief.frames[0]["code"] == "revoked"
    async with door.device(own) as owner:
        await owner.frame("welcome")


async def test_until_a_new_token(door: Door, revoking: Revoking, user: str) -> None:
    old = token(user, iat=int(time.time()) - 5)
    async with door.device(old) as device:
        await device.frame("welcome")
        ending = asyncio.create_task(device.end())
        await revoking.revoke(user_target(user), by="me", until_new_token=True, expected=["door"])
        assert await ending == 4506
    for past in (old, token(user, iat=None)):
        async with door.device(past) as device:
            assert await device.end() == 4506
    async with door.device(token(user, iat=time.time())) as device:
        await device.frame("welcome")
        await device.say("refresh", token=old)
        assert await device.end() == 4506


async def test_who_tries_for_ever_is_logged_once(door: Door, revoking: Revoking, user: str) -> None:
    await revoking.revoke(user_target(user), by="me", expected=["door"])
    before = len(refusals(door))
    for _ in range(3):
        async with door.device(token(user)) as device:
            assert await device.end() == 4506
        async with door.device("rubbish") as device:
            assert await device.end() == 4501
    lines = refusals(door)
    assert len(lines) - before <= 2, lines
    assert {code for line in lines for code in ("revoked", "unauthenticated") if f"code={code}" in line} == {"revoked", "unauthenticated"}


def refusals(door: Door) -> list[str]:
    return [line for line in door.process.log_path.read_text().splitlines() if " refused " in line]
