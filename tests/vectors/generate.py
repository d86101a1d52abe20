"""Writes the transcripts beside it: what an edge sends a device, and what a person is then to see.

    python tests/vectors/generate.py

Each transcript is JSON: `frames`, the server's frames of one or more connections (a `welcome` begins one), and `timeline`, the state that
every client must show after them. The Python reducer and the browser client replay them (`tests/unit/wire/test_vectors.py`,
`tests/browser/vectors.test.mjs`). Deterministic: a test compares the files with what this would write.
"""

import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from runcast.edge.conflate import merge
from runcast.edge.entry import Entry
from runcast.edge.snapshot import Fold
from runcast.v1 import event_pb2 as pb
from runcast.v1.event_pb2 import Event
from runcast.wire.frames import CODECS, JSON_SUBPROTOCOL, Batch, Limits, RunSummary, ServerFrame, Welcome
from runcast.wire.position import SNAPSHOT_EPOCH, Position
from runcast.wire.runstate import reduce_frames

HERE = Path(__file__).parent
EPOCH = "abcdefgh"
OTHER_EPOCH = "qrstuvwx"
SEED = 20261121
WORDS = ("so", "it", "is,", "日本", "naïve", "\n\n", "😀", '"quoted"', "\\", "")


class Stream:
    """A user's stream, written batch by batch."""

    def __init__(self, seed: int, epoch: str = EPOCH) -> None:
        self.random = random.Random(seed)  # the same transcripts each time
        self.epoch = epoch
        self.entries: list[Entry] = []
        self._clock = 1_700_000_000_000
        self._seqs: dict[tuple[str, int], int] = {}

    def put(self, events: Iterable[Event]) -> None:
        """Store a batch."""
        prev = self.entries[-1].seq if self.entries else 0
        payload = pb.Batch(producer="p", events=events).SerializeToString()
        self.entries.append(Entry(self.epoch, prev, prev + self.random.randint(1, 3), payload))

    def event(self, run: str = "r1", attempt: int = 1, **fields: Any) -> Event:
        """The next event of a run."""
        self._clock += self.random.randint(1, 900)
        seq = self._seqs[run, attempt] = self._seqs.get((run, attempt), 0) + 1
        return Event(
            id=f"{run}.{attempt}.{seq}",
            run_id=run,
            attempt=attempt,
            seq=seq,
            agent="demo",
            thread="t-1",
            parent_run_id="r1" if run == "child" else "",
            time_unix_ms=self._clock,
            **fields,
        )

    def say(self, id_: str, text: str) -> Event:
        """What the user said."""
        self._clock += 1
        message = pb.UserMessage(text=text, data_json=b'{"lang":"en"}', device="tab-1", group="demo")
        return Event(id=id_, thread="t-1", time_unix_ms=self._clock, user_message=message)

    def start(self, run: str = "r1", attempt: int = 1, title: str = "How?") -> Event:
        """agent_started."""
        return self.event(run, attempt, agent_started=pb.AgentStarted(title=title, reply_to="q1", input_json=b'{"top":[1,2.5,null]}'))

    def delta(self, run: str = "r1", attempt: int = 1, *, message: str = "m1", text: str | None = None, final: bool = False) -> Event:
        """A piece of text."""
        said = self.random.choice(WORDS) + " " if text is None else text
        response = pb.AgentResponse(message_id=message, text=said, mode=pb.TEXT_MODE_DELTA, final=final)
        return self.event(run, attempt, agent_response=response)

    def thought(self, run: str = "r1", attempt: int = 1) -> Event:
        """agent_thinking."""
        step = self.random.randint(1, 9)
        thinking = pb.AgentThinking(text=f"step {step}", progress=step / 10, step=step, steps=9)
        if step > 5:
            thinking.urgency, thinking.remaining_ms = pb.URGENCY_HIGH, 100 * (9 - step)
        return self.event(run, attempt, agent_thinking=thinking)

    def tool(self, run: str = "r1", attempt: int = 1, *, call: str = "c1") -> Event:
        """tool_executing."""
        tool = pb.ToolExecuting(tool_call_id=call, tool="search", args_json=b'{"q":"csv","n":3}', purpose="Find it", estimate_ms=0)
        return self.event(run, attempt, tool_executing=tool)

    def tool_end(
        self, run: str = "r1", attempt: int = 1, *, call: str = "c1", status: pb.ToolStatus = pb.TOOL_STATUS_OK, error: str = ""
    ) -> Event:
        """tool_completed."""
        result = b"" if error else b'[{"page":1},false]'
        done = pb.ToolCompleted(tool_call_id=call, tool="search", status=status, result_json=result, error=error, duration_ms=12)
        return self.event(run, attempt, tool_completed=done)

    def complete(self, run: str = "r1", attempt: int = 1) -> Event:
        """agent_completed."""
        return self.event(run, attempt, agent_completed=pb.AgentCompleted(summary="Done.", result_json=b'{"ok":true}'))

    def fail(self, run: str = "r1", attempt: int = 1, *, severity: pb.Severity = pb.SEVERITY_FATAL) -> Event:
        """agent_error."""
        error = pb.AgentError(severity=severity, category="timeout", message="It took too long.", suggestions=["Wait", "Ask again"])
        if severity != pb.SEVERITY_FATAL:
            error.retrying, error.retry_after_ms = True, 250
        return self.event(run, attempt, agent_error=error)


def welcome(stream: Stream, seq: int = 0, *, outcome: Any = "resumed", reason: str = "", runs: Iterable[RunSummary] = ()) -> Welcome:
    """Of a session that goes on behind `seq`."""
    position = Position(SNAPSHOT_EPOCH if outcome == "snapshot" else stream.epoch, seq)
    tip = Position(stream.epoch, stream.entries[-1].seq)
    bounds = Limits(65536, 512, 2097152, 20000)
    return Welcome(outcome, str(position), str(tip), "default", "alice", "tab-1", bounds, "edge-1", "0", reason, list(runs))


def raw(stream: Stream, entries: list[Entry] | None = None) -> list[ServerFrame]:
    """Every batch as it is."""
    frames: list[ServerFrame] = []
    for entry in stream.entries if entries is None else entries:
        prev, pos = Position(stream.epoch, entry.prev), Position(stream.epoch, entry.seq)
        frames.append(Batch(str(prev), str(pos), entry.events))
    return frames


def merged(stream: Stream, prev: int, entries: list[Entry]) -> list[ServerFrame]:
    """As a device gets them that is behind."""
    frames: list[ServerFrame] = []
    for events, covered in merge(entries):
        frames.append(Batch(str(Position(stream.epoch, prev)), str(Position(stream.epoch, covered[-1].seq)), events))
        prev = covered[-1].seq
    return frames


def snapshot(stream: Stream, entries: list[Entry], *, piece_events: int = 4) -> list[ServerFrame]:
    """A snapshot of `entries`, in small pieces."""
    fold = Fold()
    for entry in entries:
        for event in entry.events:
            fold.add(event)
    made = fold.finish()
    frames: list[ServerFrame] = [welcome(stream, outcome="snapshot", runs=made.runs)]
    events: list[Event] = []
    while not made.empty:
        events += made.take()
    pieces = [events[start : start + piece_events] for start in range(0, len(events), piece_events)]
    places = [str(Position(SNAPSHOT_EPOCH, number)) for number in range(len(pieces))] + [str(Position(stream.epoch, entries[-1].seq))]
    for number, piece in enumerate(pieces):
        frames.append(Batch(places[number], places[number + 1], piece))
    return frames


# --- the transcripts ---


def every_kind() -> list[ServerFrame]:
    """Each kind once or more, an event of an unknown kind, and what is empty."""
    s = Stream(SEED)
    s.put([s.say("q1", "How do I read a CSV file?")])
    s.put([s.start(), s.thought(), s.tool()])
    s.put([s.tool_end(), s.event(), s.fail(severity=pb.SEVERITY_RECOVERABLE), s.fail(severity=pb.SEVERITY_DEGRADED)])
    s.put([])
    s.put([s.event(custom=pb.Custom(name="chart", data_json=b"[1,2]")), s.event(custom=pb.Custom())])
    asked = pb.InputRequested(request_id="i1", type=pb.INPUT_TYPE_CHOICE, prompt="Which?", options=["a", "b"], default_json=b'"a"')
    asked.expires_unix_ms = 1_800_000_000_000
    s.put([s.event(input_requested=asked)])
    answered = pb.InputResolved(request_id="i1", outcome=pb.INPUT_OUTCOME_ANSWERED, value_json=b'"b"', device="tab-1")
    s.put([s.say("a1", "b"), s.event(input_resolved=answered)])
    s.put([s.delta(), s.delta(), s.delta(final=True), s.complete()])
    s.put(
        [s.start("r2"), s.event("r2", agent_response=pb.AgentResponse(message_id="w", text="whole", mode=pb.TEXT_MODE_WHOLE, final=True))]
    )
    s.put([s.event("r2", run_cancelled=pb.RunCancelled(reason="stopped by the user"))])
    s.put([s.start("child"), s.fail("child")])
    s.put([s.start("r3"), s.event("r3", input_requested=pb.InputRequested(request_id="i2", type=pb.INPUT_TYPE_APPROVAL, prompt="May I?"))])
    return [welcome(s), *raw(s)]


def tool_pairs() -> list[ServerFrame]:
    """Tools that overlap, fail, are cancelled, are lost, are called again under an id that was free; one whose beginning was not seen."""
    s = Stream(SEED + 1)
    s.put([s.start(), s.tool(call="a"), s.tool(call="b")])
    s.put([s.tool_end(call="b"), s.tool_end(call="a", status=pb.TOOL_STATUS_ERROR, error="no such page")])
    s.put([s.tool(call="c"), s.tool_end(call="c", status=pb.TOOL_STATUS_CANCELLED)])
    s.put([s.tool(call="a"), s.thought(), s.tool_end(call="a"), s.tool(call="b")])
    s.put([s.tool_end(call="unseen"), s.tool(call="d"), s.event(run_lost=pb.RunLost(reason="its agent went away"))])
    return [welcome(s), *raw(s)]


def attempts() -> list[ServerFrame]:
    """A second attempt takes the first one's place; what is late of the first is dropped; nothing follows an end."""
    s = Stream(SEED + 2)
    s.put([s.start(title="first"), s.delta(), s.tool()])
    s.put([s.say("q2", "?")])
    s.put([s.start(attempt=2, title="second"), s.delta(attempt=2, text="anew")])
    s.put([s.delta(text="late"), s.tool_end()])
    s.put([s.complete(attempt=2)])
    s.put([s.delta(attempt=2, text="after the end")])
    s.put([s.start("r2"), s.event("r2", run_lost=pb.RunLost())])
    s.put([s.start("r2", 2), s.delta("r2", 2)])
    return [welcome(s), *raw(s)]


def joined_midway() -> list[ServerFrame]:
    """The beginning of a run has left the log: what is there is shown."""
    s = Stream(SEED + 3)
    s.put([s.start(), s.tool()])
    s.put([s.tool_end(), s.delta(), s.thought()])
    s.put([s.start("r2"), s.delta()])
    s.put([s.complete()])
    return [welcome(s, s.entries[0].seq, outcome="reset", reason="expired"), *raw(s, s.entries[1:])]


def requests() -> list[ServerFrame]:
    """Questions, several at once: answered, defaulted, withdrawn, left open by a run that ends, is lost or tried again."""
    s = Stream(SEED + 10)

    def asked(request: str, run: str = "r1", attempt: int = 1, **fields: Any) -> Event:
        return s.event(run, attempt, input_requested=pb.InputRequested(request_id=request, prompt=f"{request}?", **fields))

    def resolved(request: str, outcome: pb.InputOutcome, run: str = "r1", **fields: Any) -> Event:
        return s.event(run, input_resolved=pb.InputResolved(request_id=request, outcome=outcome, **fields))

    s.put([s.start(), asked("i1", type=pb.INPUT_TYPE_APPROVAL), asked("i2", type=pb.INPUT_TYPE_QUESTION, default_json=b"null")])
    s.put([resolved("i1", pb.INPUT_OUTCOME_ANSWERED, value_json=b"false", device="tab-2")])
    s.put([s.thought(), s.delta(), s.delta(), resolved("unknown", pb.INPUT_OUTCOME_WITHDRAWN)])
    s.put([resolved("i2", pb.INPUT_OUTCOME_DEFAULTED, value_json=b"null"), resolved("i2", pb.INPUT_OUTCOME_ANSWERED, value_json=b'"late"')])
    s.put([asked("i3", type=pb.INPUT_TYPE_CHOICE, options=["a", "b"]), s.thought(), s.thought()])
    s.put([resolved("i3", pb.INPUT_OUTCOME_WITHDRAWN), s.delta(final=True), asked("i4")])
    s.put([s.start("r2"), asked("i1", "r2"), s.complete("r2")])
    s.put([s.start("r3"), asked("i1", "r3"), s.event("r3", run_lost=pb.RunLost(reason="its agent went away"))])
    s.put([s.start("r4"), asked("i1", "r4"), s.start("r4", 2), asked("i1", "r4", 2), s.event("r4", 2, input_resolved=pb.InputResolved())])
    first, rest = s.entries[:5], s.entries[5:]
    return [welcome(s), *raw(s, first), *merged(s, first[-1].seq, rest), *snapshot(s, s.entries)]


def conversation(seed: int) -> Stream:
    """Several runs at once, at random."""
    s = Stream(seed)
    s.put([s.say("q1", "How?")])
    attempt = {f"r{number}": 1 for number in range(1, 4)}
    open_tools: dict[str, list[str]] = {run: [] for run in attempt}
    for run in attempt:
        s.put([s.start(run)])
    for step in range(160):
        run = s.random.choice(sorted(attempt))
        key = (run, attempt[run])
        choice = s.random.random()
        if choice < 0.6:
            s.put([s.delta(*key, message=s.random.choice(["m1", "m1", "m1", "m2"])) for _ in range(s.random.randint(1, 4))])
        elif choice < 0.8:
            s.put([s.thought(*key)])
        elif choice < 0.88 and not open_tools[run]:
            open_tools[run].append(f"c{step}")
            s.put([s.tool(*key, call=f"c{step}")])
        elif choice < 0.94 and open_tools[run]:
            s.put([s.tool_end(*key, call=open_tools[run].pop())])
        elif choice < 0.96:
            s.put([s.fail(*key, severity=pb.SEVERITY_RECOVERABLE)])
        elif choice < 0.98:
            s.put([s.event(*key)])
        elif attempt[run] < 2:
            attempt[run] += 1
            open_tools[run] = []
            s.put([s.start(run, attempt[run])])
    s.put([s.complete("r1", attempt["r1"])])
    s.put([s.say("q2", "And then?")])
    return s


def merges() -> list[ServerFrame]:
    """A device that was behind: text in one piece, the newest progress, the rest as it is."""
    s = conversation(SEED + 4)
    half = len(s.entries) // 2
    return [welcome(s), *raw(s, s.entries[:half]), *merged(s, s.entries[half - 1].seq, s.entries[half:])]


def merges_with_repeats() -> list[ServerFrame]:
    """The same, in two connections; frames of the first come again and change nothing."""
    s = conversation(SEED + 5)
    third = len(s.entries) // 3
    first, rest = s.entries[:third], s.entries[third:]
    frames = merged(s, 0, first)
    again = [welcome(s, first[-1].seq), *frames[-1:], *raw(s, first[-3:]), *merged(s, first[-1].seq, rest)]
    return [welcome(s), *frames, *again]


def reset() -> list[ServerFrame]:
    """Storage was made anew: what was held goes."""
    before, after = conversation(SEED + 6), Stream(SEED + 7, OTHER_EPOCH)
    after.put([after.start("new"), after.delta("new")])
    return [welcome(before), *raw(before), welcome(after, outcome="reset", reason="unknown_epoch"), *raw(after)]


def snapshots() -> list[ServerFrame]:
    """A page that begins with a snapshot, and goes on live."""
    s = conversation(SEED + 8)
    cut = len(s.entries) - 12
    return [*snapshot(s, s.entries[:cut]), *raw(s, s.entries[cut:])]


def snapshot_broken_off() -> list[ServerFrame]:
    """The connection breaks within a snapshot: what came of it goes, and a new one is whole."""
    s = conversation(SEED + 9)
    first = snapshot(s, s.entries[:-5])
    return [welcome(s), *raw(s, s.entries[:20]), *first[: len(first) // 2], *snapshot(s, s.entries)]


TRANSCRIPTS: tuple[Callable[[], list[ServerFrame]], ...] = (
    every_kind,
    tool_pairs,
    attempts,
    joined_midway,
    requests,
    merges,
    merges_with_repeats,
    reset,
    snapshots,
    snapshot_broken_off,
)


def transcript(make: Callable[[], list[ServerFrame]]) -> str:
    """The text of a transcript's file: a frame to a line."""
    frames = make()
    codec = CODECS[JSON_SUBPROTOCOL]
    lines = ",\n".join(f"  {_line(json.loads(codec.encode(frame)))}" for frame in frames)
    entries = ",\n".join(f"  {_line(entry)}" for entry in json.loads(msgspec.json.encode(reduce_frames(frames).state())))
    about = json.dumps(" ".join((make.__doc__ or "").split()))
    return f'{{\n"about": {about},\n"frames": [\n{lines}\n],\n"timeline": [\n{entries}\n]\n}}\n'


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


if __name__ == "__main__":
    for make in TRANSCRIPTS:
        (HERE / f"{make.__name__}.json").write_text(transcript(make), encoding="utf-8")
