"""What the outbox's state machine test compares with: a log, what was said, and a journal."""

from dataclasses import dataclass, field

from runcast.client.errors import Leftover, RunKey
from runcast.client.line import REST_SHARE
from runcast.v1.event_pb2 import TEXT_MODE_DELTA, Batch, Event
from runcast.wire.lifecycle import is_critical


def words(event: Event) -> str:
    """The kind of an event, its message and text."""
    if event.HasField("agent_response"):
        return f"{event.agent_response.message_id}:{event.agent_response.text}"
    return f"{event.WhichOneof('kind')}:{event.agent_thinking.text}"


@dataclass
class Log:
    """One run's part of the log: what JetStream with its dedupe window keeps."""

    batches: list[Batch] = field(default_factory=list)

    @property
    def seq(self) -> int:
        return self.batches[-1].events[-1].seq if self.batches else 0

    def store(self, batch: Batch) -> bool:
        """Store a batch; True when it was there already."""
        if batch.number <= len(self.batches):
            assert self.batches[batch.number - 1] == batch, "a number has two contents"
            return True
        assert batch.number == len(self.batches) + 1, "a number was left out"
        assert [event.seq for event in batch.events] == list(range(self.seq + 1, self.seq + 1 + len(batch.events)))
        self.batches.append(batch)
        return False

    def texts(self) -> dict[str, str]:
        """By message, what a reader of the whole log sees."""
        told: dict[str, str] = {}
        for batch in self.batches:
            for event in batch.events:
                if event.HasField("agent_response"):
                    told[event.agent_response.message_id] = told.get(event.agent_response.message_id, "") + event.agent_response.text
        return told


@dataclass
class Said:
    """What one run was given, and what it is to come to.

    Attributes:
        events: kind, message and text by seq (from 1), after all merging.
        texts: by message, all that was said.
        taken: the newest seq that is in a batch.
        rests_until: nothing soft leaves before, unless it has waited long enough.
        since: when the oldest event that is in no batch was said.
        critical: the newest seq that is.
        hurried: what waits need not rest.
    """

    events: list[str] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    taken: int = 0
    rests_until: float = -1.0
    since: float = 0.0
    critical: int = 0
    hurried: bool = False

    def due(self, coalesce_s: float) -> float:
        """When soft events that wait are to leave."""
        return min(self.rests_until, self.since + REST_SHARE * coalesce_s)

    def take_in(self, now: float, event: Event, seq: int) -> bool:
        """An event was accepted under `seq`; True when another took it in."""
        if self.taken == len(self.events):
            self.since = now
        if event.HasField("agent_response"):
            message = event.agent_response.message_id
            self.texts[message] = self.texts.get(message, "") + event.agent_response.text
        if seq == len(self.events) + 1:
            self.events.append(words(event))
            if is_critical(event):
                self.critical = seq
            return False
        assert seq == len(self.events), "a hole, or an event within"
        assert seq > self.taken, "what was in a batch changed"
        assert not is_critical(event)
        kind, _, before = self.events[-1].partition(":")
        new_kind, _, text = words(event).partition(":")
        assert kind == new_kind, "merged with another message or kind"
        self.events[-1] = words(event) if event.HasField("agent_thinking") else f"{kind}:{before}{text}"
        return True

    def check_taken(self, batch: Batch, now: float, coalesce_s: float) -> None:
        """A batch is sent for the first time."""
        assert batch.events[0].seq == self.taken + 1
        soft = not self.hurried and self.critical <= self.taken  # nothing critical was among what waited
        self.taken = batch.events[-1].seq
        assert [words(event) for event in batch.events] == self.events[batch.events[0].seq - 1 : self.taken], "not what was said"
        if soft:
            assert now >= self.due(coalesce_s), "a soft run did not rest"
            self.rests_until = now + coalesce_s
        self.hurried = self.taken < len(self.events)  # what found no room follows at once


class Ledger:
    """A journal that keeps all in memory: what is in it is what the outbox holds."""

    def __init__(self) -> None:
        self.waiting: dict[RunKey, list[bytes]] = {}
        self.flying: dict[RunKey, list[bytes]] = {}

    def has_room(self, size: int, *, closing: bool) -> bool:
        return True

    def opened(self, key: RunKey) -> None:
        assert key not in self.waiting
        self.waiting[key], self.flying[key] = [], []

    def appended(self, key: RunKey, event: Event) -> None:
        self.waiting[key].append(event.SerializeToString(deterministic=True))

    def changed(self, key: RunKey, event: Event) -> None:
        assert Event.FromString(self.waiting[key][-1]).seq == event.seq
        self.waiting[key][-1] = event.SerializeToString(deterministic=True)

    def built(self, key: RunKey, batch: Batch) -> None:
        assert not self.flying[key]
        self.flying[key] = [event.SerializeToString(deterministic=True) for event in batch.events]
        count = len(batch.events)
        assert self.waiting[key][:count] == self.flying[key]
        del self.waiting[key][:count]

    def stored(self, key: RunKey, number: int, last_seq: int) -> None:
        assert Event.FromString(self.flying[key][-1]).seq == last_seq
        self.flying[key] = []

    def failed(self, key: RunKey) -> None:
        self.waiting[key], self.flying[key] = [], []

    def forgotten(self, key: RunKey) -> None:
        assert not self.waiting.pop(key)
        assert not self.flying.pop(key)

    def commit(self) -> None:
        """Nothing to do."""

    def check(self, leftovers: list[Leftover]) -> None:
        """Compare with what the outbox says it holds."""
        held = {left.key: [event.SerializeToString(deterministic=True) for event in left.unsure + left.unsent] for left in leftovers}
        mine = {key: self.flying[key] + self.waiting[key] for key in self.waiting}
        assert {key: events for key, events in mine.items() if events} == held


def delta(text: str, message: str = "m1", *, final: bool = False) -> Event:
    event = Event()
    event.agent_response.message_id = message
    event.agent_response.text = text
    event.agent_response.mode = TEXT_MODE_DELTA
    event.agent_response.final = final
    return event


def thought(text: str) -> Event:
    event = Event()
    event.agent_thinking.text = text
    return event
