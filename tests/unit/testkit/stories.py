"""Histories in the making, for tests of the checker: a clean one, and how to spoil it."""

from collections.abc import Callable
from typing import Any

from runcast.testkit.history import (
    Acked,
    Answered,
    AnyRecord,
    Framed,
    Handled,
    Injected,
    Opened,
    Planned,
    Receipted,
    Seen,
    Sent,
    Settled,
    Taken,
)
from runcast.testkit.verdict import ANOMALIES, Verdict

PLAN = ["agent_started", "agent_thinking", "agent_response", "agent_response", "tool_executing", "tool_completed", "agent_completed"]


def pos(seq: int, epoch: str = "aaaaaaaa") -> str:
    return f"{epoch}-{seq:016d}"


def seen(run: str, seq: int, *, attempt: int = 1, kind: str = "", first: int = 0) -> Seen:
    return Seen(f"{run}.{attempt}.{seq}", kind or PLAN[seq - 1], run, attempt, seq, first, 1000)


class Story:
    """A history in the making: each record comes a millisecond after the one before."""

    def __init__(self) -> None:
        self.records: list[AnyRecord] = []
        self.t = 0.0

    def add(self, kind: type[Any], *args: Any, **fields: Any) -> Any:
        self.t += 0.001
        names = [name for name in kind.__struct_fields__ if name != "t"]
        record = kind(t=self.t, **dict(zip(names, args, strict=False)), **fields)
        self.records.append(record)
        return record

    def plan(self, user: str, run: str, attempt: int = 1, kinds: list[str] | None = None) -> None:
        self.add(Planned, user, run, attempt, "agent", kinds or PLAN)

    def open(self, user: str, device: str, at: int, tip: int, outcome: str = "resumed", asked: str = "", **more: Any) -> None:
        self.add(Opened, user=user, device=device, edge="e", asked=asked, outcome=outcome, position=pos(at), tip=pos(tip), **more)

    def frame(self, user: str, device: str, prev: int, upto: int, *events: Seen) -> None:
        self.add(Framed, user, device, pos(prev), pos(upto), list(events), 1005)

    def ack(self, user: str, run: str, upto: int, at: int, attempt: int = 1) -> None:
        self.add(Acked, user, run, attempt, upto, pos(at))

    def settle(self, *devices: tuple[str, str]) -> None:
        self.add(Settled, list(devices or [("u", "d1"), ("u", "d2")]))


def clean_story() -> Story:
    """Two devices of one user; a run r in four batches at 1, 3, 4, 8, a message m at 5; another user's run."""
    story = Story()
    for device in ("d1", "d2"):
        story.open("u", device, 0, 0)
    story.open("v", "d1", 0, 0)
    story.plan("u", "r")
    story.plan("v", "s")
    for device in ("d1", "d2"):
        story.frame("u", device, 0, 1, seen("r", 1))
    story.ack("u", "r", 1, 1)
    story.frame("v", "d1", 0, 2, *(seen("s", seq) for seq in range(1, 8)))
    story.ack("v", "s", 7, 2)
    for device in ("d1", "d2"):
        story.frame("u", device, 1, 3, seen("r", 2), seen("r", 3), seen("r", 4))
    story.ack("u", "r", 4, 3)
    for device in ("d1", "d2"):
        story.frame("u", device, 3, 4, seen("r", 5))
    story.add(Sent, "m", "u", "d1")
    for device in ("d1", "d2"):
        story.frame("u", device, 4, 5, Seen("m", "user_message"))
    story.add(Answered, "m", "u", "d1", "stored")
    story.add(Taken, "m", "u", "agent", 1, 77)
    story.add(Handled, "m", "u", "agent")
    for device in ("d1", "d2"):
        story.frame("u", device, 5, 8, seen("r", 6), seen("r", 7))
    story.ack("u", "r", 7, 8)
    story.add(Receipted, "u", "r", 1, 7, "delivered", "d2", 3.0)
    story.add(Injected, "edge", "edge-0", 1.0)
    story.settle(("u", "d1"), ("u", "d2"), ("v", "d1"))
    return story


def only(verdict: Verdict, kind: str, count: int = 1) -> str:
    """The text of the one kind of anomaly that was found."""
    assert verdict.anomalies == {name: (count if name == kind else 0) for name in ANOMALIES}, verdict.examples
    assert not verdict.clean
    return verdict.examples[kind][0]


def change(story: Story, which: Callable[[Any], bool], how: Callable[[Any], object]) -> None:
    """Replace the first record that `which` picks: by what `how` returns, or by nothing."""
    index = next(n for n, record in enumerate(story.records) if which(record))
    after = how(story.records[index])
    story.records[index : index + 1] = [] if after is None else [after]  # type: ignore[list-item]


def is_frame(device: str, upto: int, user: str = "u") -> Callable[[Any], bool]:
    return lambda r: isinstance(r, Framed) and (r.user, r.device, r.pos) == (user, device, pos(upto))


def events_of(change_events: Callable[[list[Seen]], list[Seen]]) -> Callable[[Framed], Framed]:
    return lambda r: Framed(t=r.t, user=r.user, device=r.device, prev=r.prev, pos=r.pos, events=change_events(r.events), ms=r.ms)
