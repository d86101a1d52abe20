"""Encryption at rest, through the whole system: what is planted is on NATS's disks without keys, not with them; and all of it arrives."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from runcast.bus.sealing import envelope
from runcast.testkit import Cluster
from runcast.testkit.device import Device
from runcast.v1.event_pb2 import Batch, Event, User
from runcast.v1.inbox_pb2 import CancelRequest, InboxMessage
from runcast.wire import limits_sealing, subjects
from runcast.wire.errors import RefusedError
from runcast.wire.frames import Error, Send
from runcast.wire.ids import UserKey
from runcast.wire.lifecycle import ends_run
from tests.delivery.routers import START, WORK, Producer, Worker, make_batch
from tests.security.sealed import PLAIN, SEALED, USUAL, Vault, make_envelope, on_disk, put, stored
from tests.unit.bus.sealing.keys import tenant

pytestmark = [pytest.mark.timeout(90), pytest.mark.xdist_group("at_rest")]

PLANTED = ("title", "thinking", "args", "result", "text", "question", "answer", "message", "data", "queued", "cancel", "parked")
STREAM = "RUNCAST_EV_0"


@pytest.fixture(scope="module")
def home(start_shared: Callable[..., Cluster], tmp_path_factory: pytest.TempPathFactory) -> Vault:
    """Where the module's tests meet."""
    return Vault(start_shared, tmp_path_factory.mktemp("vault"))


@pytest.fixture
async def vault(home: Vault) -> Vault:
    """With the usual keys file; its logs begin here."""
    await home.begin()
    return home


def canary(where: str, of: str) -> str:
    return f"canary-{where}-of-{of}"


async def until_end(device: Device, run_id: str) -> None:
    await device.wait_for(lambda event: event.run_id == run_id and ends_run(event))


async def tell_everything(cluster: Cluster, of: str, user: str) -> list[bytes]:
    """Say and send all that can be said and sent, with a canary in each; returns what a device saw."""
    device = Device(cluster.ws_url(0), cluster.token(user, of))
    async with device, cluster.connect(tenant=of) as rc:
        async with rc.run(user=user, title=canary("title", of)) as run:
            await run.thinking(canary("thinking", of))
            async with run.tool("search", args={"q": canary("args", of)}) as call:
                call.result = [canary("result", of)]
            await run.respond(canary("text", of))
            asking = asyncio.create_task(run.ask(canary("question", of), timeout_s=30))
            request = (await device.wait_kind("input_requested")).input_requested.request_id
            assert not (await device.answer(run.id, request, canary("answer", of), id="a-1")).duplicate
            assert (await device.answer(run.id, request, canary("answer", of), id="a-1")).duplicate
            assert await asking == canary("answer", of)
        for duplicate in (False, True):  # sealed anew it has other bytes; it is known by its id
            sent = await device.send_message("nobody", "t", canary("message", of), data=canary("data", of), id="m-1")
            assert sent.duplicate is duplicate
        await device.answer("r", "q", canary("queued", of), group="nobody")
        async with rc.run(user=user) as stopped:
            await stopped.flush()
            await device.cancel(stopped.id, canary("cancel", of))
            await asyncio.Event().wait()
        assert stopped.cancel_reason == canary("cancel", of)
        await until_end(device, stopped.id)
        await device.send_message("poison", "t", canary("parked", of), id="m-2")
        return [event.SerializeToString(deterministic=True) for event in device.events]


async def read_again(cluster: Cluster, of: str, user: str, count: int, **options: Any) -> list[bytes]:
    async with Device(cluster.ws_url(0), cluster.token(user, of), device="again", position="earliest", **options) as device:
        events = await device.wait_count(count)
        assert device.welcome is not None
        return [event.SerializeToString(deterministic=True) for event in events]


async def park(vault: Vault) -> None:
    """Let a group's messages take down every worker that gets them, until they are put aside."""
    async with asyncio.timeout(30):
        while vault.log().count("message_parked") < 2:
            async with Worker(vault.cluster.routers[0].address, "poison") as worker:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.5):
                        await worker.take()


async def test_nothing_of_a_tenant_with_keys_is_on_disk_and_all_of_it_arrives(vault: Vault, user: str) -> None:
    cluster = vault.cluster
    dead = make_batch(user, 1, 1, START, WORK, run_id="dead", producer=f"{user}-dead")
    for event in dead.events:
        event.thread = canary("lost", SEALED)  # what the router itself writes of it says so too
    async with Producer(cluster.routers[0].address, f"{user}-dead") as producer, Producer(cluster.routers[0].address, "other") as other:
        await producer.store(dead)
        assert (await producer.store(dead))[0].duplicate
        dead.producer = "other"
        assert (await other.refused(dead)).code == "attempt_taken", "the router reads whose the stored one is"
    seen = {of: await tell_everything(cluster, of, user) for of in (SEALED, PLAIN)}
    await park(vault)
    async with Device(cluster.ws_url(0), cluster.token(user), device="d2", position="earliest") as device:
        await until_end(device, "dead")
        assert [event.WhichOneof("kind") for event in device.events if event.run_id == "dead"] == [START, WORK, "run_lost"]
        seen[SEALED] = [event.SerializeToString(deterministic=True) for event in device.events]
    everything = [canary(where, of) for where in (*PLANTED, "lost") for of in (SEALED, PLAIN)]
    async with cluster.nats_restarted():
        assert on_disk(cluster, *everything) == {canary(where, PLAIN) for where in PLANTED}
    for of in (SEALED, PLAIN):
        assert await read_again(cluster, of, user, len(seen[of])) == seen[of]
        async with cluster.connect(tenant=of) as rc:
            message = await anext(inbox := rc.inbox("nobody"))
            # Both tenants' messages are in the group: each arrives as it was sent.
            assert (message.text, message.data) == (canary("message", message.tenant), canary("data", message.tenant))
            await message.ack()
            await inbox.aclose()
    for of in (SEALED, PLAIN):
        async with Device(cluster.ws_url(0), cluster.token(user, of), device="s", snapshot=True) as device:
            assert device.welcome is not None
            assert device.welcome.outcome == "snapshot"
            await device.wait_for(lambda event, of=of: canary("text", of) == event.agent_response.text)
    assert await vault.health() == vault.health_before, "nothing did not open"
    assert "canary" not in vault.log() + vault.log("edge")


async def test_without_keys_all_of_it_is_on_disk(runcast_cluster: Cluster, user: str) -> None:
    """What the test above could not find is what this one finds."""
    await tell_everything(runcast_cluster, SEALED, user)
    everything = {canary(where, SEALED) for where in PLANTED}
    async with runcast_cluster.nats_restarted():
        assert on_disk(runcast_cluster, *everything) == everything


async def test_keys_change_in_the_middle_of_a_run(vault: Vault, user: str) -> None:
    cluster = vault.cluster
    async with Device(cluster.ws_url(0), cluster.token(user)) as device, cluster.connect() as rc:
        async with rc.run(user=user) as run:
            await run.respond("before")
            await run.flush()
            await vault.use(tenant(SEALED, "k2", "k1", "k2"))
            await run.respond("after")
        await until_end(device, run.id)
        seen = [event.SerializeToString(deterministic=True) for event in device.events]
    assert await read_again(cluster, SEALED, user, len(seen)) == seen
    found = await stored(cluster, STREAM, subjects.event_subject(UserKey(SEALED, user), 0))
    assert {envelope.read(data).key_id for data in found} == {"k1", "k2"}
    assert await vault.health() == vault.health_before, "nothing did not open"


async def emit(cluster: Cluster, user: str, text: str) -> None:
    async with cluster.connect() as rc, rc.run(user=user) as run:
        await run.respond(text)


def texts(device: Device) -> list[str]:
    return [event.agent_response.text for event in device.events if event.agent_response.text]


def retry_after_of(device: Device) -> float:
    """What the error before its close said, seconds; errors go ahead of what else is on the way."""
    (error,) = (frame for frame in device.frames if isinstance(frame, Error))
    return error.retry_after_ms / 1000


def told(user: str, text: str, run_id: str) -> bytes:
    """A batch of a run, as it is before it is sealed."""
    batch = Batch(user=User(tenant=SEALED, id=user), producer="p", run_id=run_id, attempt=1, number=1)
    batch.events.append(Event(id=f"{run_id}.1.1", run_id=run_id, attempt=1, seq=1))
    batch.events[0].agent_response.text = text
    return batch.SerializeToString()


async def comes_back_with_a_reset(cluster: Cluster, user: str, live: Device, newest: str) -> None:
    """A device that was there, and one that reads from the beginning, are both told that something is missing, and go on behind it."""
    await live.wait_for(lambda event: event.agent_response.text == newest, start=0)
    assert live.welcome is not None
    assert (live.welcome.outcome, live.welcome.reason) == ("reset", "unreadable")
    late = Device(cluster.ws_url(0), cluster.token(user), device="late", position="earliest", reconnect=True)
    async with late:
        await late.wait_for(lambda event: event.agent_response.text == newest, start=0)
        assert late.welcome is not None
        assert (late.welcome.outcome, late.welcome.reason) == ("reset", "unreadable")
        assert "lost" not in texts(late)


async def read_by_pages(cluster: Cluster, user: str) -> tuple[list[str], list[int]]:
    """What a reader of pages gets, and how it is answered on the way."""
    said, answers, offset = [], [], "-1"
    headers = {"Authorization": f"Bearer {cluster.token(user)}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        while True:
            async with session.get(f"{cluster.edges[0].http_url}/v1/stream", params={"offset": offset}) as response:
                answers.append(response.status)
                page, offset = await response.json(), response.headers["Stream-Next-Offset"]
            said += [text for event in page if (text := event.get("data", {}).get("text"))] if response.status == 200 else []
            if "Stream-Up-To-Date" in response.headers:
                return said, answers


REASONS = {
    "its key was removed": "its key is not in the keys file here (k0)",
    "it was changed": "it was changed or moved, or its key is another one here (k1)",
    "it was another user's": "it was changed or moved, or its key is another one here (k1)",
    "it was not sealed": "it is in plain text, which the keys file refuses for this tenant",
}
"""What health says, by what happened."""


@pytest.mark.parametrize("how", REASONS)
async def test_what_does_not_open_is_told(vault: Vault, user: str, how: str) -> None:
    cluster = vault.cluster
    owner = UserKey(SEALED, user)
    subject = subjects.event_subject(owner, 0)
    data = make_envelope(owner, subject, told(user, "lost", "x"), "k1")
    if how == "its key was removed":
        data = make_envelope(owner, subject, told(user, "lost", "x"), "k0", age_s=600)
    elif how == "it was changed":
        data = data[:-1] + bytes([data[-1] ^ 1])
    elif how == "it was not sealed":
        data = told(user, "lost", "x")
    else:
        await emit(cluster, f"{user}-2", "lost")
        data = (await stored(cluster, STREAM, subjects.event_subject(UserKey(SEALED, f"{user}-2"), 0)))[-1]
    async with Device(cluster.ws_url(0), cluster.token(user), reconnect=True) as live:
        await emit(cluster, user, "before")
        await live.wait_for(lambda event: event.agent_response.text == "before")
        await put(cluster, subject, data)
        await put(cluster, subject, data)
        await emit(cluster, user, "after")
        await comes_back_with_a_reset(cluster, user, live, "after")
    assert "lost" not in texts(live)
    assert await read_by_pages(cluster, user) == (["before", "after"], [200, 410, 200]), "never passed over without a word"
    health = await vault.health()
    assert health["state"] == "degraded"
    assert health["reason"].endswith(f"can't be opened: {REASONS[how]}")
    assert vault.log("edge").count(" unreadable ") <= 1, "said once for each key"
    assert REASONS[how].partition(" (")[0] in vault.whole_log("edge")
    async with Device(cluster.ws_url(0), cluster.token(user), device="strict", position="earliest") as strict:
        assert await strict.wait_closed() == 4014
        assert retry_after_of(strict) == 0, "it need not wait to be told that it is lost"
        assert texts(strict) == ["before"], "what comes before it is given"


async def test_a_key_that_comes_late_costs_nothing(vault: Vault, user: str) -> None:
    """As when a router has the new keys file before the edge has it."""
    cluster = vault.cluster
    owner, group = UserKey(SEALED, user), f"g-{user}"
    subject, inbox = subjects.event_subject(owner, 0), subjects.inbox_subject(group, owner, 0)
    message = InboxMessage(id="m", user=User(tenant=SEALED, id=user), group=group)
    message.text.text = "late too"
    async with Device(cluster.ws_url(0), cluster.token(user), reconnect=True) as live:
        await emit(cluster, user, "before")
        await live.wait_for(lambda event: event.agent_response.text == "before")
        await put(cluster, subject, make_envelope(owner, subject, told(user, "late", "x"), "k2"))
        await put(cluster, inbox, make_envelope(owner, inbox, message.SerializeToString(), "k2"))
        await vault.said("unreadable", role="edge")
        async with Device(cluster.ws_url(0), cluster.token(user), device="strict", position="earliest") as strict:
            assert await strict.wait_closed() == 4014
            assert retry_after_of(strict) == limits_sealing.KEYS_FILE_CHECK_S, "before that its key can't be here"
        async with Worker(cluster.routers[0].address, group) as worker:
            taking = asyncio.create_task(worker.take())
            await vault.said("unreadable")
            await vault.use(tenant(SEALED, "k2", "k1", "k2"))
            await live.wait_for(lambda event: event.agent_response.text == "late", start=0)
            assert (await taking).message.text.text == "late too"
    assert texts(live) == ["before", "late"]
    assert live.welcome is not None
    assert live.welcome.outcome == "resumed"
    assert await vault.health() == vault.health_before, "nothing did not open"


async def test_what_users_sent_and_nobody_can_open(vault: Vault, user: str) -> None:
    """A message is put aside as it is, with the reason; a cancel stops its run all the same."""
    cluster = vault.cluster
    owner, group = UserKey(SEALED, user), f"g-{user}"
    inbox = subjects.inbox_subject(group, owner, 0)
    sealed = make_envelope(owner, inbox, InboxMessage(id="m").SerializeToString(), "k0", age_s=600)
    await put(cluster, inbox, sealed)
    async with Worker(cluster.routers[0].address, group):
        await vault.said("message_parked")
    assert "its key is not in the keys file here" in vault.log()
    assert await stored(cluster, subjects.PARKED_STREAM, subjects.parked_subject(inbox)) == [sealed]
    async with asyncio.timeout(20), cluster.connect() as rc, asyncio.TaskGroup() as group, rc.run(user=user) as run:
        await run.flush()
        key = subjects.kv_subject(subjects.RUNS_BUCKET, subjects.cancel_key(owner, 0, run.id))
        cancel = make_envelope(owner, key, CancelRequest(reason="why").SerializeToString(), "k0")
        # In a task of its own: nats-py, which closes its connection then, would swallow the cancellation of the run's.
        group.create_task(put(cluster, key, cancel, **{"Nats-TTL": "60"}))
        await asyncio.Event().wait()
    assert run.cancelled
    assert run.cancel_reason == ""


async def test_a_run_is_not_called_lost_while_its_end_may_be_behind_a_missing_key(vault: Vault, user: str) -> None:
    cluster = vault.cluster
    owner = UserKey(SEALED, user)
    subject = subjects.event_subject(owner, 0)
    async with Producer(cluster.routers[0].address, user) as producer:
        await producer.store(make_batch(user, 1, 1, START, producer=user), make_batch(user, 1, 1, START, producer=user, run_id="open"))
        ended = make_batch(user, 2, 2, "agent_completed", producer=user)
        await put(cluster, subject, make_envelope(owner, subject, ended.SerializeToString(), "k0", age_s=600))
    await vault.said("lost_runs_not_settled")
    await vault.use(tenant(SEALED, "k1", "k0", "k1"))
    async with Device(cluster.ws_url(0), cluster.token(user), position="earliest") as device:
        await until_end(device, "open")
    assert [event.WhichOneof("kind") for event in device.events if event.run_id == "r"] == [START, "agent_completed"]


async def test_nothing_is_stored_of_a_tenant_that_must_have_a_key_and_has_none(vault: Vault, user: str) -> None:
    cluster = vault.cluster
    await vault.use('unlisted = "refuse"', USUAL)
    async with Device(cluster.ws_url(0), cluster.token(user, PLAIN)) as device, cluster.connect(tenant=PLAIN) as rc:
        for frame in (Send("m-1", "message", "g", "t", "hello"), Send("c-1", "cancel", run_id="r", reason="x")):
            with pytest.raises(RefusedError) as caught:
                await device.send(frame)
            assert (caught.value.code.name, caught.value.code.retry, caught.value.code.definite) == ("key_missing", True, True)
        async with rc.run(user=user) as run:
            await run.respond("kept until there is a key")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await run.flush()
                    pytest.fail("stored without a key")
            await vault.use('unlisted = "refuse"', USUAL, tenant(PLAIN, "g1"))
        await until_end(device, run.id)
    assert texts(device) == ["kept until there is a key"]
