"""A recording, drawn: an event a line, with what is wrong beneath it. Pure.

Rules: a line an event; a wrong one is marked and its violations stand under it; a long pause has a line of its own; of a long recording
the beginning, the surroundings of what is wrong, and the end are shown.

Never imports the clock or anything that does I/O.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from runcast.testkit.gist import RUN_WIDTH, gist, plain, short_run
from runcast.testkit.recording import Recording, kind_of
from runcast.testkit.validators import Violation
from runcast.v1.event_pb2 import Event

PAUSE_S: Final = 1.0
"""A pause this long is drawn."""
AROUND: Final = 4
"""Events shown on each side of a wrong one, and at the beginning and the end."""
LINES_MAX: Final = 60
"""Events shown whatever is wrong."""
WIDTH: Final = 120


def draw(recording: Recording, violations: Sequence[Violation] = (), *, width: int = WIDTH) -> list[str]:
    """The lines.

    Args:
        recording: to draw.
        violations: what is wrong; an index past the last event is drawn at the end.
        width: of a line; texts are cut to it.
    """
    wrong: dict[int, list[Violation]] = defaultdict(list)
    for violation in violations:
        wrong[min(violation.at, len(recording.received))].append(violation)
    shown = _choose(len(recording.received), sorted(wrong))
    lines = [f"     #   after      run       seq  {'event':<17} what it says"]
    before = recording.received[0].time_s if recording.received else 0.0
    last = -1
    for index in shown:
        received = recording.received[index]
        if index > last + 1:
            lines.append(f"         … {_events(index - last - 1)} …")
            before = recording.received[index - 1].time_s
        last = index
        pause = received.time_s - before
        if pause >= PAUSE_S:
            lines.append(f"         ┄┄┄ {pause:.2f} s of silence ┄┄┄")
        mark = ">>>" if index in wrong else "   "
        after = received.time_s - recording.received[0].time_s
        lines.append(_cut(f"{mark}{index + 1:>3}  {after:>7.3f} s  {_event(received.event)}", width))
        lines += _notes(wrong.get(index, ()))
        before = received.time_s
    if last + 1 < len(recording.received):
        lines.append(f"         … {_events(len(recording.received) - last - 1)} …")
    if recording.received and recording.ended_s - recording.received[-1].time_s >= PAUSE_S:
        lines.append(f"         ┄┄┄ {recording.ended_s - recording.received[-1].time_s:.2f} s of silence ┄┄┄")
    ended = wrong.get(len(recording.received), ())
    lines.append(f"{'>>>' if ended else '   '}     (end)")
    lines += _notes(ended)
    return lines


def describe(recording: Recording, violations: Sequence[Violation]) -> str:
    """A failure's message: what is wrong, the first wrong event by name, and the timeline."""
    ordered = sorted(violations)
    count = len(ordered)
    first = ordered[0]
    many = f"{count} things are wrong" if count > 1 else "one thing is wrong"
    lines = [f"{many} with what {recording.name} received: {_size(recording)}", f"first wrong event: {_name(recording, first)}", ""]
    lines += [f"  {violation.kind}: {violation.text}" for violation in ordered[:VIOLATIONS_MAX]]
    if count > VIOLATIONS_MAX:
        lines.append(f"  … and {count - VIOLATIONS_MAX} more")
    return "\n".join([*lines, "", *draw(recording, ordered)])


VIOLATIONS_MAX: Final = 12
"""Named in a message."""


def _event(event: Event) -> str:
    run = short_run(event.run_id) if event.run_id else ""
    seq = f"{event.first_seq}-{event.seq}" if event.first_seq and event.first_seq < event.seq else str(event.seq or "")
    return f"{run:<{RUN_WIDTH}} {seq:>4}  {kind_of(event):<17} {plain(gist(event))}"


def _choose(count: int, wrong: Sequence[int]) -> list[int]:
    if count <= LINES_MAX:
        return list(range(count))
    chosen = {*range(AROUND), *range(count - AROUND, count)}
    for index in wrong:
        if len(chosen) >= LINES_MAX:
            break
        chosen.update(range(max(index - AROUND, 0), min(index + AROUND + 1, count)))
    return sorted(chosen)


def _notes(violations: Sequence[Violation]) -> list[str]:
    return [f"       ^ {', '.join(dict.fromkeys(violation.kind for violation in violations))}"] if violations else []


def _name(recording: Recording, violation: Violation) -> str:
    if violation.at >= len(recording.received):
        return f"one that never came, after #{len(recording.received)}" if recording.received else "the first one, which never came"
    event = recording.received[violation.at].event
    where = f" of run {short_run(event.run_id)}" if event.run_id else ""
    return f"#{violation.at + 1} {kind_of(event)}{where}"


def _size(recording: Recording) -> str:
    if not recording.received:
        return "nothing"
    lasted = recording.received[-1].time_s - recording.received[0].time_s
    runs = len(recording.runs)
    return f"{_events(len(recording.received))}, {runs} run{'' if runs == 1 else 's'}, {lasted:.2f} s"


def _events(count: int) -> str:
    return f"{count} event{'' if count == 1 else 's'}"


def _cut(line: str, width: int) -> str:
    line = line.rstrip()
    return line if len(line) <= width else line[: width - 1] + "…"
