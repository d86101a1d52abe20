"""One face for all that can be checked of what devices received: validators, timing, quality, and the history checker. Pure.

`inspect` returns what is wrong, `verify` raises it with a timeline; `verify_together` judges the devices of several users at once.

Never imports the clock or anything that does I/O.
"""

from collections.abc import Collection, Iterable, Sequence

from runcast.testkit.checker import check
from runcast.testkit.history import AnyRecord
from runcast.testkit.quality import check_quality
from runcast.testkit.recording import Recording
from runcast.testkit.timeline import describe
from runcast.testkit.validators import (
    Violation,
    Want,
    check_contiguity,
    check_exactly,
    check_isolation,
    check_lives,
    check_order,
    check_payloads,
    check_required,
)
from runcast.testkit.verdict import Verdict
from runcast.testkit.waits import check_first, check_silence


class VerificationError(AssertionError):
    """What a device received is not as it should be; the message shows a timeline.

    Attributes:
        violations: what is wrong, by the device's name, the first wrong event first.
    """

    __module__ = "runcast.testkit"  # as people import it, and as pytest shows it

    def __init__(self, message: str, violations: dict[str, list[Violation]]) -> None:
        self.violations = violations
        super().__init__(message)


def inspect(
    recording: Recording,
    *,
    run_id: str = "",
    required: Sequence[str | Want] = (),
    order: Sequence[str | Want] = (),
    exactly: Sequence[str | Want] | None = None,
    ended: bool = True,
    others: Iterable[Recording] = (),
    runs: Collection[str] | None = None,
    silence_s: float | None = None,
    first_s: float | None = None,
    quality: float | None = None,
) -> list[Violation]:
    """What is wrong with a recording, the first wrong event first.

    Always checked: that runs begin and end once, tools come in pairs, nothing is missing, repeated, out of order, of somebody else, or
    incomplete. The rest if asked for.

    Args:
        recording: to judge.
        run_id: of this run only; "" for all.
        required: events that must have come, in any order, as "kind", "kind:name" or `Want`.
        order: events that must have come in this order, maybe with others between them.
        exactly: events that must have come, and nothing else.
        ended: every run must have an end.
        others: what other devices received: nothing of it may be shown to this one's user, if it is somebody else's.
        runs: ids of all runs that were started for the user, if that is known.
        silence_s: the longest that nothing may come while a run is under way, seconds.
        first_s: the longest that a run's first event may take, seconds.
        quality: the least score that is good enough, 0 to 1.

    Raises:
        ValueError: a kind or field that there is not.
    """
    part = recording.of_run(run_id) if run_id else recording
    found = [
        *check_lives(part, ended=ended),
        *check_contiguity(part),
        *check_payloads(part),
        *check_isolation(part, others, runs),
        *check_required(part, required),
        *check_order(part, order),
    ]
    if exactly is not None:
        found += check_exactly(part, exactly)
    if silence_s is not None:
        found += check_silence(part, silence_s)
    if first_s is not None:
        found += check_first(part, first_s, recording)
    if quality is not None:
        found += check_quality(part, quality)
    return sorted(found)


def raise_violations(recording: Recording, violations: Sequence[Violation]) -> None:
    """Raise what is wrong with a recording, if anything is.

    Raises:
        VerificationError: with a timeline.
    """
    __tracebackhide__ = True
    if violations:
        raise VerificationError(describe(recording, violations), {recording.name: sorted(violations)})


def check_history(history: Iterable[AnyRecord]) -> Verdict:
    """What the checker of `runcast verify` finds in a history.

    Raises:
        VerificationError: an anomaly, or a history without its end.
    """
    __tracebackhide__ = True
    verdict = check(history)
    if not verdict.clean:
        lines = [f"  {kind}: {count}" for kind, count in verdict.anomalies.items() if count]
        lines += [f"    e.g. {text}" for texts in verdict.examples.values() for text in texts]
        if not verdict.settled:
            lines.append("  the history has no end: what was lost can't be told")
        raise VerificationError("the history is not clean\n\n" + "\n".join(lines), {})
    return verdict
