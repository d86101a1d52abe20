"""A process that is killed at any moment, again and again: what it accepted is in the log once, in order, in batches that never change."""

import asyncio
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runcast.client.errors import RunKey
from runcast.client.outbox import Outbox
from runcast.client.recovery import Remains
from runcast.client.spill import Spill
from runcast.client.spill_journal import RemainsJournal, SpillJournal
from runcast.v1.event_pb2 import Batch
from runcast.v1.ingest_pb2 import BatchAck, RouterHello, Window
from runcast.wire import limits
from runcast.wire.lifecycle import State
from tests.unit.client.events import closing, fatal, key, started, tool_began
from tests.unit.client.outbox_model import Log, delta, thought

HELLO = RouterHello(window=Window(batches=100, bytes=limits.MIB), resend_horizon_ms=100_000)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["open", "say", "say", "say", "think", "tool", "end", "take", "take", "store", "ack", "ack", "turn", "break", "kill"]
        ),
        st.integers(0, 2),
    ),
    max_size=60,
)


class World:
    """A log that lives on, and a process that does not."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now = 0.0
        self.lives = 0
        self.names = 0
        self.logs: dict[RunKey, Log] = {}
        self.said: dict[RunKey, str] = {}
        self.safe: dict[RunKey, str] = {}
        self.begin()

    def begin(self) -> None:
        self.spill = Spill(self.directory / f"{self.lives}.sqlite")
        self.spill.open()
        self.journal = SpillJournal(self.spill, f"p{self.lives}")
        self.outbox = Outbox(f"p{self.lives}", coalesce_s=0.01, journal=self.journal)
        self.outbox.connected(self.now, HELLO)
        self.runs: list[RunKey] = []
        self.way: list[Batch] = []

    def act(self, step: str, choice: int) -> None:
        self.now += 0.02
        if step == "open":
            self.names += 1
            run = key(f"r{self.names}")
            self.runs.append(run)
            self.logs[run], self.said[run] = Log(), ""
            self.outbox.open_run(run)
            self.outbox.append(self.now, run, started())
        elif step == "take":
            batches = self.outbox.take_batches(self.now)
            self.turn()
            self.way += batches
        elif step in ("store", "ack") and self.way:
            self.store(self.outbox, self.way.pop(choice % len(self.way)), answer=step == "ack")
        elif step == "turn":
            self.turn()
        elif step == "break":
            self.outbox.disconnected()
            self.outbox.connected(self.now, HELLO)
            self.way.clear()
        elif step == "kill":
            self.kill()
        elif self.runs:
            self.speak(self.runs[choice % len(self.runs)], step)

    def speak(self, run: RunKey, step: str) -> None:
        life = self.outbox._runs[run.run_id, 1].life
        if life.state is not State.OPEN:
            return
        if step == "say":
            text = f"{len(self.said[run])}."
            self.outbox.append(self.now, run, delta(text))
            self.said[run] += text
        elif step == "think":
            self.outbox.append(self.now, run, thought("hm"))
        elif step == "tool":
            self.outbox.append(self.now, run, tool_began(f"c{len(life.open_tools)}"))
        elif not life.open_tools:
            self.outbox.append(self.now, run, fatal())

    def turn(self) -> None:
        """The loop turns, or something is about to be sent."""
        self.spill.commit()
        self.safe.update({run: self.said[run] for run in self.runs})

    def store(self, outbox: Outbox, batch: Batch, *, answer: bool) -> None:
        run = key(batch.run_id)
        self.logs[run].store(batch)
        if answer:
            outbox.acked(self.now, BatchAck(run_id=run.run_id, attempt=1, number=batch.number, position="x"))

    def kill(self) -> None:
        """Only what is committed outlives; what is under way may still be stored."""
        for batch in self.way[::2]:
            self.logs[key(batch.run_id)].store(batch)
        self.lives += 1
        for suffix in ("", "-wal"):
            if Path(f"{self.spill.path}{suffix}").exists():
                shutil.copyfile(f"{self.spill.path}{suffix}", self.directory / f"{self.lives}.sqlite{suffix}")
        self.spill.close()
        self.begin()
        for producer in self.spill.producers():
            self.recover(producer)

    def recover(self, producer: str) -> None:
        journal = RemainsJournal(self.spill, producer)
        outbox = Outbox(producer, coalesce_s=0.01, journal=journal)
        outbox.connected(self.now, HELLO)
        for row in self.spill.rows(producer):
            journal.adopt(row.key, row.id)
            remains = Remains(self.spill, row)
            outbox.restore_run(self.now, remains.left)
            if not remains.ended and remains.first.id:
                for event in closing(remains.life):
                    outbox.append(self.now, row.key, event)
            outbox.release_run(row.key)
        while batches := outbox.take_batches(self.now):
            self.now += 0.02
            for batch in batches:
                self.store(outbox, batch, answer=True)
        assert self.spill.rows(producer) == [], "all of it is told, and nothing is kept"

    def check(self) -> None:
        for run, log in self.logs.items():
            assert log.texts().get("m1", "").startswith(self.safe.get(run, "")), "something that was accepted is missing"
            assert self.said[run].startswith(log.texts().get("m1", "")), "something was told twice, or was never said"


@given(steps=STEPS)
def test_killed_at_any_moment_nothing_is_lost_doubled_or_changed(
    steps: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    async def live() -> None:
        world = World(tmp_path_factory.mktemp("spill"))
        for step, choice in steps:
            world.act(step, choice)
            world.outbox.take_results()
        world.turn()
        world.kill()
        world.check()
        world.spill.close()

    asyncio.run(live())
