"""Many users at once; and that what is wrong with one of them, or between them, is found."""

from dataclasses import replace

import pytest

from runcast.client import Run, Runcast
from runcast.testkit import UserDevice, VerificationError, verify_together
from runcast.testkit.history import Framed
from runcast.testkit.plugin import DeviceFactory, Stress


async def test_everybody_gets_theirs(runcast_stress: Stress) -> None:
    outcome = await runcast_stress(users=25, runs=4)
    verdict = outcome.verify(required=["tool_completed:lookup"] * 4, order=["agent_started", "agent_response", "agent_completed"])
    assert verdict.clean
    assert verdict.latency.count == outcome.events
    assert len(outcome.timings()) == 25
    assert len(outcome.table().splitlines()) == 26
    assert all(len(recording.runs) == 4 for recording in outcome.recordings)


async def test_work_and_agent_of_ones_own(runcast_stress: Stress, runcast_agent: Runcast) -> None:
    async def work(run: Run) -> None:
        await run.respond("Hello.", whole=True)

    outcome = await runcast_stress(users=3, runs=2, agent=runcast_agent, work=work)
    outcome.verify(quality=0.9)
    assert {recording.text() for recording in outcome.recordings} == {"Hello.Hello."}
    with pytest.raises(VerificationError, match="missing: tool_executing was required and never came"):
        outcome.verify(required=["tool_executing"])
    with pytest.raises(VerificationError, match=r"99 of 100 events took up to .* at most 0 ms was asked for\n\nuser "):
        outcome.verify(latency_p99_ms=0)
    first, second, *rest = outcome.recordings
    mixed = replace(second, received=[*second.received, *first.received])
    with pytest.raises(VerificationError, match="leaked: agent_started, seq 1 of run"):
        replace(outcome, recordings=[first, mixed, *rest]).verify()
    lossy = [
        replace_events(record) if isinstance(record, Framed) and record.user.endswith("user-1") else record for record in outcome.history
    ]
    with pytest.raises(VerificationError, match=r"(?s)the history is not clean.*frozen_runs: "):
        replace(outcome, history=lossy).verify()


def replace_events(record: Framed) -> Framed:
    """The frame without any end of a run."""
    kept = [event for event in record.events if event.kind != "agent_completed"]
    return Framed(t=record.t, user=record.user, device=record.device, prev=record.prev, pos=record.pos, events=kept, ms=record.ms)


async def test_devices_are_judged_together(runcast_agent: Runcast, runcast_user: UserDevice, runcast_device: DeviceFactory) -> None:
    phone, bob = await runcast_user.second("phone"), await runcast_device("bob")
    for user in ("alice", "bob"):
        await runcast_user.send_message("nobody", "t", "Which region?")
        async with runcast_agent.run(user=user, title="Sales") as run:
            await run.respond("The north.", whole=True)
    await phone.reconnect(abruptly=True)
    verdict = await verify_together(runcast_user, phone, bob)
    assert (verdict.clean, verdict.shown) == (True, 2 * 6 + 4)
    swapped = list(phone._seen)
    frames = [at for at, record in enumerate(swapped) if isinstance(record, Framed) and record.events]
    first = swapped[frames[0]]
    assert isinstance(first, Framed)
    first.events.clear()
    with pytest.raises(VerificationError, match=r"(?s)gaps_unannounced: .*\nwhat alice/d1 received\n.*agent_started +Sales"):
        await verify_together(runcast_user, phone, bob)
