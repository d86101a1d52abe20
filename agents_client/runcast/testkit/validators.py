"""What must be true of what a device received: pure functions from a recording to violations, each with the first event that is wrong.

What is checked, and what a violation is called:

    missing        an event that was required did not come
    order          events did not come in the order that was asked for
    unstarted      a run does not begin with agent_started, or begins twice
    unended        a run has no end
    ended_twice    a run has a second end
    after_end      something came after a run's end
    superseded     something of an attempt came after a later one had begun
    tool_unpaired  a tool call that did not complete before its run's end, completed without having begun, or began twice
    gap            seqs of a run that never came, or a broken chain of positions
    repeated       the same event again
    reordered      an event came after a later one of its run
    leaked         an event that belongs to another user
    incomplete     an event without something that its kind needs, or an agent's message without an end
    truncated      a payload that was cut because it was too large

An event that stands for several (`first_seq`) is taken for all of them. `run_lost` may leave tools open: readers close them.

Never imports the clock or anything that does I/O.
"""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple

from runcast.testkit.gist import short_run
from runcast.testkit.recording import Recording, fields_of, kind_of
from runcast.v1.event_pb2 import (
    INPUT_OUTCOME_UNSPECIFIED,
    INPUT_TYPE_CHOICE,
    SEVERITY_UNSPECIFIED,
    TOOL_STATUS_ERROR,
    TOOL_STATUS_UNSPECIFIED,
    Event,
)
from runcast.wire.eventjson import KINDS
from runcast.wire.lifecycle import ends_run

_NAMED: Final = {"tool_executing": "tool", "tool_completed": "tool", "custom": "name", "agent_error": "category"}
"""By kind, the field that `kind:name` means."""


class Violation(NamedTuple):
    """Something that is wrong.

    Attributes:
        at: index of the first wrong event in the recording; where an event is missing, of the one that came instead, or the length.
        kind: see the module.
        text: what is wrong, for people.
    """

    at: int
    kind: str
    text: str


class Want:
    """An event that is wanted: of a kind, with these fields.

    Args:
        kind: of the event.
        **fields: what the kind's own fields must be: a value, a compiled pattern that must be found in a text, or a function of the value.

    Raises:
        ValueError: there is no such kind, or it has no such field.
    """

    def __init__(self, kind: str, **fields: Any) -> None:
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is not a kind of event; use one of {', '.join(KINDS)}")
        known = {field.name for field in KINDS[kind]}
        unknown = sorted(fields.keys() - known)
        if unknown:
            raise ValueError(f"{kind} has no field {', '.join(unknown)}; it has {', '.join(sorted(known))}")
        self.kind = kind
        self.fields = fields

    def __str__(self) -> str:
        if not self.fields:
            return self.kind
        return f"{self.kind}({', '.join(f'{name}={_shown(value)}' for name, value in self.fields.items())})"

    def matches(self, event: Event) -> bool:
        """Whether `event` is one that is wanted."""
        if kind_of(event) != self.kind:
            return False
        if not self.fields:
            return True
        given = fields_of(event)
        return all(_fits(value, given.get(name)) for name, value in self.fields.items())


def parse_want(text: str) -> Want:
    """`kind`, or `kind:name` with a tool's, custom event's or error category's name.

    Raises:
        ValueError: there is no such kind, or nothing of it has a name.
    """
    kind, colon, name = text.partition(":")
    if not colon:
        return Want(kind)
    if kind not in _NAMED:
        raise ValueError(f"{text!r}: only {', '.join(_NAMED)} can be named; write the kind alone")
    return Want(kind, **{_NAMED[kind]: name})


def as_wants(wanted: Iterable[str | Want]) -> list[Want]:
    """Wants, of which texts are parsed."""
    return [parse_want(one) if isinstance(one, str) else one for one in wanted]


# --- what a test asks for ---


def check_required(recording: Recording, wanted: Sequence[str | Want]) -> list[Violation]:
    """Each came, in any order, as often as it is named."""
    found: list[Violation] = []
    left = list(enumerate(recording.events))
    for want in as_wants(wanted):
        hit = next((pair for pair in left if want.matches(pair[1])), None)
        if hit is not None:
            left.remove(hit)
            continue
        near = [index for index, event in enumerate(recording.events, 1) if kind_of(event) == want.kind]
        hint = f"; {want.kind} came as {_numbers(near)}" if near and want.fields else ""
        found.append(Violation(len(recording.received), "missing", f"{want} was required and never came{hint}"))
    return found


def check_order(recording: Recording, wanted: Sequence[str | Want]) -> list[Violation]:
    """They came in this order, maybe with others between them."""
    events = recording.events
    at, before = 0, ""
    for want in as_wants(wanted):
        hit = next((index for index in range(at, len(events)) if want.matches(events[index])), None)
        if hit is None:
            early = next((index for index in range(at) if want.matches(events[index])), None)
            after = f" after {before} (#{at})" if before else ""
            if early is not None:
                return [Violation(early, "order", f"{want} came at #{early + 1}, and should have come{after}")]
            instead = f"; what came instead is #{at + 1} {kind_of(events[at])}" if at < len(events) else "; nothing came any more"
            return [Violation(at, "order", f"{want} should have come{after}{instead}")]
        at, before = hit + 1, str(want)
    return []


def check_exactly(recording: Recording, wanted: Sequence[str | Want]) -> list[Violation]:
    """They came, and nothing else."""
    events, wants = recording.events, as_wants(wanted)
    for index, want in enumerate(wants):
        if index >= len(events):
            return [Violation(index, "missing", f"{want} should have come as #{index + 1}; nothing came any more")]
        if not want.matches(events[index]):
            return [Violation(index, "order", f"#{index + 1} is {kind_of(events[index])}; it should have been {want}")]
    if len(events) > len(wants):
        extra = len(events) - len(wants)
        return [Violation(len(wants), "order", f"{_count(extra, 'event')} more than the {len(wants)} that should have come")]
    return []


# --- what must always be true ---


def check_lives(recording: Recording, *, ended: bool = True) -> list[Violation]:
    """Every run begins once and ends once, its tools come in pairs, and nothing comes after the end.

    Args:
        recording: to judge.
        ended: a run without an end is wrong.
    """
    lives: dict[tuple[str, int], _Life] = {}
    newest: dict[str, int] = {}
    found: list[Violation] = []
    for index, event in enumerate(recording.events):
        if not event.run_id:
            continue
        if event.attempt < newest.get(event.run_id, 0):
            text = f"{_of(event)} came after attempt {newest[event.run_id]} had begun"
            found.append(Violation(index, "superseded", text))
            continue
        newest[event.run_id] = event.attempt
        key = (event.run_id, event.attempt)
        if key not in lives:
            lives[key] = _Life(event, whole=recording.whole)
        found += lives[key].take(index, event)
    for (run_id, attempt), life in lives.items():
        if ended and life.end is None and newest[run_id] == attempt:
            last = f"the last of it is #{life.last + 1}"
            found.append(Violation(life.last, "unended", f"run {short_run(run_id)} has no end; {last}, and then nothing came"))
    return found


class _Life:
    """One attempt, event by event."""

    def __init__(self, first: Event, *, whole: bool) -> None:
        self._midway = not whole and (first.first_seq or first.seq) > 1
        self._started = self._midway
        self._open: dict[str, tuple[int, str]] = {}
        self._done: set[str] = set()
        self.end: int | None = None
        self.last = 0

    def take(self, index: int, event: Event) -> list[Violation]:
        """What is wrong with the next event."""
        kind, run = kind_of(event), short_run(event.run_id)
        self.last = index
        if self.end is not None:
            if ends_run(event):
                return [Violation(index, "ended_twice", f"{kind} is a second end of run {run}, which had ended at #{self.end + 1}")]
            return [Violation(index, "after_end", f"{kind} came after the end of run {run}, at #{self.end + 1}")]
        found: list[Violation] = []
        if kind == "agent_started":
            if self._started:
                found.append(Violation(index, "unstarted", f"run {run} begins a second time"))
            self._started = True
        elif not self._started and kind != "run_lost":
            found.append(Violation(index, "unstarted", f"run {run} begins with {kind}, not with agent_started"))
            self._started = True
        if kind == "tool_executing":
            found += self._begin_tool(index, event)
        elif kind == "tool_completed":
            found += self._end_tool(index, event)
        elif ends_run(event):
            self.end = index
            if kind != "run_lost":
                for call, (began, tool) in self._open.items():
                    text = f"{tool} (call {call}) began at #{began + 1} and had not completed when its run ended at #{index + 1}"
                    found.append(Violation(began, "tool_unpaired", text))
        return found

    def _begin_tool(self, index: int, event: Event) -> list[Violation]:
        call, tool = event.tool_executing.tool_call_id, event.tool_executing.tool
        again = call in self._open or call in self._done
        self._open[call] = (index, tool)
        return [Violation(index, "tool_unpaired", f"{tool} (call {call}) begins a second time")] if again else []

    def _end_tool(self, index: int, event: Event) -> list[Violation]:
        call, tool = event.tool_completed.tool_call_id, event.tool_completed.tool
        began = self._open.pop(call, None)
        again = call in self._done
        self._done.add(call)
        if began is not None:
            if began[1] != tool:
                return [Violation(index, "tool_unpaired", f"call {call} began as {began[1]} at #{began[0] + 1} and completed as {tool}")]
            return []
        if self._midway and not again:
            return []
        return [Violation(index, "tool_unpaired", f"{tool} (call {call}) completed {'twice' if again else 'without having begun'}")]


def check_contiguity(recording: Recording) -> list[Violation]:
    """Nothing is missing, repeated or out of order in any run, and the chain of positions held."""
    found = [Violation(0, "gap", f"the chain of positions broke: {text}") for text in recording.chain_breaks]
    last: dict[tuple[str, int], int] = {}
    ids: dict[str, int] = {}
    for index, event in enumerate(recording.events):
        if event.id in ids:
            found.append(Violation(index, "repeated", f"{event.id} came before, at #{ids[event.id] + 1}"))
            continue
        ids[event.id] = index
        if not event.run_id or not event.seq:
            continue
        key = (event.run_id, event.attempt)
        first = event.first_seq or event.seq
        due = last[key] + 1 if key in last else 1 if recording.whole else first
        if event.seq < due:
            found.append(Violation(index, "reordered", f"{_of(event)} came after seq {due - 1}"))
            continue
        if first > due:
            lost = f"seq {due}" if first == due + 1 else f"seqs {due} to {first - 1}"
            found.append(Violation(index, "gap", f"{lost} of run {short_run(event.run_id)} never came: after them comes {_of(event)}"))
        last[key] = event.seq
    return found


def check_isolation(recording: Recording, others: Iterable[Recording], runs: Collection[str] | None = None) -> list[Violation]:
    """Nothing of it belongs to somebody else.

    Args:
        recording: to judge.
        others: what other devices received; those of the same user are passed over.
        runs: all runs that were started for the user, if that is known.
    """
    strangers = [other for other in others if (other.tenant, other.user) != (recording.tenant, recording.user)]
    theirs = {name: other.name for other in strangers for event in other.events for name in (event.run_id, event.id) if name}
    found = []
    for index, event in enumerate(recording.events):
        owner = theirs.get(event.run_id) or theirs.get(event.id)
        if owner:
            found.append(Violation(index, "leaked", f"{_of(event)} was shown to {owner}, too, who is somebody else"))
        elif runs is not None and event.run_id and event.run_id not in runs:
            found.append(Violation(index, "leaked", f"{_of(event)} is of a run that was not started for {recording.user}"))
    return found


def check_payloads(recording: Recording) -> list[Violation]:
    """Every event has what its kind needs, and no message of an agent is left without its end."""
    found: list[Violation] = []
    unfinished: dict[str, dict[str, int]] = {}
    for index, event in enumerate(recording.events):
        kind = kind_of(event)
        found += [Violation(index, "incomplete", f"{kind} has no {what}") for what in _lacking(event)]
        found += [Violation(index, "truncated", f"{kind}: {text}") for text in _cut(event)]
        if kind == "agent_response":
            messages = unfinished.setdefault(event.run_id, {})
            if event.agent_response.final:
                messages.pop(event.agent_response.message_id, None)
            else:
                messages[event.agent_response.message_id] = index
        elif kind == "agent_completed":
            for message, at in unfinished.pop(event.run_id, {}).items():
                found.append(Violation(at, "incomplete", f"message {message} has no end (final), and its run completed at #{index + 1}"))
    return found


_NEEDS: Final[dict[str, tuple[tuple[str, Callable[[Any], object]], ...]]] = {
    "agent_thinking": (("text", lambda m: m.text.strip()),),
    "tool_executing": (("tool_call_id", lambda m: m.tool_call_id), ("tool", lambda m: m.tool)),
    "tool_completed": (
        ("tool_call_id", lambda m: m.tool_call_id),
        ("tool", lambda m: m.tool),
        ("status", lambda m: m.status != TOOL_STATUS_UNSPECIFIED),
        ("error", lambda m: m.error.strip() or m.status != TOOL_STATUS_ERROR),
    ),
    "agent_response": (("message_id", lambda m: m.message_id), ("text", lambda m: m.text or m.final)),
    "agent_error": (("message", lambda m: m.message.strip()), ("severity", lambda m: m.severity != SEVERITY_UNSPECIFIED)),
    "input_requested": (
        ("request_id", lambda m: m.request_id),
        ("prompt", lambda m: m.prompt.strip()),
        ("options", lambda m: m.options or m.type != INPUT_TYPE_CHOICE),
    ),
    "input_resolved": (("request_id", lambda m: m.request_id), ("outcome", lambda m: m.outcome != INPUT_OUTCOME_UNSPECIFIED)),
    "user_message": (("text or data", lambda m: m.text or m.data_json),),
    "custom": (("name", lambda m: m.name),),
}
"""What each kind needs: a name for people, and whether it is there."""


def _lacking(event: Event) -> list[str]:
    kind = kind_of(event)
    lacking = [] if event.id else ["id"]
    if kind not in ("user_message", "unknown"):
        lacking += [name for name in ("run_id", "attempt", "seq", "agent", "time_unix_ms") if not getattr(event, name)]
    if kind in KINDS:
        lacking += [what for what, there in _NEEDS.get(kind, ()) if not there(getattr(event, kind))]
    return lacking


_CUT_TEXT: Final = re.compile(r"\[cut: [0-9,]+ bytes in all\]\s*$")


def _cut(event: Event) -> list[str]:
    """Payloads that the client library cut because they were too large."""
    found = []
    for name, value in fields_of(event).items():
        if isinstance(value, dict) and value.get("truncated") is True and isinstance(value.get("bytes"), int):
            found.append(f"{name} was cut to fit; it had {value['bytes']:,} bytes")
        elif isinstance(value, str) and _CUT_TEXT.search(value):
            found.append(f"{name} was cut to fit")
    return found


# --- words ---


def _of(event: Event) -> str:
    return f"{kind_of(event)} {event.id}" if not event.run_id else f"{kind_of(event)}, seq {event.seq} of run {short_run(event.run_id)}"


def _fits(wanted: Any, given: Any) -> bool:
    if isinstance(wanted, re.Pattern):
        return isinstance(given, str) and wanted.search(given) is not None
    if callable(wanted):
        return bool(wanted(given))
    return bool(wanted == given)


def _shown(value: Any) -> str:
    return f"/{value.pattern}/" if isinstance(value, re.Pattern) else repr(value)


def _numbers(numbers: Sequence[int]) -> str:
    return ", ".join(f"#{number}" for number in numbers[:5]) + (" ..." if len(numbers) > 5 else "")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
