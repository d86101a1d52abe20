"""An ingest stream, and what it is told, for tests."""

from collections.abc import Iterable
from typing import TypeVar

from runcast.router.effects import (
    Effect,
    End,
    Greeted,
    Refused,
    RunKey,
    Store,
)
from runcast.router.ingest import ProducerStream
from runcast.v1.event_pb2 import TOOL_STATUS_OK, Batch, Event, User
from runcast.v1.ingest_pb2 import BatchRefusal, OpenRun, ProducerHello, PublishRequest
from runcast.wire.ids import UserKey

E = TypeVar("E", bound=tuple[object, ...])


START, WORK, END, TOOL, TOOL_END = "agent_started", "agent_thinking", "agent_completed", "tool_executing", "tool_completed"


def make_batch(number: int, first_seq: int, *kinds: str, run_id: str = "r", attempt: int = 1, user: str = "alice") -> Batch:
    batch = Batch(user=User(tenant="default", id=user), producer="p", run_id=run_id, attempt=attempt, number=number)
    for seq, kind in enumerate(kinds, first_seq):
        event = Event(id=f"{run_id}.{attempt}.{seq}", run_id=run_id, attempt=attempt, seq=seq, agent="a")
        getattr(event, kind).SetInParent()
        if kind == TOOL:
            event.tool_executing.tool_call_id = "t"
        if kind == TOOL_END:
            event.tool_completed.tool_call_id = "t"
            event.tool_completed.status = TOOL_STATUS_OK
        batch.events.append(event)
    return batch


def of(kind: type[E], effects: Iterable[Effect]) -> list[E]:
    return [effect for effect in effects if isinstance(effect, kind)]


class Stream:
    """A machine with its hello said, and storage that answers when told."""

    def __init__(self, **bounds: int) -> None:
        self.machine = ProducerStream(**bounds)
        self.machine.receive(PublishRequest(hello=ProducerHello(producer="p", agent="a")))
        assert of(Greeted, self.machine.take_effects())

    def send(self, *batches: Batch) -> list[Effect]:
        self.machine.receive(PublishRequest(batches=batches))
        return self.machine.take_effects()

    def store(self, *batches: Batch) -> list[Effect]:
        effects = self.send(*batches)
        for effect in of(Store, effects):
            self.machine.stored(effect.key, "pos", duplicate=False)
        return [*effects, *self.machine.take_effects()]

    def refusal(self, batch: Batch) -> BatchRefusal:
        effects = self.send(batch)
        assert not of(Store, effects)
        assert not of(End, effects)
        (refused,) = of(Refused, effects)
        assert (refused.refusal.run_id, refused.refusal.number) == (batch.run_id, batch.number)
        return refused.refusal


RUN = RunKey(UserKey("default", "alice"), "r")


# --- runs that have nothing to send ---


def name(attempt: int = 1, *run_ids: str) -> PublishRequest:
    user = User(tenant="default", id="alice")
    return PublishRequest(open_runs=[OpenRun(user=user, run_id=run_id, attempt=attempt) for run_id in run_ids or ("r",)])
