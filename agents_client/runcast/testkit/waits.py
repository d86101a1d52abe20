"""How long a person waited: from a recording to durations. Pure.

What is measured, all as the device saw it:

    first      from the user's message (or, for a run that answers none, from its own first event's time) until a run's first event came
    gaps       between one event and the next while a run is under way; not while all that are wait for the user
    latency    from an event's own time until it came

A run that is still under way when the recording ends is silent until then. What came before a device caught up with the stream (a device
that came late) has gaps that nobody saw: judge recordings of devices that were there.

Never imports the clock or anything that does I/O.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from runcast.testkit.gist import short_run
from runcast.testkit.recording import Recording, kind_of
from runcast.testkit.validators import Violation
from runcast.testkit.verdict import Spread, spread
from runcast.wire.lifecycle import ends_run


class Gap(NamedTuple):
    """Nothing came for so long, seconds, before the event at index `at` (the length: before the recording's end)."""

    at: int
    seconds: float


class First(NamedTuple):
    """A run's first event, at index `at`, came so long after it was asked for, seconds."""

    at: int
    run_id: str
    seconds: float


class Timing(NamedTuple):
    """What one device had to wait for; milliseconds.

    Attributes:
        name: of the device.
        runs: how many it saw.
        events: how many it got.
        first: until a run's first event.
        gaps: between events while a run was under way.
        latency: from an event's own time until it came.
        longest: the longest gap.
    """

    name: str
    runs: int
    events: int
    first: Spread
    gaps: Spread
    latency: Spread
    longest: Gap


def find_gaps(recording: Recording) -> list[Gap]:
    """All gaps while a run was under way."""
    busy: dict[str, bool] = {}
    asked: dict[str, set[str]] = {}
    gaps: list[Gap] = []
    before = 0.0
    for index, received in enumerate(recording.received):
        if any(busy.values()):
            gaps.append(Gap(index, received.time_s - before))
        before = received.time_s
        event = received.event
        if event.run_id:
            if ends_run(event):
                busy.pop(event.run_id, None)
            else:
                questions = asked.setdefault(event.run_id, set())
                match kind_of(event):
                    case "input_requested":
                        questions.add(event.input_requested.request_id)
                        busy[event.run_id] = False
                    case "input_resolved":
                        questions.discard(event.input_resolved.request_id)
                        busy[event.run_id] = not questions
                    case _:
                        busy[event.run_id] = True
    if any(busy.values()) and recording.ended_s > before:
        gaps.append(Gap(len(recording.received), recording.ended_s - before))
    return gaps


def find_firsts(recording: Recording, within: Recording | None = None) -> list[First]:
    """For each run that the recording has from its beginning, how long its first event took.

    Args:
        recording: to measure.
        within: the recording that it is a part of: there are the messages that runs answer.
    """
    said = {received.event.id: received.time_s for received in (within or recording).received if kind_of(received.event) == "user_message"}
    seen: set[str] = set()
    firsts: list[First] = []
    for index, received in enumerate(recording.received):
        event = received.event
        if not event.run_id or event.run_id in seen:
            continue
        seen.add(event.run_id)
        if kind_of(event) == "agent_started":
            asked_s = said.get(event.agent_started.reply_to, event.time_unix_ms / 1000)
            firsts.append(First(index, event.run_id, max(received.time_s - asked_s, 0.0)))
    return firsts


def measure(recording: Recording) -> Timing:
    """One device's timing."""
    gaps = find_gaps(recording)
    stamped = [received for received in recording.received if received.event.time_unix_ms]
    return Timing(
        name=recording.name,
        runs=len(recording.runs),
        events=len(recording.received),
        first=spread([1000 * first.seconds for first in find_firsts(recording)]),
        gaps=spread([1000 * gap.seconds for gap in gaps]),
        latency=spread([max(1000 * received.time_s - received.event.time_unix_ms, 0.0) for received in stamped]),
        longest=max(gaps, key=lambda gap: gap.seconds, default=Gap(0, 0.0)),
    )


def check_silence(recording: Recording, at_most_s: float) -> list[Violation]:
    """No gap was longer than this, seconds."""
    found = []
    for gap in find_gaps(recording):
        if gap.seconds > at_most_s:
            end = f"#{gap.at + 1}" if gap.at < len(recording.received) else "the end of the recording"
            since = f"#{gap.at} {kind_of(recording.received[gap.at - 1].event)}"
            text = f"nothing came for {gap.seconds:.2f} s, from {since} until {end}; at most {at_most_s:g} s was asked for"
            found.append(Violation(gap.at, "silence", text))
    return found


def check_first(recording: Recording, at_most_s: float, within: Recording | None = None) -> list[Violation]:
    """Every run's first event came within this, seconds; `within`: see `find_firsts`."""
    return [
        Violation(
            first.at,
            "late_start",
            f"the first event of run {short_run(first.run_id)} took {first.seconds:.2f} s; at most {at_most_s:g} s was asked for",
        )
        for first in find_firsts(recording, within)
        if first.seconds > at_most_s
    ]


def report(recordings: Iterable[Recording]) -> list[Timing]:
    """Everybody's timing, who had to wait longest first."""
    return sorted((measure(recording) for recording in recordings), key=lambda timing: -timing.longest.seconds)


_COLUMNS: Final[tuple[tuple[str, Callable[[Timing], Spread], tuple[str, ...]], ...]] = (
    ("first event", lambda timing: timing.first, ("p50", "max")),
    ("gaps", lambda timing: timing.gaps, ("p50", "p99", "max")),
    ("latency", lambda timing: timing.latency, ("p50", "p99")),
)


def table(timings: Sequence[Timing]) -> list[str]:
    """A report for people, a line each; milliseconds."""
    width = max([4, *(len(timing.name) for timing in timings)])
    heads = [f"{what} {name}" for what, _, names in _COLUMNS for name in names]
    lines = [f"{'user':<{width}}  {'runs':>4}  {'events':>6}  {'  '.join(heads)}   (ms)"]
    for timing in timings:
        values = [getattr(of(timing), name) for _, of, names in _COLUMNS for name in names]
        cells = "  ".join(f"{value:>{len(head)}.1f}" for value, head in zip(values, heads, strict=True))
        lines.append(f"{timing.name:<{width}}  {timing.runs:>4}  {timing.events:>6}  {cells}")
    return lines


def timing_table(recordings: Iterable[Recording]) -> str:
    """Everybody's timing as a text, a line per device, who had to wait longest first; milliseconds."""
    return "\n".join(table(report(recordings)))
