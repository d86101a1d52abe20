"""A trial: a real cluster under load and faults, written down as a history, and judged.

The order: the cluster with a proxy on every line, agents, devices; the load with the faults of the seed's schedule; everything healed;
nothing new is sent, and it is waited, for `SETTLE_S` at most, until the checker has nothing to complain of that time could heal; a last
device per user reads everything from the beginning; what was put aside is read; `Settled`; agents end; the verdict.
"""

import asyncio
import contextlib
import functools
import os
import random
import signal
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import nats

from runcast.testkit.calm import DRAIN
from runcast.testkit.chaos import start_again
from runcast.testkit.checker import check
from runcast.testkit.cluster import Cluster
from runcast.testkit.crowd import Member
from runcast.testkit.faults import KINDS, Fault, schedule
from runcast.testkit.history import AnyRecord, Framed, Injected, Settled, from_lines
from runcast.testkit.mutes import stay_mute
from runcast.testkit.parked import ParkedReader
from runcast.testkit.pending import Pending
from runcast.testkit.processes import Process
from runcast.testkit.proxy import Proxy
from runcast.testkit.verdict import Verdict
from runcast.wire import limits

SETTLE_S: Final = 30.0
"""From the last fault's healing until everything owed must have been delivered: above the lease, a redelivery and the slow round."""
LATE_S: Final = 5.0
"""For the last devices to come, and at least for what they read."""
QUIET_S: Final = 1.0
"""So long no device gets anything before it is asked whether all is well."""
AGENTS: Final = 3
POISONED: Final = 12
"""Of so many users one (and at least one) sends poison, first thing: it takes 15 s until it is put aside."""
KINDS_OF_DEVICES: Final = ("steady", "restless", "page", "slow")
DRAIN_S: Final = limits.DRAIN_S + 3.0
"""A process that was asked to end and has not by then is killed, and did not end well."""
SHARDS: Final = 4
DELAY_S: Final = 0.15
THROTTLE_BYTES_PER_S: Final = 20_000
_AGENT_END_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class TrialSettings:
    """What a trial is.

    Attributes:
        seed: of the faults, and of what agents and devices do.
        duration_s: of the load.
        users: how many.
        edges: how many edge processes.
        routers: how many router processes.
        nats: how many nats-servers, 1 or 3.
        kinds: of faults, of `faults.KINDS`.
    """

    seed: int = 1
    duration_s: float = 60.0
    users: int = 40
    edges: int = 3
    routers: int = 2
    nats: int = 1
    kinds: tuple[str, ...] = KINDS


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a trial.

    Attributes:
        verdict: the checker's.
        history: all records.
        schedule: the faults as they were planned.
        settle_s: how long it took until all was quiet.
    """

    verdict: Verdict
    history: list[AnyRecord]
    schedule: tuple[Fault, ...]
    settle_s: float


async def run_trial(settings: TrialSettings, say: Callable[[str], None] = lambda _: None, *, keep_logs: Path | None = None) -> Outcome:
    """Run one trial.

    Args:
        settings: what it is.
        say: told what happens, a line at a time.
        keep_logs: a folder to which the processes' logs are copied at the end.

    Raises:
        ValueError: settings that make no sense.
        ProcessError, NatsServerMissingError, PortTakenError: the cluster did not start, or a part of it not again.
    """
    trial = _Trial(settings, say)
    environ = {"RUNCAST_LOG_LEVEL": "info"}
    async with Cluster(
        routers=settings.routers, edges=settings.edges, nats_servers=settings.nats, proxied=True, shards=SHARDS, environ=environ
    ) as cluster:
        try:
            return await trial.run(cluster)
        finally:
            if keep_logs is not None:
                await asyncio.to_thread(_copy_logs, cluster.directory, keep_logs)


class _Trial:
    """One trial's state."""

    def __init__(self, settings: TrialSettings, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._say = say
        self._rng = random.Random(settings.seed)  # noqa: S311 # what devices do, not a secret
        self._records: list[AnyRecord] = []
        self._pending = Pending()
        self._read: dict[Path, int] = {}  # of each agent's log, bytes
        self._moved_at = 0.0
        self._agents: list[Process] = []
        self._logs: list[Path] = []
        self._members: list[Member] = []
        self._calm = asyncio.Event()
        self._one_at_a_time: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        # Ids with everything that means something to NATS: nobody may see another one's stream for it.
        self._users = [f"u{n}" + ("", ".*", ".>", " x")[n % 4] for n in range(settings.users)]
        self.plan = schedule(
            settings.seed,
            settings.duration_s,
            settings.kinds,
            edges=settings.edges,
            routers=settings.routers,
            nats=settings.nats,
            agents=AGENTS,
        )

    async def run(self, cluster: Cluster) -> Outcome:
        settings = self._settings
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            await self._start_agents(cluster)
            make = functools.partial(self._make_member, cluster, http)
            self._members = [make(user, kind) for user in self._users for kind in KINDS_OF_DEVICES]
            mute = functools.partial(self._be_silent, cluster, http)
            try:
                self._say(f"load for {settings.duration_s:g} s: {len(self._members)} devices of {len(self._users)} users, {AGENTS} agents")
                async with asyncio.TaskGroup() as tasks:
                    for member in self._members:
                        tasks.create_task(member.live(self._calm, self._members))
                    began = time.monotonic()
                    async with asyncio.TaskGroup() as faults:
                        for fault in self.plan:
                            faults.create_task(self._inject(cluster, fault, began, mute))
                    await asyncio.sleep(max(began + settings.duration_s - time.monotonic(), 0.0))
                    self._calm.set()
                    for agent in self._agents:
                        os.kill(agent.pid, signal.SIGUSR1)
                self._say("calm; waiting until all is delivered")
                settle_s = await self._settle(cluster, make)
                for agent in self._agents:
                    await agent.stop(bound_s=_AGENT_END_S)
            finally:
                for member in self._members:
                    with contextlib.suppress(Exception):  # whatever it failed with failed the trial before
                        await member.device.close()
        self._read_logs()
        verdict = await asyncio.to_thread(check, self._records)
        return Outcome(verdict, self._records, self.plan, settle_s)

    def _make_member(self, cluster: Cluster, http: aiohttp.ClientSession, user: str, kind: str) -> Member:
        rng = random.Random(self._rng.random())  # noqa: S311 # what it does, not a secret
        poison = kind == "steady" and user in self._users[-max(len(self._users) // POISONED, 1) :]
        return Member(user, kind, cluster.ws_urls(), cluster.token(user), self._write, rng, http, poison=poison)

    def _write(self, record: AnyRecord) -> None:
        self._records.append(record)
        self._pending.take(record)
        if isinstance(record, Framed) and record.events:
            self._moved_at = record.t

    # --- agents ---

    async def _start_agents(self, cluster: Cluster) -> None:
        for index in range(AGENTS):
            name = f"agent-{index}"
            log = cluster.directory / f"{name}.jsonl"
            self._logs.append(log)
            arguments = ["-m", "runcast.testkit.trial_agent", "--name", name, "--log", str(log)]
            arguments += ["--routers", ",".join(cluster.router_addresses()), "--users", "\n".join(self._users)]
            arguments += ["--seed", str(self._settings.seed * 100 + index), "--lanes", str(max(self._settings.users // 12, 1))]
            self._agents.append(await cluster.add(name, arguments, ready="^ready agent"))

    def _read_logs(self) -> None:
        """Take in what agents have written since the last time."""
        for log in self._logs:
            with log.open("rb") as file:
                file.seek(self._read.get(log, 0))
                new, newline, _ = file.read().rpartition(b"\n")
            self._read[log] = self._read.get(log, 0) + len(new) + len(newline)
            for record in from_lines(new.split(b"\n")):
                self._write(record)

    # --- faults ---

    async def _inject(self, cluster: Cluster, fault: Fault, began: float, mute: Callable[[Fault], Awaitable[None]]) -> None:
        await asyncio.sleep(max(began + fault.at_s - time.monotonic(), 0.0))
        at = time.monotonic()
        target, status = fault.target, 0
        if fault.kind == "silent":
            await mute(fault)
        elif ">" in target:
            lines = _lines(cluster, target)
            _break(lines, fault.what)
            await asyncio.sleep(fault.lasts_s)
            for line in lines:
                line.heal()
        else:
            process = await self._find(cluster, target)
            target = process.name
            async with self._one_at_a_time[target]:
                at = time.monotonic()
                status = await _hurt(process, fault)
        healed = time.monotonic()
        self._write(Injected(t=at, kind=fault.kind, target=target, healed=healed, what=fault.what, status=status))
        self._say(f"{at - began:6.1f} s  {fault.kind:<10} {target:<16} {fault.what:<10} for {healed - at:.1f} s")

    async def _be_silent(self, cluster: Cluster, http: aiohttp.ClientSession, fault: Fault) -> None:
        edge = int(fault.target.rpartition("-")[2])
        tokens = [cluster.token(user) for user in self._users]
        await stay_mute(cluster.ws_urls()[edge], tokens, fault.what, fault.lasts_s, http, self._rng)

    async def _find(self, cluster: Cluster, target: str) -> Process:
        if target == "leader":
            stream = f"RUNCAST_EV_{self._rng.randrange(SHARDS)}"
            return await cluster.stream_leader(stream) or cluster.nats_servers[0]
        if target == "nats-0":
            return cluster.nats_servers[0]
        return next(process for process in cluster.processes if process.name == target)

    # --- the end ---

    async def _settle(self, cluster: Cluster, make: Callable[[str, str], Member]) -> float:
        """Wait until everything owed is delivered, or has had its time."""
        began = time.monotonic()
        client = await nats.connect(servers=cluster.nats_url.split(","), max_reconnect_attempts=-1)
        try:
            await self._wait_settled(began, ParkedReader(client), make)
        finally:
            await client.close()
        return time.monotonic() - began

    async def _wait_settled(self, began: float, parked: ParkedReader, make: Callable[[str, str], Member]) -> None:
        await self._until_quiet(began + SETTLE_S, parked)
        late = [make(user, "late") for user in self._users]
        self._members += late
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LATE_S), asyncio.TaskGroup() as tasks:
                for member in late:
                    tasks.create_task(member.connect())
        left = await self._until_quiet(max(began + SETTLE_S, time.monotonic() + LATE_S), parked)
        if left:
            self._say(f"not settled in {SETTLE_S:g} s: {left}")
        self._write(Settled(t=time.monotonic(), devices=self._owed()))

    def _owed(self) -> list[tuple[str, str]]:
        return [(member.user, member.kind) for member in self._members]

    async def _until_quiet(self, until: float, parked: ParkedReader) -> str:
        """Wait until nothing is left to wait for and nothing has moved for `QUIET_S`; returns what is left."""
        while True:
            for member in self._members:
                if member.kind == "slow":
                    await member.acknowledge()
            self._read_logs()
            for record in await parked.read():
                self._write(record)
            left = self._pending.left(self._owed())
            now = time.monotonic()
            if now >= until or (not left and now - self._moved_at >= QUIET_S):
                return left
            await asyncio.sleep(QUIET_S / 4)


def _lines(cluster: Cluster, target: str) -> list[Proxy]:
    """The proxies of a line: "edge-0>nats" are those to all servers, "nats-0>nats" those between this server and the others, both ways."""
    who, _, to = target.partition(">")
    both = who.startswith(to)
    return [
        proxy
        for (one, other), proxy in cluster.proxies.items()
        if (one == who and other.startswith(to)) or (both and other == who and one.startswith(to))
    ]


def _break(lines: list[Proxy], what: str) -> None:
    for line in lines:
        match what:
            case "half_open":
                line.half_open()
            case "cut":
                line.cut(stay=True)
            case "drop_live":
                line.drop("live.>") if line.nats else line.cut()
            case "delay":
                line.delay_s = DELAY_S
            case "throttle":
                line.bytes_per_s = THROTTLE_BYTES_PER_S


async def _hurt(process: Process, fault: Fault) -> int:
    """Do it; returns with which status the process ended, if it was asked to."""
    if fault.what == "stop":
        await process.pause()
        await asyncio.sleep(fault.lasts_s)
        process.resume()
        return 0
    status = 0
    if fault.kind == DRAIN:
        status = await process.stop(bound_s=DRAIN_S)
    else:
        await process.kill()
        await asyncio.sleep(fault.lasts_s)
    await start_again(process)
    return status


def _copy_logs(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for file in source.glob("*.log*"):
        (target / file.name).write_bytes(file.read_bytes())
