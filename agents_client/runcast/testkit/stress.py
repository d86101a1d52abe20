"""Many users at once, each with runs of their own: does everybody get theirs, and how quickly?

Each user has a device on one of the edges; their runs come one after the other, all users' at once. What every device received is judged
like any other recording, and all together by the checker of `runcast verify`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from runcast.client import Run, Runcast
from runcast.testkit.cluster import Cluster
from runcast.testkit.history import AnyRecord
from runcast.testkit.recording import Recording
from runcast.testkit.sightings import to_history
from runcast.testkit.user_device import UserDevice, caught_up
from runcast.testkit.verdict import Spread, Verdict
from runcast.testkit.verification import VerificationError, check_history, inspect, raise_violations
from runcast.testkit.waits import Timing, report, table
from runcast.wire.lifecycle import ends_run

Work = Callable[[Run], Awaitable[object]]
"""What an agent does within a run."""
WAIT_S: Final = 30.0
"""From the last run's end until every device must have got all of it."""


@dataclass(frozen=True, slots=True)
class StressOutcome:
    """What came of it.

    Attributes:
        recordings: what each device received.
        history: the same, for the checker.
        seconds: from the first run's beginning to the last one's end.
    """

    recordings: list[Recording]
    history: list[AnyRecord]
    seconds: float

    @property
    def events(self) -> int:
        """Received by all devices together."""
        return sum(len(recording.received) for recording in self.recordings)

    def timings(self) -> list[Timing]:
        """Everybody's timing, who had to wait longest first."""
        return report(self.recordings)

    def table(self) -> str:
        """The same, for people."""
        return "\n".join(table(self.timings()))

    def verify(self, *, latency_p99_ms: float | None = None, **asked: Any) -> Verdict:
        """Judge every recording, and all of them together.

        Args:
            latency_p99_ms: the most that the 99th percentile of all latencies, agent to device, may be.
            **asked: as for `runcast.testkit.inspect`.

        Returns:
            The checker's verdict; its `latency` is that of all events.

        Raises:
            VerificationError: something is wrong.
        """
        __tracebackhide__ = True
        owners = {name: recording for recording in self.recordings for name in recording.runs}
        for recording in self.recordings:
            strangers = [owners[name] for name in recording.runs if owners[name].user != recording.user]
            raise_violations(recording, inspect(recording, others=strangers, **asked))
        verdict = check_history(self.history)
        _check_latency(verdict.latency, latency_p99_ms, self)
        return verdict


def _check_latency(latency: Spread, at_most_ms: float | None, outcome: StressOutcome) -> None:
    __tracebackhide__ = True
    if at_most_ms is not None and latency.p99 > at_most_ms:
        text = f"99 of 100 events took up to {latency.p99:.1f} ms from the agent to the device; at most {at_most_ms:g} ms was asked for"
        raise VerificationError(f"{text}\n\n{outcome.table()}", {})


async def stress(
    cluster: Cluster, *, users: int = 25, runs: int = 4, tenant: str = "default", agent: Runcast | None = None, work: Work | None = None
) -> StressOutcome:
    """Have an agent do runs for many users, and watch what each of them gets.

    Args:
        cluster: where.
        users: how many.
        runs: of each user, one after the other.
        tenant: of the users.
        agent: its client, of the same tenant; None for one of its own.
        work: what is done within a run; None for thinking, a tool call, text and an end.

    Returns:
        What came of it; `verify` judges it.

    Raises:
        RuncastError: the agent could not do its runs.
    """
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        edges = len(cluster.ws_urls())
        devices = [
            UserDevice(cluster, f"user-{number}", tenant=tenant, edge=number % edges, http=http, position="latest")
            for number in range(users)
        ]
        try:
            async with asyncio.TaskGroup() as group:
                for device in devices:
                    group.create_task(device.connect())
            if agent is not None:
                seconds = await _perform(agent, devices, runs, work or full_sequence)
            else:
                async with cluster.connect(agent="stress", tenant=tenant) as own:
                    await own.ready()
                    seconds = await _perform(own, devices, runs, work or full_sequence)
            async with asyncio.TaskGroup() as group:
                for device in devices:
                    group.create_task(_wait_runs(device, runs))
            await caught_up(devices)
            history = to_history([device.sighting() for device in devices], time.monotonic())
            return StressOutcome([device.recording() for device in devices], history, seconds)
        finally:
            for device in devices:
                await device.close()


async def full_sequence(run: Run) -> None:
    """What a typical run does: thinking, a tool call, text in pieces, an end."""
    await run.thinking("Looking it up", progress=0.2)
    async with run.tool("lookup", args={"q": "sales"}, purpose="to know the numbers") as tool:
        tool.result = {"rows": 3}
    await run.thinking("Writing the answer", progress=0.8)
    for word in ("The ", "north ", "sold ", "most."):
        await run.respond(word)
    await run.complete("answered")


async def _perform(agent: Runcast, devices: list[UserDevice], runs: int, work: Work) -> float:
    async def serve(device: UserDevice) -> None:
        for number in range(runs):
            async with agent.run(user=device.user, title=f"Question {number + 1}") as run:
                await work(run)

    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for device in devices:
            group.create_task(serve(device))
    return time.monotonic() - began


async def _wait_runs(device: UserDevice, runs: int) -> None:
    """Wait until a device got the ends of so many runs; what is missing after `WAIT_S`, the verdict says."""
    ended: set[str] = set()
    at = 0

    def over() -> bool:
        nonlocal at
        ended.update(event.run_id for event in (received.event for received in device.received[at:]) if ends_run(event))
        at = len(device.received)
        return len(ended) >= runs

    if not over():
        try:
            await device.wait_for(lambda _: over(), WAIT_S, start=at)
        except TimeoutError:
            return
